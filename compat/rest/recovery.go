package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
)

// Limits of reminders.
const (
	// remindersMax bounds the reminders that wait.
	remindersMax = 2000
	// reminderNamesMax bounds the names in one reminder.
	reminderNamesMax = 10
)

// kindReminder is the job that looks an address up and writes to it. Whoever asks is
// answered before anybody looks: neither the answer nor its time tells of an account.
const kindReminder = "reminder"

// reminder is what such a job carries.
type reminder struct {
	Mail     string `codec:"m,omitempty"`
	Phone    string `codec:"p,omitempty"`
	Password bool   `codec:"w,omitempty"` // asked for the password, not for the name
}

// recoverUsername: POST account/recover_username.
// client: go/service/account.go:AccountHandler.RecoverUsernameWithEmail
func recoverUsername(c *call) (any, error) {
	r := reminder{Mail: accounts.NormalMail(c.raw("email")), Phone: c.raw("phone_number")}
	switch {
	case r.Mail != "" && accounts.PlausibleMail(r.Mail) && r.Phone == "":
	case r.Phone != "" && mail.NumberOK(r.Phone) && r.Mail == "":
	case r.Phone != "":
		return nil, status.InputField("phone_number", "that is no phone number; it begins with + and the code of the country")
	default:
		return nil, status.InputField("email", "that does not look like an email address")
	}
	return none{}, c.remind(r)
}

// sendResetPassword: POST send-reset-pw. A user name is public, so that one which nobody
// has is said to be so; of a mail address nothing is said.
// client: go/service/login.go:LoginHandler.RecoverAccountFromEmailAddress
func sendResetPassword(c *call) (any, error) {
	asked, err := c.str("email_or_username")
	if err != nil {
		return nil, err
	}
	if strings.Contains(asked, "@") {
		if asked = accounts.NormalMail(asked); !accounts.PlausibleMail(asked) {
			return nil, status.InputField("email_or_username", "that does not look like an email address")
		}
		return none{}, c.remind(reminder{Mail: asked, Password: true})
	}
	nobody := status.New(status.BadLoginUserNotFound, "BAD_LOGIN_USER_NOT_FOUND", "there is no account of that name on this server")
	name, err := kbsig.ParseUsername(asked)
	if err != nil {
		return nil, nobody
	}
	acct, err := accounts.ByName(c.view(), name)
	if errors.Is(err, accounts.ErrNoUser) || err == nil && acct.Status != accounts.StatusActive {
		return nil, nobody
	}
	if err != nil {
		return nil, err
	}
	// Whether the account has an address at all is not told either.
	return none{}, messageError(c.update(func(tx *store.Tx) error {
		to, _, err := accounts.PrimaryMail(tx, acct.UID)
		if err != nil || to == "" || !c.s.CanMail {
			return err
		}
		return mail.Send(tx, c.s.passwordLetter(to, acct.Name))
	}))
}

// remind keeps a reminder as a job, one for each address.
func (c *call) remind(r reminder) error {
	body := store.Encode(r)
	name := sha256.Sum256(body)
	return messageError(c.update(func(tx *store.Tx) error {
		n, err := jobs.Count(tx, kindReminder, "", remindersMax)
		if err != nil {
			return err
		}
		if n >= remindersMax {
			return mail.ErrTooMuch
		}
		return jobs.Add(tx, jobs.Job{Kind: kindReminder, Key: hex.EncodeToString(name[:16]), Body: body})
	}))
}

// Work names to r what this door does in the background.
func (s *Server) Work(r *jobs.Runner) {
	r.Handle(kindReminder, func(ctx context.Context, j jobs.Job) error {
		re, err := store.Decode[reminder](j.Body)
		if err != nil {
			return jobs.GiveUp(err)
		}
		err = s.Store.Update(ctx, func(tx *store.Tx) error { return s.writeReminder(tx, re) })
		if errors.Is(err, mail.ErrTooMuch) {
			return jobs.GiveUp(err) // who has so much mail waiting has this one, too
		}
		return err
	})
}

// writeReminder writes to an address if it is somebody's, and to nobody else.
func (s *Server) writeReminder(tx *store.Tx, r reminder) error {
	uids, err := claimants(tx, r)
	if err != nil {
		return err
	}
	var names []string
	for _, u := range uids {
		acct, err := accounts.Get(tx, u)
		if errors.Is(err, accounts.ErrNoUser) || err == nil && acct.Status != accounts.StatusActive {
			continue
		}
		if err != nil {
			return err
		}
		if len(names) < reminderNamesMax {
			names = append(names, string(acct.Name))
		}
	}
	switch {
	case len(names) == 0:
		return nil
	case r.Phone != "" && s.CanText:
		return mail.SendText(tx, mail.Text{To: r.Phone, Text: clipped(s.reminder(names), 300)})
	case r.Phone != "" || !s.CanMail:
		return nil
	case r.Password && len(names) == 1:
		return mail.Send(tx, s.passwordLetter(r.Mail, kbsig.Username(names[0])))
	}
	return mail.Send(tx, s.reminderLetter(r.Mail, names))
}

func claimants(tx *store.Tx, r reminder) ([]kbsig.UID, error) {
	if r.Mail != "" {
		return accounts.ClaimedBy(tx, r.Mail)
	}
	u, err := accounts.PhoneOwner(tx, r.Phone)
	if u == nil {
		return nil, err
	}
	return []kbsig.UID{*u}, nil
}
