// Package teamkeys takes the short-lived keys of teams, and the keys that members make
// for restricted bots: it decides whether a statement and its boxes may be stored, and
// tells those concerned.
//
// It promises:
//   - A team's ephemeral key is signed by the team's newest key and is the generation
//     after the last; its boxes go to members who may have the team's key, for their
//     newest ephemeral keys, and to nobody else.
//   - A bot's key is for a restricted bot of the team, made by a member who has the
//     team's keys, and signed by the team's newest key.
//   - A refusal that a race can cause, and another try can mend, has a code on which
//     clients try again.
//
// Boxes are opaque. It writes through merklehot/keyboxes.
// client: go/ephemeral/team_ek.go, go/ephemeral/teambot_ek.go, go/teambot/member_keyer.go
package teamkeys

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// needLasts is how long members are asked for a bot's key.
const needLasts = 24 * time.Hour

// Refusals. client: go/libkb/errors.go:IsEphemeralRetryableError
var (
	errGeneration = status.New(status.EKBadGeneration, "EPHEMERAL_KEY_BAD_GENERATION", "wrong generation of an ephemeral key, or one signed by an old key of the team")
	errBox        = status.New(status.EKUnknownDevice, "EPHEMERAL_KEY_UNEXPECTED_BOX", "a box for somebody who cannot have the key")
	errBotExists  = status.New(status.TeambotKeyExists, "TEAMBOT_KEY_GENERATION_EXISTS", "the bot has this key already")
	errBotSealed  = status.New(status.TeambotKeyOldBoxed, "TEAMBOT_KEY_OLD_BOXED_GENERATION", "the bot has a newer key to encrypt to")
	errBotSigner  = status.New(status.TeambotKeyBadGeneration, "TEAMBOT_KEY_BAD_GENERATION", "wrong generation of a bot's key, or one signed by an old key of the team")
	// ErrClosed refuses whoever has no right to the keys.
	ErrClosed = status.New(status.TeamReadError, "TEAM_READ_ERROR", "You are not a member of this team")
)

// signingKey is the newest key of a team, in either chain, and its generation.
func signingKey(r store.Reader, t kbsig.TeamID) (kbsig.KID, int64, error) {
	st, err := teams.Load(r, t)
	if err != nil {
		return kbsig.KID{}, 0, err
	}
	h, err := hidden.Load(r, t)
	if err != nil {
		return kbsig.KID{}, 0, err
	}
	if p := h.PTK(); p.Generation > st.PTK().Generation {
		return p.Signing, p.Generation, nil
	}
	return st.PTK().Signing, st.PTK().Generation, nil
}

// Posted takes the ephemeral keys that come with links: see teams.Service.OnPost.
func Posted(tx *store.Tx, f teams.PostFact) error {
	if p := f.Post.TeamEK; p != nil {
		ek, err := kbsig.OpenTeamEK(p.Sig)
		if err != nil {
			return status.InputField("team_ek", "not an ephemeral key statement")
		}
		if err := PutTeamEK(tx, p.Team, f.By.UID, ek, p.Boxes); err != nil {
			return err
		}
	}
	if p := f.Post.TeamEKRebox; p != nil {
		return rebox(tx, p.Team, p.Boxes)
	}
	return nil
}

// PutTeamEK stores the next ephemeral key of a team, made by one of its members. Sent
// again it succeeds without a change.
func PutTeamEK(tx *store.Tx, t kbsig.TeamID, by kbsig.UID, ek *kbsig.EphemeralKey, boxes []teams.TeamEKBox) error {
	if err := mayKey(tx, t, by); err != nil {
		return err
	}
	if newest, err := keyboxes.NewestTeamEK(tx, t); err != nil || newest != nil && newest.Sig == ek.Statement {
		return err
	}
	signer, _, err := signingKey(tx, t)
	if err != nil {
		return err
	}
	if ek.Signer != signer {
		return errGeneration
	}
	if err := identity.CheckEKRoot(tx, ek); err != nil {
		return err
	}
	st, err := teams.Load(tx, t)
	if err != nil {
		return err
	}
	tail, _, _ := st.Tail()
	err = keyboxes.PutTeamEK(tx, t, keyboxes.TeamEK{Generation: ek.Generation, Sig: ek.Statement, Link: tail})
	if errors.Is(err, keyboxes.ErrBadGeneration) {
		return errGeneration
	}
	if err != nil {
		return err
	}
	if err := putBoxes(tx, t, ek.Generation, boxes); err != nil {
		return err
	}
	to, err := keyed(tx, t)
	if err != nil {
		return err
	}
	return tell(tx, to, "ephemeral.new_team_ek", 0, struct {
		ID         string `json:"id"`
		Generation int64  `json:"generation"`
	}{t.String(), ek.Generation})
}

// rebox adds boxes of the newest generation, for members who have just come.
func rebox(tx *store.Tx, t kbsig.TeamID, boxes []teams.TeamEKBox) error {
	newest, err := keyboxes.NewestTeamEK(tx, t)
	if err != nil {
		return err
	}
	if newest == nil {
		return errGeneration
	}
	return putBoxes(tx, t, newest.Generation, boxes)
}

func putBoxes(tx *store.Tx, t kbsig.TeamID, generation int64, boxes []teams.TeamEKBox) error {
	seen := make(map[kbsig.UID]bool, len(boxes))
	for _, b := range boxes {
		a, err := teams.AccessOf(tx, t, b.User, kbsig.TeamID{})
		if err != nil {
			return err
		}
		if !a.Masks() || seen[b.User] {
			return errBox
		}
		seen[b.User] = true
		newest, err := keyboxes.NewestUserEK(tx, b.User)
		if err != nil {
			return err
		}
		if newest == nil || int64(newest.Generation) != b.Generation {
			return errGeneration
		}
		keyboxes.PutTeamEKBox(tx, t, generation, b.User, keyboxes.TeamEKBox{Box: b.Box, Generation: b.Generation, Eldest: a.UV.Eldest})
	}
	return nil
}

// mayKey: only who has the team's keys makes others from them.
func mayKey(r store.Reader, t kbsig.TeamID, u kbsig.UID) error {
	a, err := teams.AccessOf(r, t, u, kbsig.TeamID{})
	if err != nil {
		return err
	}
	if !a.Masks() {
		return ErrClosed
	}
	return nil
}

// keyed are the members who have the keys of a team.
func keyed(r store.Reader, t kbsig.TeamID) (out []kbsig.UID, err error) {
	st, err := teams.Load(r, t)
	if err != nil {
		return nil, err
	}
	err = st.Members(func(uv kbsig.UserVersion, role teamchain.Role) error {
		if role.AtLeast(teamchain.RoleBot) {
			out = append(out, uv.UID)
		}
		return nil
	})
	return out, err
}

// MemberEKs calls fn for the members who may get a box of the team's next ephemeral key,
// with their own newest ephemeral key. client: go/ephemeral/team_ek.go:fetchTeamMemberStatements
func MemberEKs(r store.Reader, t kbsig.TeamID, fn func(u kbsig.UID, sig string)) error {
	st, err := teams.Load(r, t)
	if err != nil {
		return err
	}
	return st.Members(func(uv kbsig.UserVersion, role teamchain.Role) error {
		if !role.AtLeast(teamchain.RoleBot) {
			return nil
		}
		eldest, err := identity.EldestSeqno(r, uv.UID)
		if err != nil || eldest != uv.Eldest {
			return err
		}
		ek, err := keyboxes.NewestUserEK(r, uv.UID)
		if err == nil && ek != nil {
			fn(uv.UID, ek.Sig)
		}
		return err
	})
}

// JoinedAfter reports whether a member came by a later link of the team's chain than one.
func JoinedAfter(r store.Reader, t kbsig.TeamID, uv kbsig.UserVersion, link kbsig.Seqno) (bool, error) {
	st, err := teams.Load(r, t)
	if err != nil {
		return false, err
	}
	points, err := st.RoleLog(uv)
	since := kbsig.Seqno(0)
	for i, p := range points {
		if p.Role.AtLeast(teamchain.RoleBot) && (i == 0 || !points[i-1].Role.AtLeast(teamchain.RoleBot)) {
			since = p.Seqno
		}
	}
	return since > link, err
}

// PutBotKey stores a key that a member made for a restricted bot.
func PutBotKey(tx *store.Tx, t kbsig.TeamID, by kbsig.UID, k *kbsig.BotKey, box string, ephemeral bool) error {
	if err := mayKey(tx, t, by); err != nil {
		return err
	}
	bot, err := teams.AccessOf(tx, t, k.Bot, kbsig.TeamID{})
	if err != nil {
		return err
	}
	if bot.Role != teamchain.RoleRestrictedBot {
		return status.InputField("sig", "the key is for somebody who is no restricted bot of this team")
	}
	signer, newest, err := signingKey(tx, t)
	if err != nil {
		return err
	}
	if k.Signer != signer {
		return errBotSigner
	}
	sealed, err := sealedTo(tx, k.Bot, ephemeral)
	if err != nil {
		return err
	}
	if k.Sealed != sealed {
		return errBotSealed
	}
	if ephemeral {
		ek, err := keyboxes.NewestTeamEK(tx, t)
		if err != nil {
			return err
		}
		if newest = 0; ek != nil {
			newest = ek.Generation
		}
	}
	if k.Generation > newest {
		return errBotSigner
	}
	id := keyboxes.BotKeyID{Team: t, Bot: k.Bot, Eldest: bot.UV.Eldest, Application: k.Application, Ephemeral: ephemeral}
	old, err := keyboxes.GetBotKey(tx, id, k.Generation)
	if err != nil {
		return err
	}
	// Also if it is signed by an old key of the team, or sealed to an old one of the bot:
	// what it opens was for who had it then. client: go/systests/ephemeral_test.go:TestEphemeralTeambotEK
	if old != nil {
		return errBotExists
	}
	keyboxes.PutBotKey(tx, id, keyboxes.BotKey{Generation: k.Generation, Sig: k.Statement, Box: box, Signer: k.Signer, Sealed: k.Sealed})
	if ephemeral {
		return tell(tx, []kbsig.UID{k.Bot}, "ephemeral.new_teambot_key", 0, botNews{ID: t.String(), Generation: k.Generation})
	}
	return tell(tx, []kbsig.UID{k.Bot}, "teambot.new_teambot_key", 0, botNews{ID: t.String(), Generation: k.Generation, Application: k.Application})
}

// sealedTo is the generation of a bot's own key that others encrypt to.
func sealedTo(r store.Reader, bot kbsig.UID, ephemeral bool) (int64, error) {
	if ephemeral {
		ek, err := keyboxes.NewestUserEK(r, bot)
		if err != nil || ek == nil {
			return 0, err
		}
		return int64(ek.Generation), nil
	}
	st, err := identity.Chain(r, bot)
	if err != nil {
		return 0, err
	}
	return st.PUKGeneration(), nil
}

// botNews is what is told of bots' keys.
// client: go/protocol/keybase1/notify_teambot.go:NewTeambotKeyArg, TeambotKeyNeededArg
type botNews struct {
	ID          string `json:"id"`
	UID         string `json:"uid,omitempty"`
	Generation  int64  `json:"generation"`
	Application int    `json:"application,omitempty"`
	// Force is the generation of the team's ephemeral key that is not good enough.
	Force int64 `json:"forceCreateGeneration,omitempty"`
}

// Need asks the members of a team for a key of a bot. Generation 0 is the newest. If the
// newest ephemeral one that the bot has is signed by an old key of the team, or sealed to
// an old key of the bot, members make a new one for the whole team: a bot's is derived
// from the team's. client: go/teambot/notify.go, go/ephemeral/handler.go:HandleTeambotEKNeeded
func Need(tx *store.Tx, id keyboxes.BotKeyID, generation int64) error {
	to, err := keyed(tx, id.Team)
	if err != nil {
		return err
	}
	news := botNews{ID: id.Team.String(), UID: id.Bot.String(), Generation: generation}
	if id.Ephemeral {
		if generation == 0 {
			if news.Force, err = outworn(tx, id); err != nil {
				return err
			}
		}
		return tell(tx, to, "ephemeral.teambot_key_needed", needLasts, news)
	}
	news.Application = id.Application
	return tell(tx, to, "teambot.teambot_key_needed", needLasts, news)
}

// outworn is the newest generation of a team's ephemeral key if the newest that a bot has
// of them is of no use to it; 0 if it is, or if the bot has none.
func outworn(r store.Reader, id keyboxes.BotKeyID) (int64, error) {
	has, err := keyboxes.NewestBotKey(r, id)
	if err != nil || has == nil {
		return 0, err
	}
	newest, err := keyboxes.NewestTeamEK(r, id.Team)
	if err != nil || newest == nil {
		return 0, err
	}
	signer, _, err := signingKey(r, id.Team)
	if err != nil {
		return 0, err
	}
	sealed, err := sealedTo(r, id.Bot, true)
	if err != nil || has.Signer == signer && has.Sealed == sealed {
		return 0, err
	}
	return newest.Generation, nil
}

func tell(tx *store.Tx, to []kbsig.UID, category string, lasts time.Duration, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("spell news %s: %w", category, err)
	}
	return events.AddMany(tx, to, events.News{Category: category, Body: b, Lasts: lasts})
}
