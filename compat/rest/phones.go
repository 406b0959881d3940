package rest

import (
	"fmt"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
)

// errNoTextsHere is the answer where a number cannot be verified because the operator
// has configured no way out for text messages.
var errNoTextsHere = status.New(status.Generic, "NO_TEXT_MESSAGES", "this server sends no text messages, so phone numbers cannot be verified here; whoever runs it can configure a way")

// phoneError gives what is wrong with a number the code that clients know.
func phoneError(err error) error {
	return refusedFor(err, []accountFault{
		{accounts.ErrBadPhone, status.InputError, "INPUT_ERROR", "that is no phone number; it begins with + and the code of the country"},
		{accounts.ErrNoPhone, status.PhoneUnknown, "PHONE_NUMBER_UNKNOWN", "your account has no such phone number"},
		{accounts.ErrPhoneVerified, status.PhoneVerified, "PHONE_NUMBER_ALREADY_VERIFIED", "that phone number is verified already"},
		{accounts.ErrCodeExpired, status.PhoneCodeExpired, "PHONE_NUMBER_VERIFICATION_CODE_EXPIRED", "that code is good no more; ask for another"},
		{accounts.ErrCodeWrong, status.PhoneCodeWrong, "PHONE_NUMBER_WRONG_VERIFICATION_CODE", "that is not the code that was sent"},
		{accounts.ErrTooManyPhones, status.PhoneLimitExceeded, "PHONE_NUMBER_LIMIT_EXCEEDED", fmt.Sprintf("an account has at most %d phone numbers; delete one first", accounts.PhonesMax)},
	})
}

// phoneArgs is the JSON that the endpoints about telephone numbers take.
type phoneArgs struct {
	Number     string `json:"phone_number"`
	Visibility *int   `json:"visibility"`
	All        bool   `json:"all"`
	Code       string `json:"verification_code"`
}

func (c *call) phoneArgs() (a phoneArgs, err error) {
	if err = c.body(&a); err == nil && !mail.NumberOK(a.Number) && !(a.All && a.Number == "") {
		err = phoneError(accounts.ErrBadPhone)
	}
	return a, err
}

// phoneNumbers: GET user/phone_numbers. client: go/phonenumbers/user.go:GetPhoneNumbers
func phoneNumbers(c *call) (any, error) {
	type number struct {
		Number     string `json:"phone_number"`
		Verified   bool   `json:"verified"`
		Superseded bool   `json:"superseded"`
		Visibility int    `json:"visibility"`
		CTime      int64  `json:"ctime"`
	}
	contact, err := accounts.GetContact(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	list := []number{}
	for _, p := range contact.Phones {
		gone, err := p.Superseded(c.view(), c.who.UID)
		if err != nil {
			return nil, err
		}
		list = append(list, number{p.Number, p.Verified != 0 || gone && p.Lost != 0, gone, int(p.Visibility), p.Added / 1000})
	}
	return struct {
		PhoneNumbers []number `json:"phone_numbers"`
	}{list}, nil
}

// phoneAdd: POST user/phone_numbers; a second time it sends another code.
// client: go/phonenumbers/user.go:AddPhoneNumber
func phoneAdd(c *call) (any, error) {
	a, err := c.phoneArgs()
	if err != nil {
		return nil, err
	}
	if a.Number == "" {
		return nil, phoneError(accounts.ErrBadPhone)
	}
	v, err := visibility(a.Visibility, accounts.Private)
	if err != nil {
		return nil, err
	}
	if !c.s.CanText {
		return nil, errNoTextsHere
	}
	var code string
	err = c.update(func(tx *store.Tx) error {
		if err := accounts.Spend(tx, c.who.UID, accounts.Verifies, 1); err != nil {
			return err
		}
		if code, err = accounts.AddPhone(tx, c.s.Rand, c.who.UID, a.Number, v); err != nil {
			return err
		}
		return mail.SendText(tx, c.s.codeText(a.Number, code))
	})
	if err == nil {
		c.s.rememberCode(c.who.UID, a.Number, code)
	}
	return none{}, phoneError(err)
}

// phoneDelete: DELETE user/phone_numbers. client: go/phonenumbers/user.go:DeletePhoneNumber
func phoneDelete(c *call) (any, error) {
	a, err := c.phoneArgs()
	if err != nil {
		return nil, err
	}
	return none{}, phoneError(c.update(func(tx *store.Tx) error { return accounts.DeletePhone(tx, c.who.UID, a.Number) }))
}

// phoneVerify: POST user/phone_number_verify. A wrong code is counted, so what the
// transaction wrote stays. client: go/phonenumbers/user.go:VerifyPhoneNumber
func phoneVerify(c *call) (any, error) {
	a, err := c.phoneArgs()
	if err != nil {
		return nil, err
	}
	var refused error
	err = c.update(func(tx *store.Tx) error {
		refused, err = accounts.TryPhoneCode(tx, c.who.UID, a.Number, a.Code)
		return err
	})
	if err == nil {
		err = refused
	}
	return none{}, phoneError(err)
}

// phoneVisibility: POST user/phone_number_visibility, of one number or of all.
// client: go/phonenumbers/user.go:SetVisibilityPhoneNumber
func phoneVisibility(c *call) (any, error) {
	a, err := c.phoneArgs()
	if err != nil {
		return nil, err
	}
	if a.Visibility == nil {
		return nil, status.InputField("visibility", "the argument visibility is missing")
	}
	v, err := visibility(a.Visibility, accounts.Private)
	if err != nil {
		return nil, err
	}
	if a.All {
		a.Number = ""
	}
	return none{}, phoneError(c.update(func(tx *store.Tx) error { return accounts.SetPhoneVisibility(tx, c.who.UID, a.Number, v) }))
}
