package joining

import (
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// Types of invites that the server treats in a way of its own.
// client: go/teams/teams.go:TeamInviteTypeFromString
const (
	typeKeybase = "keybase"
	typeEmail   = "email"
	typePhone   = "phone"
	typeSecret  = "seitan_invite_token"
	typeLink    = "invitelink"
)

// peopleBody asks to complete invites of people whom the server can name.
// client: go/protocol/keybase1/teams.go:TeamSBSMsg
type peopleBody struct {
	TeamID   string    `json:"team_id"`
	Score    int       `json:"score"`
	Invitees []invitee `json:"invitees"`
}

// WithScore implements chores.Scored.
func (b peopleBody) WithScore(n int) any { b.Score = n; return b }

type invitee struct {
	InviteID string         `json:"invite_id"`
	UID      string         `json:"uid"`
	Eldest   kbsig.Seqno    `json:"eldest_seqno"`
	Role     teamchain.Role `json:"role"`
}

// answersBody asks to check answers to secret invites.
// client: go/protocol/keybase1/teams.go:TeamSeitanMsg
type answersBody struct {
	TeamID  string   `json:"team_id"`
	Answers []answer `json:"seitans"`
}

type answer struct {
	invitee
	AKey  string `json:"akey"`
	Ctime int64  `json:"ctime"`
}

// peopleToAdd is the Source of chores.People.
func (s *Service) peopleToAdd(r store.Reader, st *teamchain.State, _ *chores.Chore) (any, time.Time, error) {
	body := peopleBody{TeamID: st.ID().String()}
	err := eachOffer(r, st, Named, func(i invitee, _ Acceptance) error {
		body.Invitees = append(body.Invitees, i)
		if len(body.Invitees) >= offeredMax {
			return store.ErrStop
		}
		return nil
	})
	if err != nil || len(body.Invitees) == 0 {
		return nil, time.Time{}, err
	}
	return body, time.Time{}, nil
}

// answersToCheck is the Source of chores.Tokens. An answer from a clock that goes fast is
// kept until its time: clients do not take it before.
func (s *Service) answersToCheck(r store.Reader, st *teamchain.State, _ *chores.Chore) (any, time.Time, error) {
	body := answersBody{TeamID: st.ID().String()}
	var later time.Time
	now := s.o.Store.Now()
	err := eachOffer(r, st, Secret, func(i invitee, a Acceptance) error {
		if at := time.UnixMilli(a.CtimeMs).Add(time.Second); a.CtimeMs > now.UnixMilli() {
			if later.IsZero() || at.Before(later) {
				later = at
			}
			return nil
		}
		body.Answers = append(body.Answers, answer{i, a.AKey, a.Ctime})
		if len(body.Answers) >= offeredMax {
			return store.ErrStop
		}
		return nil
	})
	if err != nil || len(body.Answers) == 0 {
		return nil, later, err
	}
	return body, time.Time{}, nil
}

// eachOffer calls fn for those acceptances of a kind that can be completed now.
func eachOffer(r store.Reader, st *teamchain.State, kind Kind, fn func(invitee, Acceptance) error) error {
	return Acceptances(r, st.ID(), func(u kbsig.UID, id kbsig.InviteID, a Acceptance) error {
		if a.Kind != kind {
			return nil
		}
		invite, err := activeInvite(st, id)
		if err != nil || invite == nil {
			return err
		}
		eldest, keyed, err := present(r, u)
		if err != nil || !keyed {
			return err
		}
		if kind == Secret && a.Eldest != eldest && a.Eldest != 0 {
			return nil // the answer is bound to an incarnation that is no more
		}
		return fn(invitee{id.String(), u.String(), eldest, invite.Role}, a)
	})
}

// activeInvite finds an invite that can be completed now; nil if there is none.
func activeInvite(st *teamchain.State, id kbsig.InviteID) (*teamchain.Invite, error) {
	i, ok, err := st.Invite(id)
	if err != nil || !ok || !i.Good() {
		return nil, err
	}
	return &i.Invite, nil
}
