package client

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Account acts for one user. It is used by one goroutine at a time; many accounts
// may share one Verifier.
type Account struct {
	Verifier *Verifier
	Username string // lower case
	UID      UID

	Salt       [16]byte
	Stream     *Stream // of the password; after paper-key login the client half only
	Generation int     // of the passphrase
	Session    *Session

	Device  *Device              // the one that acts, nil before the first
	Devices map[DeviceID]*Device // all whose secrets we hold
	PUKs    []*PUK               // generation n at n-1
	Me      *User                // newest verified view of oneself
	Posted  []*SignedLink        // every link that the server acknowledged
	Sent    []*SignedLink        // links of the newest post, whatever became of it

	// SkipChecks leaves out the check after a post, for load generators that
	// measure the server alone. The chain is then continued unverified.
	SkipChecks bool
	// Retry is asked after a post that got no answer of the protocol, so that it is
	// unknown whether it was taken; true sends the same bytes again. Waiting is its
	// business. The stock client tries key/multi ten times.
	Retry func(attempt int, err error) bool
	// EditLink sees every link before it is built, EditPost every body of a post
	// before it is sent; tests use them to send what must be refused.
	EditLink func(*LinkSpec)
	EditPost func(endpoint string, body map[string]any)

	eldest KID
	seqno  Seqno
	prev   LinkID
	teams  teamMemory
}

// SignupOptions say how an account begins.
type SignupOptions struct {
	Name       string // as typed; may have capitals
	Password   string
	Stream     *Stream // given: spare the slow derivation
	Invitation string  // hex; "" asks for a bypass
	DeviceName string  // "" signs up without a device
	SkipChecks bool
}

func newAccount(v *Verifier, name string) *Account {
	name = strings.ToLower(name)
	return &Account{Verifier: v, Username: name, UID: UIDOf(name), Generation: 1, Devices: make(map[DeviceID]*Device)}
}

// With is the account on another machine: the same keys, another verifier, and nothing
// known of teams. The two go separate ways.
func (a *Account) With(v *Verifier) *Account {
	b := *a
	b.Verifier, b.teams = v, teamMemory{}
	b.Devices, b.PUKs, b.Posted = make(map[DeviceID]*Device, len(a.Devices)), slices.Clone(a.PUKs), slices.Clone(a.Posted)
	for id, d := range a.Devices {
		own := *d
		own.cred = nil // what one server has heard another one may not know
		b.Devices[id] = &own
		if d == a.Device {
			b.Device = &own
		}
	}
	b.Retry, b.EditLink, b.EditPost = nil, nil, nil
	return &b
}

// Server is the server this account lives on.
func (a *Account) Server() *Server { return a.Verifier.srv }

// credential is what the account authenticates with now.
func (a *Account) credential() Credential {
	if a.Device != nil {
		return a.NIST(a.Device)
	}
	if a.Session != nil {
		return a.Session
	}
	return nil
}

// Signup creates an account and, when named, its first device.
// client: go/engine/signup_join.go:Post
func Signup(ctx context.Context, v *Verifier, o SignupOptions) (*Account, error) {
	a := newAccount(v, o.Name)
	a.SkipChecks = o.SkipChecks
	if _, err := io.ReadFull(v.srv.Random, a.Salt[:]); err != nil {
		return nil, fmt.Errorf("draw a salt: %w", err)
	}
	var err error
	if a.Stream = o.Stream; a.Stream == nil {
		if a.Stream, err = StretchPassword(o.Password, a.Salt[:]); err != nil {
			return nil, err
		}
	}
	if o.Invitation == "" {
		if o.Invitation, err = invitation(ctx, v.srv); err != nil {
			return nil, err
		}
	}
	if err := a.postSignup(ctx, o); err != nil {
		return nil, err
	}
	if !a.SkipChecks {
		if err := a.Reload(ctx); err != nil {
			return nil, err
		}
	}
	if o.DeviceName == "" {
		return a, nil
	}
	return a, a.ProvisionFirst(ctx, o.DeviceName)
}

func invitation(ctx context.Context, s *Server) (string, error) {
	reply, err := s.Get(ctx, "invitation_bypass_request", nil, nil)
	if err != nil {
		return "", err
	}
	return reply.text("invitation_id")
}

func (a *Account) postSignup(ctx context.Context, o SignupOptions) error {
	reply, err := a.Server().Post(ctx, "signup", url.Values{
		"username": {o.Name}, "invitation_id": {o.Invitation}, "salt": {hex.EncodeToString(a.Salt[:])},
		"pwh": {hex.EncodeToString(a.Stream.PasswordHash())}, "pwh_version": {strconv.Itoa(passphraseVersion)},
		"pdpka5_kid": {a.Stream.LoginKID().String()}, "random_pw": {"0"}, "skip_mail": {"1"}, "verify_email": {"0"},
		"no_email": {"1"}, "platform": {"linux"},
	}, nil)
	if err != nil {
		return err
	}
	return a.readLogin(reply)
}

// readLogin takes session and generation from an answer of signup or login.
func (a *Account) readLogin(reply *Reply) error {
	uid, err := reply.text("uid")
	if err != nil {
		return err
	}
	if uid != a.UID.String() {
		return violated(RuleUsername, reply.Endpoint, "uid %s for %s", uid, a.Username)
	}
	s := new(Session)
	if s.Token, err = reply.text("session"); err != nil {
		return err
	}
	if s.CSRF, err = reply.text("csrf_token"); err != nil {
		return err
	}
	var me struct {
		Basics struct {
			Generation *int `json:"passphrase_generation"`
		} `json:"basics"`
	}
	if err := reply.into("me", &me); err != nil {
		return err
	}
	if me.Basics.Generation == nil || *me.Basics.Generation < 1 {
		return violated(RuleReply, reply.Endpoint, "no passphrase generation")
	}
	a.Session, a.Generation = s, *me.Basics.Generation
	return nil
}

// Login proves knowledge of a password and gets a session. stream spares the
// slow derivation; nil stretches the password with the server's salt.
// client: go/libkb/passphrase_login.go, go/libkb/login_session.go:Load
func Login(ctx context.Context, v *Verifier, name, password string, stream *Stream) (*Account, error) {
	a := newAccount(v, name)
	loginSession, err := a.getSalt(ctx)
	if err != nil {
		return nil, err
	}
	if a.Stream = stream; stream == nil {
		if a.Stream, err = StretchPassword(password, a.Salt[:]); err != nil {
			return nil, err
		}
	}
	args, err := a.loginProofs(loginSession)
	if err != nil {
		return nil, err
	}
	args.Set("email_or_username", name)
	reply, err := v.srv.Post(ctx, "login", args, nil)
	if err != nil {
		return nil, err
	}
	if err := a.readLogin(reply); err != nil {
		return nil, err
	}
	return a, a.Reload(ctx)
}

func (a *Account) getSalt(ctx context.Context) (loginSession string, err error) {
	reply, err := a.Server().Get(ctx, "getsalt", url.Values{"email_or_username": {a.Username}, "pdpka_login": {"1"}}, nil)
	if err != nil {
		return "", err
	}
	salt, err := reply.text("salt")
	if err != nil {
		return "", err
	}
	if err := unhex("salt", salt, a.Salt[:]); err != nil {
		return "", violated(RuleReply, "getsalt", "%v", err)
	}
	if loginSession, err = reply.text("login_session"); err != nil {
		return "", err
	}
	if _, err := unbase64(loginSession); err != nil {
		return "", violated(RuleReply, "getsalt", "login_session: %v", err)
	}
	return loginSession, nil
}

// loginProofs signs both proofs for one login session.
func (a *Account) loginProofs(loginSession string) (url.Values, error) {
	args := url.Values{}
	for name, seed := range map[string]Seed{"pdpka5": a.Stream.EdDSASeed(), "pdpka4": Seed(a.Stream.PasswordHash())} {
		p, err := NewLoginProof(a.Username, loginSession, a.Server().Now(), a.Server().Random)
		if err != nil {
			return nil, err
		}
		sig, err := p.Sign(seed)
		if err != nil {
			return nil, err
		}
		args.Set(name, sig)
	}
	return args, nil
}

// NewSession turns the acting device's token into a legacy session.
// client: go/libkb/session.go
func (a *Account) NewSession(ctx context.Context) (*Session, error) {
	reply, err := a.Server().Post(ctx, "new_session", url.Values{}, a.credential())
	if err != nil {
		return nil, err
	}
	s := new(Session)
	if s.Token, err = reply.text("session"); err != nil {
		return nil, err
	}
	s.CSRF, err = reply.text("csrf_token")
	return s, err
}

// CheckSession asks whether a credential is good. client: go/engine/login_oneshot.go
func (s *Server) CheckSession(ctx context.Context, c Credential) error {
	_, err := s.Get(ctx, "sesscheck", nil, c)
	return err
}
