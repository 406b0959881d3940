// Package auth turns credentials into one Principal: NIST tokens that devices sign
// themselves, password sessions, and login proofs. Both doors use it, so a token
// that one has accepted is known to the other.
//
// A NIST is checked once: its acceptance is stored, durably and before the first
// answer that says "verified", because from then on the client sends only the
// token's hash, also after a restart of the server. At each use the device's signing
// key must still be the one that signed it; revoking the device ends it at once.
package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// loginSessionLifetime is how long the challenge of getsalt can be answered. Clients
// forget it after 5 minutes; somebody may sit at a password prompt meanwhile.
// client: go/libkb/login_session.go:LoginSession
const loginSessionLifetime = 30 * time.Minute

// Kind says what a Principal showed.
type Kind int

const (
	// Device is a NIST, signed by a device of the user.
	Device Kind = iota
	// Password is a session made with the password.
	Password
)

// Principal is who asks.
type Principal struct {
	UID      kbsig.UID
	Name     kbsig.Username
	Kind     Kind
	DeviceID kbsig.DeviceID // Device only
	KID      kbsig.KID      // Device only: the signing key
	// Password only: the session's name, and whether a device of the user asked for it,
	// which a session made with the password alone has not.
	Session accounts.SessionID
	Vouched bool
}

// Auth checks credentials. It is safe for concurrent use.
type Auth struct {
	store  *store.Store
	clock  clock.Clock
	rand   io.Reader
	secret []byte // keys the login challenge and the salts of nobody
}

// New reads the server's secret from the store, making it on the first start.
func New(st *store.Store, c clock.Clock, rand io.Reader) (*Auth, error) {
	a := &Auth{store: st, clock: c, rand: rand}
	err := st.Update(context.Background(), func(tx *store.Tx) error {
		b, err := tx.Get(keys.Meta("auth-secret"))
		if errors.Is(err, store.ErrNotFound) {
			b = make([]byte, 32)
			if _, err := io.ReadFull(rand, b); err != nil {
				return err
			}
			tx.Set(keys.Meta("auth-secret"), b)
			err = nil
		}
		a.secret = b
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("server secret: %w", err)
	}
	return a, nil
}

func badSession(desc string) error { return status.New(status.BadSession, "BAD_SESSION", desc) }

// Token checks what came in X-Keybase-Session and X-CSRF-Token. isNIST tells whether
// the token was a device's, good or not.
func (a *Auth) Token(ctx context.Context, token, csrf string) (p Principal, isNIST bool, err error) {
	p, err = a.NIST(ctx, token)
	if errors.Is(err, kbsig.ErrNotNIST) {
		p, err = a.session(token, csrf)
		return p, false, err
	}
	return p, true, err
}

func (a *Auth) session(token, csrf string) (Principal, error) {
	v := a.store.View()
	defer v.Close()
	t := accounts.SessionTokens{Session: token, CSRF: csrf}
	s, err := accounts.FindSession(v, t, a.clock())
	if err != nil {
		return Principal{}, err
	}
	return a.principal(v, Principal{UID: s.UID, Kind: Password, Session: t.ID(), Vouched: s.Vouched()})
}

// principal fills in the name and refuses those who are no more.
func (a *Auth) principal(r store.Reader, p Principal) (Principal, error) {
	acct, err := accounts.Get(r, p.UID)
	if errors.Is(err, accounts.ErrNoUser) {
		return Principal{}, badSession("this account does not exist")
	}
	if err != nil {
		return Principal{}, err
	}
	if acct.Status == accounts.StatusDeleted {
		return Principal{}, status.New(status.BadSession, "BAD_SESSION", "this account has been deleted")
	}
	p.Name = acct.Name
	return p, nil
}

// NIST checks a device's token, long or short. The error is kbsig.ErrNotNIST if it
// is something else, a *status.Error if it is not taken.
func (a *Auth) NIST(ctx context.Context, token string) (Principal, error) {
	n, err := kbsig.DecodeNIST(token)
	if err != nil {
		return Principal{}, nistStatus(err)
	}
	v := a.store.View()
	defer v.Close()
	acc, err := accounts.FindNIST(v, n.Hash, a.clock())
	if errors.Is(err, accounts.ErrNoToken) {
		if n.Long == nil {
			return Principal{}, badSession("unknown or expired session token")
		}
		acc, err = a.accept(ctx, v, n)
	}
	if err != nil {
		return Principal{}, nistStatus(err)
	}
	// The key must still be the device's: a revoked device has none.
	kid, err := accounts.ActiveKID(v, acc.UID, acc.DeviceID)
	if errors.Is(err, accounts.ErrNoDevice) || (err == nil && kid != acc.KID) {
		return Principal{}, badSession("this device has been revoked")
	}
	if err != nil {
		return Principal{}, err
	}
	return a.principal(v, Principal{UID: acc.UID, Kind: Device, DeviceID: acc.DeviceID, KID: acc.KID})
}

// accept verifies a long token and stores that it was.
func (a *Auth) accept(ctx context.Context, r store.Reader, n *kbsig.NIST) (*accounts.Accepted, error) {
	if n.Web {
		return nil, badSession("website tokens are not taken here")
	}
	kid, err := accounts.ActiveKID(r, n.Long.UID, n.Long.DeviceID)
	if errors.Is(err, accounts.ErrNoDevice) {
		return nil, badSession("no such device, or it has been revoked")
	}
	if err != nil {
		return nil, err
	}
	if err := n.Long.Verify(kid, a.clock()); err != nil {
		return nil, err
	}
	acc := accounts.Accepted{
		UID: n.Long.UID, DeviceID: n.Long.DeviceID, KID: kid, Expires: n.Long.Expires().Unix(),
	}
	var old [19]byte
	if n.Long.OldHash != nil {
		old = *n.Long.OldHash
	}
	err = a.store.Update(ctx, func(tx *store.Tx) error {
		return accounts.AcceptNIST(tx, n.Hash, acc, old)
	})
	return &acc, err
}

// nistStatus gives a faulty token the code that clients know.
func nistStatus(err error) error {
	var f *kbsig.NISTFault
	if errors.As(err, &f) {
		sentence := tokenSentences[f]
		if sentence == "" {
			sentence = "the session token is malformed"
		}
		return status.New(f.Code, f.Name, sentence)
	}
	return err
}

// tokenSentences say what is wrong with a token where a person can do something about
// it, or could wonder.
var tokenSentences = map[*kbsig.NISTFault]string{
	kbsig.NISTExpired:         "the session token has expired",
	kbsig.NISTBadClock:        "the session token is from the future; check the clock of this device",
	kbsig.NISTBadLifetime:     "the session token is made for a longer time than this server allows",
	kbsig.NISTSigCannotVerify: "the session token is not signed by the device that it names",
}

// Login challenges. A challenge is random, expiry and a MAC over both and the
// account's salt, so that nothing is stored for somebody who only asks, and the
// challenge of one account does not serve for another.

// Challenge is what getsalt hands out: the salt of the passphrase stream, and a
// challenge to be signed.
type Challenge struct {
	Salt    [16]byte
	Session string // base64
}

// Challenge answers getsalt for an account, or nil for nobody: the answer for
// nobody looks like any other and is the same each time.
func (a *Auth) Challenge(acct *accounts.Account, asked string) (Challenge, error) {
	c := Challenge{}
	if acct != nil {
		c.Salt = acct.Salt
	} else {
		copy(c.Salt[:], a.mac("salt of nobody", []byte(asked)))
	}
	b := make([]byte, 16, 24+sha256.Size)
	if _, err := io.ReadFull(a.rand, b); err != nil {
		return c, err
	}
	b = binary.BigEndian.AppendUint64(b, uint64(a.clock().Add(loginSessionLifetime).Unix()))
	b = append(b, a.mac("login challenge", append(b[:24:24], c.Salt[:]...))...)
	c.Session = base64.StdEncoding.EncodeToString(b)
	return c, nil
}

// CheckChallenge reports whether session is an unexpired challenge for acct.
func (a *Auth) CheckChallenge(acct *accounts.Account, session string) bool {
	b, err := base64.StdEncoding.DecodeString(session)
	if err != nil || len(b) != 24+sha256.Size {
		return false
	}
	want := a.mac("login challenge", append(b[:24:24], acct.Salt[:]...))
	expires := int64(binary.BigEndian.Uint64(b[16:24]))
	return hmac.Equal(want, b[24:]) && a.clock().Unix() < expires
}

// MAC authenticates bytes that the server hands out and reads again, each purpose apart
// from all others.
func (a *Auth) MAC(purpose string, b []byte) []byte { return a.mac("handed out for "+purpose, b) }

func (a *Auth) mac(purpose string, b []byte) []byte {
	h := hmac.New(sha256.New, a.secret)
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write(b)
	return h.Sum(nil)
}

// proofTolerance is how far a client's clock may be off when it signs a login proof;
// clients make proofs good for a day for this reason.
// client: go/libkb/pdpka.go:computePDPKA
const proofTolerance = 24 * time.Hour

// ErrWrongPassword says that a login proof is not one for this account.
var ErrWrongPassword = errors.New("wrong password")

// CheckLogin verifies both proofs that a password stands behind: pdpka4, by the key
// whose seed is the password hash, and pdpka5, by the key that the account named at
// sign-up. Both must answer a challenge that was made for this account.
func (a *Auth) CheckLogin(acct *accounts.Account, pdpka4, pdpka5 string) error {
	for _, p := range []struct {
		proof string
		kid   kbsig.KID
	}{{pdpka5, acct.PDPKA5}, {pdpka4, acct.PDPKA4}} {
		proof, err := kbsig.OpenLoginProof(p.proof, a.clock(), proofTolerance)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrWrongPassword, err)
		}
		if proof.KID != p.kid {
			return fmt.Errorf("%w: signed by another key", ErrWrongPassword)
		}
		if !a.names(acct, proof) {
			return fmt.Errorf("%w: names another account", ErrWrongPassword)
		}
		if !a.CheckChallenge(acct, proof.Session) {
			return fmt.Errorf("%w: not an answer to a challenge of this account", ErrWrongPassword)
		}
	}
	return nil
}

// names reports whether a proof names the account, in one of the three ways.
func (a *Auth) names(acct *accounts.Account, p *kbsig.LoginProof) bool {
	switch {
	case p.Username != "":
		n, err := kbsig.ParseUsername(p.Username)
		return err == nil && n == acct.Name
	case p.UID != "":
		return p.UID == acct.UID.String()
	case p.Email != "":
		v := a.store.View()
		defer v.Close()
		other, err := accounts.ByAddress(v, p.Email)
		return err == nil && other.UID == acct.UID
	}
	return false
}

// AuthenticateNIST is NIST as the RPC door wants it: whatever is wrong with the
// token itself is a BadSession, upon which a client makes a new one.
// client: go/service/gregor.go:gregorHandler.auth
func (a *Auth) AuthenticateNIST(ctx context.Context, token string) (kbsig.UID, kbsig.Username, kbsig.DeviceID, string, error) {
	p, err := a.NIST(ctx, token)
	if err != nil {
		var se *status.Error
		if errors.Is(err, kbsig.ErrNotNIST) || (errors.As(err, &se) && se.Code != status.BadSession) {
			err = badSession(err.Error())
		}
		return kbsig.UID{}, "", kbsig.DeviceID{}, "", err
	}
	// The session id is opaque to clients; they store it and send it nowhere.
	sid := fmt.Sprintf("%x", a.mac("rpc session", append(p.UID[:], p.DeviceID[:]...))[:16])
	return p.UID, p.Name, p.DeviceID, sid, nil
}
