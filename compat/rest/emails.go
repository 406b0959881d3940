package rest

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/home"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// errNoMailHere is the answer where an address cannot be verified because the operator
// has configured no way out for mail.
var errNoMailHere = status.New(status.Generic, "NO_MAIL", "this server sends no mail, so the address cannot be verified; whoever runs it can configure a mail server")

// accountFault is what clients are told of an error of engine/accounts.
type accountFault struct {
	err        error
	code       int
	name, text string
}

// refusedFor finds what clients are told of an error about an address or a number.
func refusedFor(err error, known []accountFault) error {
	for _, r := range known {
		if errors.Is(err, r.err) {
			return status.New(r.code, r.name, r.text)
		}
	}
	return messageError(err)
}

// mailError gives what is wrong with an address the code that clients know.
func mailError(err error) error {
	return refusedFor(err, []accountFault{
		{accounts.ErrBadMail, status.BadEmail, "BAD_EMAIL", "that does not look like an email address"},
		{accounts.ErrMailTaken, status.EmailTaken, "EMAIL_TAKEN", "that email address is already taken"},
		{accounts.ErrMailOwn, status.EmailAlreadyAdded, "EMAIL_ALREADY_ADDED", "that email address is yours already"},
		{accounts.ErrTooManyMails, status.EmailLimitExceeded, "EMAIL_LIMIT_EXCEEDED", fmt.Sprintf("an account has at most %d email addresses; delete one first", accounts.MailsMax)},
		{accounts.ErrMailPrimary, status.EmailPrimary, "EMAIL_CANNOT_DELETE_PRIMARY", "that is your primary email address; make another the primary one first"},
		{accounts.ErrNoMail, status.EmailUnknown, "EMAIL_UNKNOWN", "your account has no such email address"},
		{accounts.ErrMailVerified, status.InputError, "INPUT_ERROR", "that email address is verified already"},
	})
}

// messageError is the answer when somebody has asked for too many messages.
func messageError(err error) error {
	switch {
	case errors.Is(err, accounts.ErrBudget):
		return status.New(status.RateLimit, "RATE_LIMIT", "you have asked for too many messages today; please try again tomorrow")
	case errors.Is(err, mail.ErrTooMuch):
		return status.New(status.RateLimit, "RATE_LIMIT", "too many messages wait to be sent; please try again later")
	}
	return err
}

// mailArgs is the JSON that the email endpoints take.
type mailArgs struct {
	Email      string `json:"email"`
	Visibility *int   `json:"visibility"`
	All        bool   `json:"all"`
}

func (c *call) mailArgs() (a mailArgs, err error) {
	if err = c.body(&a); err == nil && (len(a.Email) > accounts.MailBytesMax || a.Email == "" && !a.All) {
		err = mailError(accounts.ErrBadMail)
	}
	return a, err
}

// visibility reads who may find somebody; def is for a request that does not say.
func visibility(v *int, def accounts.Visibility) (accounts.Visibility, error) {
	switch {
	case v == nil:
		return def, nil
	case *v == int(accounts.Private) || *v == int(accounts.Public):
		return accounts.Visibility(*v), nil
	}
	return def, status.InputField("visibility", "the visibility is 0 for private or 1 for public")
}

// updateHome is update of what the home page asks for.
func (c *call) updateHome(fn func(*store.Tx) error) error {
	return c.update(func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return home.Refresh(tx, c.who.UID)
	})
}

// emailAdd: POST email/add. client: go/emails/user.go:AddEmail
func emailAdd(c *call) (any, error) {
	a, err := c.mailArgs()
	if err != nil {
		return nil, err
	}
	v, err := visibility(a.Visibility, accounts.Private)
	if err != nil {
		return nil, err
	}
	return none{}, mailError(c.updateHome(func(tx *store.Tx) error {
		if err := accounts.AddMail(tx, c.who.UID, a.Email, v); err != nil {
			return err
		}
		return c.s.sendVerification(tx, c.who.UID, c.who.Name, a.Email)
	}))
}

// sendVerification makes a verification mail to one of the user's addresses, if mail
// leaves this server at all.
func (s *Server) sendVerification(tx *store.Tx, u kbsig.UID, name kbsig.Username, address string) error {
	if !s.CanMail {
		return nil
	}
	if err := accounts.Spend(tx, u, accounts.Verifies, 1); err != nil {
		return err
	}
	token, err := accounts.NewMailToken(tx, s.Rand, u, address)
	if err != nil {
		return err
	}
	return mail.Send(tx, s.verificationLetter(u, name, address, token))
}

// emailDelete: POST email/delete. client: go/emails/user.go:DeleteEmail
func emailDelete(c *call) (any, error) {
	a, err := c.mailArgs()
	if err != nil {
		return nil, err
	}
	return none{}, mailError(c.updateHome(func(tx *store.Tx) error { return accounts.DeleteMail(tx, c.who.UID, a.Email) }))
}

// emailSetPrimary: POST email/set-primary. client: go/emails/user.go:SetPrimaryEmail
func emailSetPrimary(c *call) (any, error) {
	a, err := c.mailArgs()
	if err != nil {
		return nil, err
	}
	return none{}, mailError(c.update(func(tx *store.Tx) error { return accounts.SetPrimaryMail(tx, c.who.UID, a.Email) }))
}

// emailSendVerify: POST email/send-verify. client: go/emails/user.go:SendVerificationEmail
func emailSendVerify(c *call) (any, error) {
	a, err := c.mailArgs()
	if err != nil {
		return nil, err
	}
	return none{}, mailError(c.update(func(tx *store.Tx) error {
		if c.s.CanMail {
			return c.s.sendVerification(tx, c.who.UID, c.who.Name, a.Email)
		}
		contact, err := accounts.GetContact(tx, c.who.UID)
		if err != nil {
			return err
		}
		if !contact.HasMail(a.Email) {
			return accounts.ErrNoMail
		}
		return errNoMailHere
	}))
}

// emailSetVisibility: POST email/set-visibility, of one address or of all.
// client: go/emails/user.go:SetVisibilityEmail, go/emails/user.go:SetVisibilityAllEmail
func emailSetVisibility(c *call) (any, error) {
	a, err := c.mailArgs()
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
		a.Email = ""
	}
	return none{}, mailError(c.update(func(tx *store.Tx) error { return accounts.SetMailVisibility(tx, c.who.UID, a.Email, v) }))
}

// emailUpdateSigned: POST account/email_update_signed: the primary address is replaced
// on the word of a device. client: go/engine/email_change.go:EmailChange.Run
func emailUpdateSigned(c *call) (any, error) {
	kid, err := c.kid("signing_kid")
	if err != nil {
		return nil, err
	}
	sig, err := c.str("sig")
	if err != nil {
		return nil, err
	}
	statement, err := sigchain.ParseSettingsStatement(sig, kid)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	return none{}, mailError(c.s.Identity.SignSettings(ctx, c.who.UID, statement, func(tx *store.Tx, old string) error {
		if old != "" && c.s.CanMail {
			// Whoever reads the old address shall know; a full queue does not undo it.
			if err := mail.Send(tx, c.s.replacedLetter(c.who.Name, old)); err != nil && !errors.Is(err, mail.ErrTooMuch) {
				return err
			}
		}
		if err := c.s.sendVerification(tx, c.who.UID, c.who.Name, statement.Email); err != nil {
			return err
		}
		return home.Refresh(tx, c.who.UID)
	}))
}

// userPrivate: GET user/private. is_primary and is_verified are numbers: clients
// refuse booleans. client: go/libkb/loaduser.go:LoadUserEmails
func userPrivate(c *call) (any, error) {
	contact, err := accounts.GetContact(c.view(), c.who.UID)
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
		ID            string               `json:"id"`
		Emails        mails                `json:"emails"`
		PictureSource people.PictureSource `json:"picture_source,omitempty"`
	}
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	list := []mail{}
	for i, m := range contact.Mails {
		out := mail{Email: m.Address, Visibility: int(m.Visibility)}
		if i == 0 {
			out.IsPrimary = 1
		}
		if m.Verified != 0 {
			out.IsVerified = 1
		}
		if m.Asked != 0 {
			out.LastVerify = &m.Asked
		}
		list = append(list, out)
	}
	return struct {
		Them them `json:"them"`
	}{them{c.who.UID.String(), mails{list}, people.PictureSource(acct.PictureSource)}}, nil
}
