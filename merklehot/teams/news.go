package teams

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// Categories of what is told of teams.
// client: go/service/team_handler.go:teamHandler.Create
const (
	newsChange  = "team.change"
	newsRename  = "team.rename"
	newsDelete  = "team.delete"
	newsExit    = "team.exit"
	newsAdded   = "team.newly_added_to_team"
	newsVersion = "team.user_team_version"
)

// changeRow is an element of newsChange, newsRename and newsDelete.
// client: go/protocol/keybase1/teams.go:TeamChangeRow
type changeRow struct {
	ID                string      `json:"id"`
	Name              string      `json:"name"`
	KeyRotated        bool        `json:"key_rotated"`
	MembershipChanged bool        `json:"membership_changed"`
	LatestSeqno       kbsig.Seqno `json:"latest_seqno"`
	LatestHidden      kbsig.Seqno `json:"latest_hidden_seqno"`
	LatestOffchain    int64       `json:"latest_offchain_version"`
	Implicit          bool        `json:"implicit_team"`
	Misc              bool        `json:"misc"`
	RemovedReset      bool        `json:"removed_reset_users"`
	OpBy              *opBy       `json:"op_by,omitempty"`
}

// opBy is who did it. client: go/badges/badgestate.go:newTeamBody
type opBy struct {
	UID      string `json:"uid"`
	Username string `json:"username"`
}

// addedRow is an element of newsAdded and newsExit.
// client: go/protocol/keybase1/teams.go:TeamNewlyAddedRow, TeamExitRow
type addedRow struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Implicit bool   `json:"implicit_team"`
}

// Change is what members are told of.
type Change struct {
	KeyRotated, MembershipChanged, RemovedReset bool
	// Misc is a change that stands in no chain; it raises the team's off-chain version.
	Misc bool
	// Settings is a change of who may join; clients fetch the same anew as after Misc.
	Settings bool
	// Again says that somebody has set what was so already: nothing has changed, but the
	// clients of who did it wait to hear of it, and fetch anew.
	Again bool
	// Also are told besides the members and the admins above.
	Also []kbsig.UID
}

// Changed tells the members of a team, and the admins above, that it has changed; to be
// called once in a transaction, after what changed has been written.
func Changed(tx *store.Tx, t kbsig.TeamID, c Change) error {
	st, err := Load(tx, t)
	if err != nil {
		return err
	}
	b := &batch{after: map[kbsig.TeamID]*teamchain.State{t: st}}
	return b.tellChange(tx, t, c)
}

// tellChange ends what was told before of the same team: the newest says it all.
func (b *batch) tellChange(tx *store.Tx, t kbsig.TeamID, c Change) error {
	f, err := FactsOf(tx, t)
	if err != nil {
		return err
	}
	f.Told++
	if !c.Again {
		f.Changed = tx.Now().UnixMilli()
	}
	if c.Misc {
		f.Offchain++
	}
	putFacts(tx, t, f)
	row, err := b.row(tx, t, f)
	if err != nil {
		return err
	}
	row.KeyRotated, row.MembershipChanged = c.KeyRotated, c.MembershipChanged
	row.Misc, row.RemovedReset = c.Misc || c.Settings || c.Again, c.RemovedReset
	to, err := b.audience(tx, t)
	if err != nil {
		return err
	}
	n := events.News{Category: newsChange, ID: changeID(t, f.Told), Ends: []events.ID{changeID(t, f.Told-1)}}
	return tellMany(tx, append(to, c.Also...), n, []changeRow{row})
}

func changeID(t kbsig.TeamID, n int64) events.ID {
	return events.IDOf(newsChange, t.String(), strconv.FormatInt(n, 10))
}

func (b *batch) row(tx *store.Tx, t kbsig.TeamID, f Facts) (row changeRow, err error) {
	name, err := FullName(tx, t)
	if err != nil {
		return row, err
	}
	st, err := b.team(tx, t)
	if err != nil {
		return row, err
	}
	n, _, _ := st.Tail()
	row = changeRow{ID: t.String(), Name: name.String(), LatestSeqno: n, LatestOffchain: f.Offchain, Implicit: f.Implicit}
	h, err := hidden.Load(tx, t)
	if err != nil {
		return row, err
	}
	row.LatestHidden = h.Tail().Seqno
	return row, nil
}

// audience are the members of a team and the admins above.
func (b *batch) audience(tx *store.Tx, t kbsig.TeamID) ([]kbsig.UID, error) {
	st, err := b.team(tx, t)
	if err != nil {
		return nil, err
	}
	var to []kbsig.UID
	err = st.Members(func(uv kbsig.UserVersion, _ teamchain.Role) error {
		to = append(to, uv.UID)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("members of team %s: %w", t, err)
	}
	whole := &batch{after: map[kbsig.TeamID]*teamchain.State{t: st}}
	for id, st := range b.after {
		whole.after[id] = st
	}
	err = whole.aboveAdmins(tx, t, func(u kbsig.UID) { to = append(to, u) })
	return to, err
}

// tell puts into the outbox what a post means to others.
func (b *batch) tell(tx *store.Tx) error {
	for _, t := range b.teams() {
		var err error
		if b.after[t].Deleted() {
			err = b.tellDeleted(tx, t)
		} else {
			err = b.tellTeam(tx, t)
		}
		if err != nil {
			return fmt.Errorf("tell of team %s: %w", t, err)
		}
	}
	return nil
}

func (b *batch) tellTeam(tx *store.Tx, t kbsig.TeamID) error {
	before, after := b.before[t], b.after[t]
	name, err := FullName(tx, t)
	if err != nil {
		return err
	}
	// The author waits for this as well.
	c := Change{Also: []kbsig.UID{b.by.UID}}
	// A new team's first key counts as well.
	c.KeyRotated = before == nil || before.PTK().Generation != after.PTK().Generation
	var added, gone []kbsig.UID
	changes := b.allChanges(t)
	now, err := b.standings(t, changes)
	if err != nil {
		return err
	}
	for _, ch := range changes {
		if ch.before == ch.after {
			continue
		}
		c.MembershipChanged = true
		_, stays := now[ch.uv.UID]
		switch {
		case ch.before == teamchain.RoleNone:
			added = append(added, ch.uv.UID)
		case ch.after == teamchain.RoleNone && !stays:
			gone = append(gone, ch.uv.UID)
			if now, err := b.current(tx, ch.uv); err != nil {
				return err
			} else if !now {
				c.RemovedReset = true
			}
		}
	}
	if before == nil {
		c.MembershipChanged = true
	} else {
		was, wasOpen := before.Open()
		is, isOpen := after.Open()
		c.Settings = was != is || wasOpen != isOpen
	}
	if err := b.tellChange(tx, t, c); err != nil {
		return err
	}
	row := []addedRow{{t.String(), name.String(), after.Implicit()}}
	if err := tellMany(tx, added, events.News{Category: newsAdded}, row); err != nil {
		return err
	}
	exit := []struct {
		ID string `json:"id"`
	}{{t.String()}}
	if err := tellMany(tx, gone, events.News{Category: newsExit}, exit); err != nil {
		return err
	}
	if before != nil && before.Name().String() != after.Name().String() {
		return b.tellRenamed(tx, t)
	}
	return nil
}

// tellRenamed: the names of all teams below change, too.
func (b *batch) tellRenamed(tx *store.Tx, t kbsig.TeamID) error {
	one := func(id kbsig.TeamID) error {
		f, err := FactsOf(tx, id)
		if err != nil {
			return err
		}
		row, err := b.row(tx, id, f)
		if err != nil {
			return err
		}
		to, err := b.audience(tx, id)
		if err != nil {
			return err
		}
		return tellMany(tx, to, events.News{Category: newsRename}, []changeRow{row})
	}
	if err := one(t); err != nil {
		return err
	}
	return Descendants(tx, t, one)
}

func (b *batch) tellDeleted(tx *store.Tx, t kbsig.TeamID) error {
	f, err := FactsOf(tx, t)
	if err != nil {
		return err
	}
	row, err := b.row(tx, t, f)
	if err != nil {
		return err
	}
	acct, err := accounts.Get(tx, b.by.UID)
	if err != nil {
		return err
	}
	row.OpBy = &opBy{b.by.UID.String(), string(acct.Name)}
	to, err := b.audience(tx, t)
	if err != nil {
		return err
	}
	return tellMany(tx, to, events.News{Category: newsDelete}, []changeRow{row})
}

// bumpRoleMaps counts a change of what these users are in teams, and tells them.
func bumpRoleMaps(tx *store.Tx, users map[kbsig.UID]bool) error {
	byVersion := make(map[int64][]kbsig.UID)
	for _, u := range slices.SortedFunc(maps.Keys(users), func(a, b kbsig.UID) int { return bytes.Compare(a[:], b[:]) }) {
		n, err := RoleMapVersion(tx, u)
		if err != nil {
			return err
		}
		store.Save(tx, keys.RoleMap(u), n+1)
		byVersion[n+1] = append(byVersion[n+1], u)
	}
	for _, n := range slices.Sorted(maps.Keys(byVersion)) {
		body := struct {
			Version int64 `json:"version"`
		}{n}
		if err := tellMany(tx, byVersion[n], events.News{Category: newsVersion, Replace: true}, body); err != nil {
			return err
		}
	}
	return nil
}

func tellMany(tx *store.Tx, to []kbsig.UID, n events.News, body any) error {
	if len(to) == 0 {
		return nil
	}
	v, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("spell news %s: %w", n.Category, err)
	}
	n.Body = v
	return events.AddMany(tx, to, n)
}
