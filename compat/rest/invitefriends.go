package rest

import (
	"errors"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
)

// Limits of invitations that users send.
const (
	// invitationMessageMax bounds what the inviter writes, in bytes; the rest is cut.
	invitationMessageMax = 500
	// friendsPerInviteMax bounds the people invited by one request.
	friendsPerInviteMax = accounts.InvitesPerDayMax
	// assertionBytesMax bounds the name of somebody of another service.
	assertionBytesMax = 256
	// friendInvitationLifetime is how long an invitation of a user is open.
	friendInvitationLifetime = 30 * 24 * time.Hour
)

// errOutOfInvites is known to clients, who then say so in their own words.
// client: go/libkb/invite.go:callSendInvitation
var errOutOfInvites = status.New(status.ThrottleControl, "THROTTLE_CONTROL", "you cannot invite anybody at the moment")

// sendInvitation: POST send_invitation: a code with which one person can sign up, mailed
// if an address is named. Where only the operator lets people in, users are out of
// invitations; and so they are for people of other services, whom clients give a link to
// Keybase's own web site, where the code is worth nothing.
// client: go/libkb/invite.go:SendInvitation, go/libkb/invite.go:Invitation.Link
func sendInvitation(c *call) (any, error) {
	if c.s.Signup != accounts.SignupOpen && c.s.Signup != "" {
		return nil, errOutOfInvites
	}
	to := strings.TrimSpace(c.raw("email"))
	switch assertion := c.raw("assertion"); {
	case to != "" && !accounts.PlausibleMail(to):
		return nil, mailError(accounts.ErrBadMail)
	case !c.form.Has("invitation_message") || !c.form.Has("note_to_self"):
		return nil, status.InputField("invitation_message", "the argument invitation_message or note_to_self is missing; both may be empty")
	case assertion != "" && (len(assertion) > assertionBytesMax || !strings.ContainsAny(assertion, "@:") || mail.Printable(assertion) != assertion):
		return nil, status.InputField("assertion", "the argument assertion names nobody of another service")
	case assertion != "" && to == "":
		return nil, errOutOfInvites
	}
	var reply struct {
		ID   string `json:"invitation_id"`
		Code string `json:"short_code"`
	}
	err := c.update(func(tx *store.Tx) error {
		if err := accounts.Spend(tx, c.who.UID, accounts.Invites, 1); err != nil {
			return err
		}
		code, id, err := accounts.NewInvitation(tx, c.s.Rand, accounts.InvitationSpec{
			Note: "from " + string(c.who.Name), Uses: 1, Lifetime: friendInvitationLifetime,
		})
		if err != nil {
			return err
		}
		reply.ID, reply.Code = id.String(), code
		if to == "" || !c.s.CanMail {
			return nil
		}
		return mail.Send(tx, c.s.invitationLetter(to, c.who.Name, code, c.raw("invitation_message")))
	})
	if errors.Is(err, accounts.ErrBudget) || errors.Is(err, accounts.ErrTooManyInvitations) {
		return nil, errOutOfInvites
	}
	return reply, messageError(err)
}

// inviteFriends: POST invite_friends/invite. Assertions are "[a@example.org]@email" or
// "15551234567@phone". client: go/service/invite_friends.go:InviteFriendsHandler.InvitePeople
func inviteFriends(c *call) (any, error) {
	var args struct {
		Assertions []string `json:"assertions"`
	}
	if err := c.body(&args); err != nil {
		return nil, err
	}
	if len(args.Assertions) == 0 || len(args.Assertions) > friendsPerInviteMax {
		return nil, status.Input("1 to %d people are invited at a time", friendsPerInviteMax)
	}
	var mails, numbers []string
	for _, a := range args.Assertions {
		address, number, ok := assertedAddress(a)
		switch {
		case !ok:
			return nil, status.Input("an assertion names neither an email address nor a phone number")
		case number != "":
			numbers = append(numbers, number)
		default:
			mails = append(mails, address)
		}
	}
	if len(mails) > 0 && !c.s.CanMail {
		return nil, status.New(status.Generic, "NO_MAIL", "this server sends no mail, so it cannot invite anybody by it")
	}
	if len(numbers) > 0 && !c.s.CanText {
		return nil, errNoTextsHere
	}
	err := c.update(func(tx *store.Tx) error {
		if err := accounts.Spend(tx, c.who.UID, accounts.Invites, len(args.Assertions)); err != nil {
			return err
		}
		for _, a := range mails {
			if err := mail.Send(tx, c.s.invitationLetter(a, c.who.Name, "", "")); err != nil {
				return err
			}
		}
		for _, n := range numbers {
			text := string(c.who.Name) + " invites you to the Keybase server " + clipped(c.s.address(), 120)
			if err := mail.SendText(tx, mail.Text{To: n, Text: text}); err != nil {
				return err
			}
		}
		return nil
	})
	return none{}, messageError(err)
}

// assertedAddress reads the assertion of a mail address or a telephone number.
func assertedAddress(a string) (address, number string, ok bool) {
	if rest, found := strings.CutSuffix(a, "@phone"); found {
		number = "+" + strings.TrimPrefix(rest, "+")
		return "", number, mail.NumberOK(number)
	}
	rest, found := strings.CutSuffix(a, "@email")
	if !found || !strings.HasPrefix(rest, "[") || !strings.HasSuffix(rest, "]") {
		return "", "", false
	}
	address = rest[1 : len(rest)-1]
	return address, "", accounts.PlausibleMail(address)
}
