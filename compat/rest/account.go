package rest

import (
	"github.com/keystead/keystead/engine/accounts"
)

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

// locationSuggest: GET account/location_suggest. The server looks nobody's address up.
func locationSuggest(*call) (any, error) {
	return struct {
		CountryCode string `json:"country_code"`
	}{"-"}, nil
}

// selfCheck: POST selfcheck. A revoked device does not get here, so nobody who does
// is told to log out. client: go/libkb/logout.go:LogoutSelfCheck
func selfCheck(*call) (any, error) {
	return struct {
		Logout bool `json:"logout"`
	}{}, nil
}
