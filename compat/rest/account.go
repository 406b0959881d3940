package rest

import (
	"github.com/keystead/keystead/engine/accounts"
)

// userPrivate: GET user/private. is_primary and is_verified are numbers: clients
// refuse booleans. client: go/libkb/loaduser.go:LoadUserEmails
func userPrivate(c *call) (any, error) {
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	type mail struct {
		Email      string `json:"email"`
		IsPrimary  int    `json:"is_primary"`
		IsVerified int    `json:"is_verified"`
		Visibility int    `json:"visibility"`
		LastVerify *int64 `json:"last_verify_email_date"`
	}
	type mails struct {
		Emails []mail `json:"emails"`
	}
	type them struct {
		ID     string `json:"id"`
		Emails mails  `json:"emails"`
	}
	list := []mail{}
	if acct.Email != "" {
		m := mail{Email: acct.Email, IsPrimary: 1}
		if acct.EmailVerified {
			m.IsVerified = 1
		}
		list = append(list, m)
	}
	return struct {
		Them them `json:"them"`
	}{them{acct.UID.String(), mails{list}}}, nil
}

// hasRandomPW: GET user/has_random_pw.
func hasRandomPW(c *call) (any, error) {
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	return struct {
		RandomPW bool `json:"random_pw"`
	}{acct.RandomPW}, nil
}

// contactSettings: GET account/contact_settings.
// client: go/libkb/contact_settings.go:GetContactSettings
func contactSettings(*call) (any, error) {
	type settings struct {
		AllowFolloweeDegrees int   `json:"allow_followee_degrees"`
		AllowGoodTeams       bool  `json:"allow_good_teams"`
		Enabled              bool  `json:"enabled"`
		Teams                []any `json:"teams"`
	}
	return struct {
		Settings settings `json:"settings"`
	}{settings{Teams: []any{}}}, nil
}

// locationSuggest: GET account/location_suggest. The server looks nobody's address up.
func locationSuggest(*call) (any, error) {
	return struct {
		CountryCode string `json:"country_code"`
	}{"-"}, nil
}

// phoneNumbers: GET user/phone_numbers.
func phoneNumbers(*call) (any, error) {
	return struct {
		PhoneNumbers []any `json:"phone_numbers"`
	}{[]any{}}, nil
}

// selfCheck: POST selfcheck. A revoked device does not get here, so nobody who does
// is told to log out. client: go/libkb/logout.go:LogoutSelfCheck
func selfCheck(*call) (any, error) {
	return struct {
		Logout bool `json:"logout"`
	}{}, nil
}
