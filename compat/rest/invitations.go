package rest

import (
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
)

// What people are told who may not sign up. On BadInvitationCode a client says "bad
// invitation code" in its own words, so that whatever has a reason of its own must be a
// Generic error: of that a client shows the sentence.
// client: go/libkb/rpc_exim.go:ImportStatusAsError
var (
	errSignupClosed = status.New(status.Generic, "SIGNUP_CLOSED", "this server takes no new accounts; whoever runs it has closed sign-up")
	errNoBypass     = badInvitation("signing up here needs an invitation code; ask whoever runs this server for one")
)

// badInvitation is the answer to something that is no code.
func badInvitation(sentence string) *status.Error {
	return status.New(status.BadInvitationCode, "BAD_INVITATION_CODE", sentence)
}

// endedInvitation is the answer to a code that was good once; who has it was given it,
// so the reason is no secret.
func endedInvitation(name, what string) *status.Error {
	return status.New(status.Generic, "INVITATION_"+name, "this invitation code "+what+"; ask whoever runs this server for another")
}

// openInvitation is the code that an open server names; any is taken.
const openInvitation = "000000000000000000000000"

// invitationBypass: GET invitation_bypass_request, which asks for a way in without a
// code. An open server names one, which is a formality; upon any error the command
// line asks its user for a code. The desktop app has no field for one, and gives up.
// client: go/libkb/post.go:GetInvitationCode, go/client/cmd_signup.go:CmdSignup.Run
func invitationBypass(c *call) (any, error) {
	switch c.s.Signup {
	case accounts.SignupInvitation:
		return nil, errNoBypass
	case accounts.SignupClosed:
		return nil, errSignupClosed
	}
	return struct {
		InvitationID string `json:"invitation_id"`
	}{openInvitation}, nil
}

// invitationCheck: GET invitation/check. Where any code will do any is good; only the tests
// of clients want to see one refused. client: go/libkb/post.go:CheckInvitationCode
func invitationCheck(c *call) (any, error) {
	code, err := c.str("invitation_id")
	if err != nil {
		return nil, err
	}
	open := c.s.Signup != accounts.SignupInvitation
	switch {
	case c.s.Signup == accounts.SignupClosed:
		return nil, errSignupClosed
	case c.s.Devel && code == develInvitation, open && (!c.s.Devel || code == openInvitation):
		return none{}, nil
	}
	_, inv, err := accounts.FindInvitation(c.view(), code)
	if err == nil {
		err = inv.Usable(c.s.Clock())
	}
	return none{}, err
}

// invitationRequest: POST invitation_request, by somebody who left the prompt for a
// code blank. No list of such wishes is kept here, and the answer says so rather than
// let somebody wait. client: go/libkb/post.go:PostInviteRequest
func invitationRequest(c *call) (any, error) {
	switch c.s.Signup {
	case accounts.SignupClosed:
		return nil, errSignupClosed
	case accounts.SignupInvitation:
		return nil, status.New(status.Generic, "NO_INVITATION_LIST", "this server keeps no list of people who want an invitation; ask whoever runs it for a code, and sign up with that")
	}
	return nil, status.New(status.Generic, "NO_INVITATION_NEEDED", "signing up here needs no invitation: start again with `keybase signup`")
}
