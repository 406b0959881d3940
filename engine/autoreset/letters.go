package autoreset

import (
	"errors"
	"fmt"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
)

// badge shows on all devices of u that a reset waits, or, with nil, that none does. A
// reset that is ready has no end. client: go/client/warnings.go:PrintAccountResetWarning
func badge(tx *store.Tx, u kbsig.UID, r *Reset) error {
	n := events.News{To: u, Category: "autoreset", Replace: true}
	if r != nil {
		end := int64(0)
		if r.Event == EventVerify {
			end = r.End().UnixMilli()
		}
		n.Body = fmt.Appendf(nil, `{"end_time":%d,"active":true}`, end)
	}
	return events.Add(tx, n)
}

// letter is one of the mails that a reset sends.
type letter int

const (
	mailVerify letter = iota
	mailWaiting
	mailWarning
	mailReady
	mailCancelled
	mailDone
)

// letters have a subject and paragraphs. What stands in braces is filled in.
var letters = map[letter]struct {
	subject    string
	paragraphs []string
	// text is the same for a telephone: short, with the one link that matters most.
	text string
}{
	mailVerify: {"Did you ask to reset your account?", []string{
		"Somebody asked to reset the account {name} and could not give its password.",
		"A reset removes all its devices and keys. What was encrypted for them can never be read again.",
		"If that was you, open this link until {end}:\n\n{verify}",
		"If it was not, do nothing. Nothing happens then.",
	}, "Somebody asked to reset the account {name}. If that was you, open {verify} and confirm it. If not, do nothing."},
	mailWaiting: {"Your account will be reset", []string{
		"A reset of the account {name} has been asked for and is waiting. It can be done from {end} on.",
		"A reset removes all devices and keys of the account. What was encrypted for them can never be read again.",
		"If you still have a device with this account, or did not ask for this, cancel it now:\n\n{cancel}",
	}, "The account {name} will be reset. It can be done from {end} on. If you do not want that, cancel it: {cancel}"},
	mailWarning: {"Your account will be reset soon", []string{
		"The reset of the account {name} can be done from {end} on.",
		"If you still have a device with this account, or did not ask for this, cancel it:\n\n{cancel}",
	}, "The reset of the account {name} can be done from {end} on. If you do not want that, cancel it: {cancel}"},
	mailReady: {"Your account can be reset now", []string{
		"The reset of the account {name} has waited long enough. Until {end} it can be done:",
		"If you know the password, log in with your client and say that you have none of the devices.",
		"If you don't, open this link, which resets the account and gives you a new password:\n\n{finish}",
		"If you don't want this any more, cancel it:\n\n{cancel}",
	}, "The account {name} can be reset now, with its password on your client, or without it here: {finish}"},
	mailCancelled: {"The reset of your account was cancelled", []string{
		"The reset of the account {name} was cancelled. The account is as it was.",
	}, "The reset of the account {name} was cancelled. The account is as it was."},
	mailDone: {"Your account was reset", []string{
		"The account {name} was reset. Its devices and keys are gone; the name is still yours.",
		"Log in with your client to add a first device.",
	}, "The account {name} was reset. The name is still yours: log in with your client to add a first device."},
}

// write puts a letter into the post, if the account has an address; if that was never
// verified, or there is none, also a text message, if the account has a telephone number
// that was. What finds no room is not worth failing for, except the letter that everything
// waits for.
func (s *Service) write(tx *store.Tx, acct *accounts.Account, r *Reset, which letter) error {
	to, verified, err := accounts.PrimaryMail(tx, acct.UID)
	if err != nil {
		return err
	}
	number := ""
	if !verified && s.o.Texts {
		if number, err = accounts.OwnPhone(tx, acct.UID); err != nil {
			return err
		}
	}
	site := s.o.Site()
	fill := strings.NewReplacer(
		"{name}", string(acct.Name),
		"{end}", r.End().UTC().Format("Monday, 2 January 2006, 15:04 MST"),
		"{verify}", site+s.Link(r, LinkVerify), "{cancel}", site+s.Link(r, LinkCancel), "{finish}", site+s.Link(r, LinkFinish),
	)
	if to != "" {
		err = mail.Send(tx, mail.Message{
			To: to, Subject: letters[which].subject,
			Text: fill.Replace(strings.Join(letters[which].paragraphs, "\n\n")) + "\n",
		})
		if err = bearable(err, which); err != nil {
			return err
		}
	}
	if number == "" {
		return nil
	}
	return bearable(mail.SendText(tx, mail.Text{To: number, Text: fill.Replace(letters[which].text)}), which)
}

// bearable is nil for what keeps a message back that nothing waits for.
func bearable(err error, which letter) error {
	if errors.Is(err, mail.ErrMalformed) || errors.Is(err, mail.ErrTooMuch) && which != mailVerify {
		return nil
	}
	return err
}
