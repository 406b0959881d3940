package rest

import (
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
)

// codesMax is how many codes of text messages devel mode remembers.
const codesMax = 1000

// codeOf is a code that devel mode remembers for test/phone_number_code. Elsewhere codes
// are in the text messages only.
type codeOf struct {
	uid    kbsig.UID
	number string
}

// rememberCode keeps the newest code of a number, in devel mode only.
func (s *Server) rememberCode(u kbsig.UID, number, code string) {
	if !s.Devel {
		return
	}
	s.codesMu.Lock()
	defer s.codesMu.Unlock()
	if s.codes == nil || len(s.codes) >= codesMax {
		s.codes = make(map[codeOf]string)
	}
	s.codes[codeOf{u, number}] = code
}

// contactHooks are the endpoints of devel mode about addresses.
func contactHooks() []route {
	return []route{
		{"test/phone_number_code", get, authRequired, rateOwn, 0, reads, testPhoneCode},
		{"test/verify_email_auto", post, authRequired, ratePost, 0, natural, testVerifyMail},
		{"test/disable_tofu_search_for_uid", post, authRequired, ratePost, 0, natural, testNoSearch},
	}
}

// testPhoneCode: GET test/phone_number_code. client: go/kbtest/kbtest.go:GetPhoneVerificationCode
func testPhoneCode(c *call) (any, error) {
	c.s.codesMu.Lock()
	defer c.s.codesMu.Unlock()
	code, ok := c.s.codes[codeOf{c.who.UID, c.raw("phone_number")}]
	if !ok {
		return nil, phoneError(accounts.ErrNoPhone)
	}
	return struct {
		Code string `json:"verification_code"`
	}{code}, nil
}

// testVerifyMail: POST test/verify_email_auto. client: go/kbtest/kbtest.go:VerifyEmailAuto
func testVerifyMail(c *call) (any, error) {
	address, err := c.str("email")
	if err != nil {
		return nil, err
	}
	if len(address) > accounts.MailBytesMax {
		return nil, status.InputField("email", "the argument email is too long")
	}
	return none{}, mailError(c.updateHome(func(tx *store.Tx) error { return accounts.VerifyMail(tx, c.who.UID, address) }))
}

// testNoSearch: POST test/disable_tofu_search_for_uid: the caller has looked for as many
// people as they may in a day. client: go/systests/teams_test.go:userPlusDevice.disableTOFUSearch
func testNoSearch(c *call) (any, error) {
	return none{}, c.update(func(tx *store.Tx) error {
		for n := accounts.LookupsPerDayMax; n > 0; {
			switch err := accounts.Spend(tx, c.who.UID, accounts.Lookups, n); {
			case errors.Is(err, accounts.ErrBudget):
				n /= 2
			case err != nil:
				return err
			}
		}
		return nil
	})
}
