package joining

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// clockSlack is how far the clock of somebody who accepts may be from the server's.
const clockSlack = 24 * time.Hour

// Answer is a user's answer to a secret invite. The server cannot check it; admins'
// clients do.
type Answer struct {
	Invite kbsig.InviteID
	AKey   string // base64: a key made of the secret, or a signature with it
	Ctime  int64  // as the client stamped it
	// At is Ctime as a time.
	At time.Time
	// Link says that the invite is a link for many, else it is for one.
	Link bool
	// KeyNeeded refuses users without a per-user key, whom others let wait for one.
	KeyNeeded bool
}

// Accept keeps a user's answer to a secret invite until an admin's client has checked it.
// client: go/teams/seitan_invite_helper.go:ParseAndAcceptSeitanToken
func (s *Service) Accept(ctx context.Context, u kbsig.UID, a Answer) error {
	if b, err := base64.StdEncoding.DecodeString(a.AKey); err != nil || len(b) == 0 || len(a.AKey) > AKeyBytesMax {
		return ErrNoInvite
	}
	return s.update(ctx, func(tx *store.Tx) error {
		if d := a.At.Sub(tx.Now()); d > clockSlack || d < -clockSlack {
			return ErrNoInvite
		}
		t, st, invite, err := findInvite(tx, a.Invite, tx.Now())
		if err != nil {
			return err
		}
		if isLink := invite.Type == typeLink; isLink != a.Link || !isLink && invite.Type != typeSecret {
			return ErrNoInvite
		}
		return s.accept(tx, u, t, st, invite, Acceptance{
			Kind: Secret, AKey: a.AKey, Ctime: a.Ctime, CtimeMs: a.At.UnixMilli(),
		}, a.KeyNeeded)
	})
}

// accept keeps an acceptance of somebody who may come in.
func (s *Service) accept(tx *store.Tx, u kbsig.UID, t kbsig.TeamID, st *teamchain.State, invite *teamchain.Invite, a Acceptance, keyNeeded bool) error {
	eldest, keyed, err := present(tx, u)
	if err != nil {
		return err
	}
	role, err := st.RoleOf(kbsig.UserVersion{UID: u, Eldest: eldest})
	if err != nil {
		return err
	}
	if eldest != 0 && role != teamchain.RoleNone && (role.AtLeast(invite.Role) || st.Implicit()) {
		return ErrMember
	}
	o, err := OutsiderOf(tx, t, u)
	if err != nil {
		return err
	}
	switch {
	case o.Banned != 0:
		return ErrBanned
	case keyNeeded && !keyed:
		return ErrNeedsKey
	}
	if n, err := countAcceptances(tx, t); err != nil || n >= acceptancesMax {
		return errors.Join(err, ErrFull)
	}
	a.Eldest, a.At = eldest, tx.Now().UnixMilli()
	putAcceptance(tx, t, u, invite.ID, a)
	if !keyed {
		return nil // the key is waited for
	}
	if a.Kind == Secret {
		return chores.Want(tx, t, chores.Tokens)
	}
	return chores.Want(tx, t, chores.People)
}

func countAcceptances(r store.Reader, t kbsig.TeamID) (n int, err error) {
	err = Acceptances(r, t, func(kbsig.UID, kbsig.InviteID, Acceptance) error {
		if n++; n >= acceptancesMax {
			return store.ErrStop
		}
		return nil
	})
	return n, err
}

// findInvite loads an invite that can be accepted now, with its team.
func findInvite(r store.Reader, id kbsig.InviteID, now time.Time) (kbsig.TeamID, *teamchain.State, *teamchain.Invite, error) {
	var none kbsig.TeamID
	found, err := leads(r, byID(id))
	if err != nil {
		return none, nil, nil, err
	}
	for _, l := range found {
		st, err := teams.Load(r, l.Team)
		if err != nil && !errors.Is(err, teams.ErrNoTeam) {
			return none, nil, nil, err
		}
		if err != nil || st.Deleted() {
			continue
		}
		invite, err := activeInvite(st, l.Invite)
		if err != nil {
			return none, nil, nil, err
		}
		if invite != nil && (invite.Etime == 0 || now.Unix() < invite.Etime) {
			return l.Team, st, invite, nil
		}
	}
	return none, nil, nil, ErrNoInvite
}

// AcceptToken takes the secret of a mail for an answer to its invite.
// client: go/teams/service_helper.go:AcceptServerTrustInvite
func (s *Service) AcceptToken(ctx context.Context, u kbsig.UID, token string) error {
	token = strings.TrimSpace(token)
	if token == "" || len(token) > tokenBytesMax {
		return ErrNoInvite
	}
	return s.update(ctx, func(tx *store.Tx) error {
		found, err := leads(tx, byToken(token))
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return ErrNoInvite
		}
		l := found[0] // a secret is of one invite
		used, err := store.Load[tokenUse](tx, keys.InviteLead(byToken(token), l.Team, l.Invite))
		if err != nil {
			return err
		}
		if !used.By.IsZero() && used.By != u {
			return ErrUsed
		}
		st, err := teams.Load(tx, l.Team)
		if err != nil {
			return err
		}
		invite, err := activeInvite(st, l.Invite)
		if err != nil {
			return err
		}
		if st.Deleted() || invite == nil {
			return ErrNoInvite
		}
		if err := s.accept(tx, u, l.Team, st, invite, Acceptance{Kind: Named, Token: true}, false); err != nil {
			return err
		}
		used.By = u
		store.Save(tx, keys.InviteLead(byToken(token), l.Team, l.Invite), used)
		return nil
	})
}

// tokenUse is what became of the secret in a mail.
type tokenUse struct {
	By kbsig.UID `codec:"u"` // who accepted with it; zero: nobody yet
}

// writeTo tells somebody who is invited by address or number, and whom nobody is known to
// be, that there is the invite. What keeps a message from being written (the day's budget
// of the inviter, too much to one address, an address that is none) is no reason to refuse
// the link: whoever proves the address or number is let in without it.
func (s *Service) writeTo(tx *store.Tx, st *teamchain.State, invite *teamchain.Invite, from kbsig.UID, message string) error {
	mailed, texted := invite.Type == typeEmail && mail.AddressOK(invite.Name), invite.Type == typePhone
	if !mailed && !texted || s.o.Letter == nil || s.o.Text == nil {
		return nil
	}
	err := accounts.Spend(tx, from, accounts.TeamInvites, 1)
	if errors.Is(err, accounts.ErrBudget) {
		return nil
	}
	if err != nil {
		return err
	}
	acct, err := accounts.Get(tx, from)
	if err != nil {
		return err
	}
	name := ""
	if !st.Implicit() {
		full, err := teams.FullName(tx, st.ID())
		if err != nil {
			return err
		}
		name = full.String()
	}
	if texted {
		err = mail.SendText(tx, s.o.Text("+"+invite.Name, acct.Name, name))
	} else {
		err = s.mailInvite(tx, st, invite, acct.Name, name, message)
	}
	if errors.Is(err, mail.ErrTooMuch) || errors.Is(err, mail.ErrMalformed) {
		return nil
	}
	return err
}

// mailInvite makes the secret of an invite and writes it to the address. Beside the mail
// nothing but its hash is kept.
func (s *Service) mailInvite(tx *store.Tx, st *teamchain.State, invite *teamchain.Invite, from kbsig.Username, team, message string) error {
	var raw [15]byte
	if _, err := io.ReadFull(s.o.Rand, raw[:]); err != nil {
		return fmt.Errorf("make the token of an invite: %w", err)
	}
	token := base64.RawURLEncoding.EncodeToString(raw[:])
	what := byToken(token)
	store.Save(tx, keys.InviteLead(what, st.ID(), invite.ID), tokenUse{})
	at := keys.InviteLead(byID(invite.ID), st.ID(), invite.ID)
	made, err := store.Load[madeBy](tx, at)
	if err != nil {
		return err
	}
	made.Token = what[:]
	store.Save(tx, at, made)
	if s.o.TokenMade != nil {
		s.o.TokenMade(invite.Name, token)
	}
	if len(message) > inviteMessageMax {
		message = message[:inviteMessageMax]
	}
	return mail.Send(tx, s.o.Letter(invite.Name, from, team, token, message))
}

// Reject drops the answer to a secret invite that an admin's client found to be wrong. It
// must be the very answer: a later one stays.
// client: go/teams/handler.go:rejectInviteLinkAcceptances
func (s *Service) Reject(ctx context.Context, by kbsig.UID, invite kbsig.InviteID, uv kbsig.UserVersion, akey string) error {
	return s.update(ctx, func(tx *store.Tx) error {
		found, err := leads(tx, byID(invite))
		if err != nil {
			return err
		}
		for _, l := range found {
			standing, err := teams.StandingOf(tx, l.Team, by)
			if err != nil {
				return err
			}
			if !standing.Admin() {
				continue
			}
			a, known, err := loadOr[Acceptance](tx, keys.Acceptance(l.Team, uv.UID, invite))
			if err != nil {
				return err
			}
			switch {
			case !known || a.Kind != Secret || a.Eldest != uv.Eldest:
				return ErrNotAccepted
			case a.AKey != akey:
				return ErrOtherAnswer
			}
			if err := dropAcceptance(tx, l.Team, uv.UID, invite); err != nil {
				return err
			}
			return chores.Look(tx, l.Team)
		}
		return ErrNoInvite
	})
}
