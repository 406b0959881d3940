package rest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
)

const mailBytesMax = accounts.MailBytesMax

// named finds the account that a login names by user name, or by a mail address that
// leads anybody to it; nil if there is none. By another address nobody logs in: whoever
// asks for its salt, and compares, would learn whose it is.
func (c *call) named(emailOrUsername string) (*accounts.Account, error) {
	if len(emailOrUsername) > mailBytesMax {
		return nil, status.InputField("email_or_username", "too long")
	}
	var acct *accounts.Account
	var err error
	if n, perr := kbsig.ParseUsername(emailOrUsername); perr == nil {
		acct, err = accounts.ByName(c.view(), n)
	} else {
		acct, err = accounts.ByAddress(c.view(), emailOrUsername)
	}
	if errors.Is(err, accounts.ErrNoUser) {
		return nil, nil
	}
	return acct, err
}

// getSalt: GET getsalt. Somebody unknown gets a salt too, the same each time, so
// that neither the answer nor its time tells whether a mail address has an account.
// client: go/libkb/login_session.go:LoginSession.Load
func getSalt(c *call) (any, error) {
	var acct *accounts.Account
	var err error
	asked := c.raw("email_or_username")
	if asked == "" {
		uid, err := c.uid("uid")
		if err != nil {
			return nil, err
		}
		asked = uid.String()
		acct, err = accounts.Get(c.view(), uid)
		if errors.Is(err, accounts.ErrNoUser) {
			acct, err = nil, nil
		}
		if err != nil {
			return nil, err
		}
	} else if acct, err = c.named(asked); err != nil {
		return nil, err
	}
	ch, err := c.s.Auth.Challenge(acct, accounts.NormalMail(asked))
	if err != nil {
		return nil, err
	}
	return struct {
		Salt         string `json:"salt"`
		LoginSession string `json:"login_session"`
		CSRF         string `json:"csrf_token"`
		PwhVersion   int    `json:"pwh_version"`
	}{hex.EncodeToString(ch.Salt[:]), ch.Session, "", identity.PwhVersion}, nil
}

// meBasics is what a client reads of itself after sign-up and login.
type meBasics struct {
	Username             string `json:"username"`
	PassphraseGeneration int    `json:"passphrase_generation"`
	EldestSeqno          int64  `json:"eldest_seqno"`
}

type me struct {
	ID     string   `json:"id"`
	Basics meBasics `json:"basics"`
}

type sessionReply struct {
	Session string `json:"session"`
	CSRF    string `json:"csrf_token"`
	UID     string `json:"uid"`
	Me      me     `json:"me"`
}

// login: POST login. client: go/libkb/passphrase_login.go:pplPost
func login(c *call) (any, error) {
	asked, err := c.str("email_or_username")
	if err != nil {
		return nil, err
	}
	acct, err := c.named(asked)
	if err != nil {
		return nil, err
	}
	// Clients put "Bad password:" before the sentence.
	// client: go/libkb/errors.go:PassphraseError
	wrong := status.New(status.BadLoginPassword, "BAD_LOGIN_PASSWORD", "it is not the password of this account")
	nobody := status.New(status.BadLoginUserNotFound, "BAD_LOGIN_USER_NOT_FOUND", "there is no account of that name on this server")
	switch {
	case acct == nil && strings.Contains(asked, "@"):
		// Nobody learns whether a mail address has an account.
		return nil, wrong
	case acct == nil || acct.Status == accounts.StatusDeleted:
		return nil, nobody
	}
	if err := c.s.Auth.CheckLogin(acct, c.raw("pdpka4"), c.raw("pdpka5")); err != nil {
		if errors.Is(err, auth.ErrWrongPassword) {
			return nil, wrong
		}
		return nil, err
	}
	tokens, err := c.newSession(acct.UID, kbsig.DeviceID{})
	if err != nil {
		return nil, err
	}
	return c.sessionReply(acct, tokens)
}

// newSession makes a session that the device by asks for; the zero device means that
// the password does.
func (c *call) newSession(u kbsig.UID, by kbsig.DeviceID) (tokens accounts.SessionTokens, err error) {
	err = c.update(func(tx *store.Tx) error {
		tokens, err = accounts.NewDeviceSession(tx, c.s.Rand, u, by)
		return err
	})
	return tokens, err
}

func (c *call) sessionReply(acct *accounts.Account, t accounts.SessionTokens) (any, error) {
	eldest, err := identity.EldestSeqno(c.view(), acct.UID)
	if err != nil {
		return nil, err
	}
	return sessionReply{
		Session: t.Session, CSRF: t.CSRF, UID: acct.UID.String(),
		Me: me{acct.UID.String(), meBasics{string(acct.Name), acct.Generation, int64(eldest)}},
	}, nil
}

// newSession: POST new_session, asked by a device that helps another one to be
// added. client: go/libkb/session.go:NewSessionTokener
func newSession(c *call) (any, error) {
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	tokens, err := c.newSession(acct.UID, c.who.DeviceID)
	if err != nil {
		return nil, err
	}
	return c.sessionReply(acct, tokens)
}

// sessionCheck: GET sesscheck.
func sessionCheck(c *call) (any, error) {
	return struct {
		UID      string `json:"logged_in_uid"`
		Username string `json:"username"`
	}{c.who.UID.String(), string(c.who.Name)}, nil
}

// signUp: POST signup. client: go/engine/signup_join.go:SignupJoinEngine.Post
func signUp(c *call) (any, error) {
	if c.s.Signup == accounts.SignupClosed {
		return nil, errSignupClosed
	}
	req, err := c.signUpArgs()
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	acct, tokens, err := c.s.Identity.SignUp(ctx, req)
	if err != nil {
		return nil, err
	}
	return sessionReply{
		Session: tokens.Session, CSRF: tokens.CSRF, UID: acct.UID.String(),
		Me: me{acct.UID.String(), meBasics{string(acct.Name), acct.Generation, 0}},
	}, nil
}

func (c *call) signUpArgs() (req identity.SignUp, err error) {
	req.Cased = c.raw("username")
	if req.Name, err = kbsig.ParseUsername(req.Cased); err != nil {
		// The name of the field makes the client ask for another user name.
		return req, status.InputField("username", usernameFault(req.Cased))
	}
	salt, err := c.hexBytes("salt", 16)
	if err != nil {
		return req, err
	}
	copy(req.Salt[:], salt)
	pwh, err := c.hexBytes("pwh", 32)
	if err != nil {
		return req, err
	}
	copy(req.Pwh[:], pwh)
	if v, err := c.integer("pwh_version", 0); err != nil || v != identity.PwhVersion {
		return req, status.InputField("pwh_version", "this server wants password hashes of version 3")
	}
	if req.PDPKA5, err = c.kid("pdpka5_kid"); err != nil {
		return req, err
	}
	if !req.PDPKA5.IsSigning() {
		return req, status.InputField("pdpka5_kid", "not a signing key")
	}
	req.RandomPW = c.flag("random_pw")
	if address := strings.TrimSpace(c.raw("email")); address != "" {
		if !accounts.PlausibleMail(address) {
			return req, mailError(accounts.ErrBadMail)
		}
		req.Also = c.signUpMail(req.Name, address)
	}
	req.BotToken = c.raw("bot_token")
	req.Invited, req.Invitation = c.s.Signup == accounts.SignupInvitation, c.raw("invitation_id")
	if c.s.Devel && req.Invitation == develInvitation {
		req.Invited = false
	}
	return req, nil
}

// signUpMail gives a new account its mail address and writes there, unless the client
// asks for silence.
func (c *call) signUpMail(name kbsig.Username, address string) func(*store.Tx, kbsig.UID) error {
	silent := c.flag("skip_mail")
	return func(tx *store.Tx, u kbsig.UID) error {
		if err := accounts.AddMail(tx, u, address, accounts.Private); err != nil || silent {
			return err
		}
		if err := c.s.sendVerification(tx, u, name, address); err != nil {
			return messageError(err)
		}
		return nil
	}
}

// usernameFault says what keeps a text from being a username. What looks like a letter
// and is none is named by its number, because nobody sees the difference.
func usernameFault(s string) string {
	for _, r := range s {
		switch {
		case r == utf8.RuneError || !unicode.IsPrint(r) || r == ' ':
			return "a username is made of the letters a to z, digits and single underscores; this one has a space or an unprintable sign in it"
		case r > unicode.MaxASCII:
			return fmt.Sprintf("a username is made of the letters a to z, digits and single underscores; %q (%U) is none of them, even if it looks like one", string(r), r)
		case r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r):
			return fmt.Sprintf("a username is made of the letters a to z, digits and single underscores; %q is none of them", string(r))
		}
	}
	switch {
	case s == "":
		return "the username is missing"
	case s[0] == '_':
		return "a username does not begin with an underscore"
	case strings.Contains(s, "__"):
		return "a username has no two underscores in a row"
	}
	return fmt.Sprintf("a username has 2 to 16 letters and digits; this one has %d", len(s))
}

// usernameAvailable: GET user/username_available.
// client: go/service/signup.go:SignupHandler.CheckUsernameAvailable
func usernameAvailable(c *call) (any, error) {
	type reply struct {
		Available bool   `json:"available"`
		Reason    string `json:"reason,omitempty"`
	}
	n, err := kbsig.ParseUsername(c.raw("username"))
	if err != nil {
		return reply{false, "invalid"}, nil
	}
	acct, err := accounts.ByName(c.view(), n)
	switch {
	case errors.Is(err, accounts.ErrNoUser):
		return reply{Available: true}, nil
	case err != nil:
		return nil, err
	case acct.Status == accounts.StatusDeleted:
		return reply{false, "user_deleted"}, nil
	}
	return reply{false, "user"}, nil
}
