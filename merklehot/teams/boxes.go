package teams

import (
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// recipients are the users who must get a box, and the incarnation of each.
type recipients map[kbsig.UID]kbsig.Seqno

// add takes a user version in unless it is a past one: nobody can open its box.
// client: go/teams/member_set.go:memberSet.loadGroup
func (b *batch) add(tx *store.Tx, to recipients, uv kbsig.UserVersion) error {
	now, err := b.current(tx, uv)
	if err != nil || !now {
		return err
	}
	st, err := b.user(tx, uv.UID)
	if err != nil {
		return err
	}
	if _, ok := st.LatestPUK(); ok {
		to[uv.UID] = uv.Eldest
	}
	return nil
}

// everybody are those who must have a new key of a team: its members, but for
// restricted bots, and the admins of the teams above.
// client: go/teams/teams.go:Team.rotateBoxes
func (b *batch) everybody(tx *store.Tx, t kbsig.TeamID, st *teamchain.State) (recipients, error) {
	to := make(recipients)
	err := st.Members(func(uv kbsig.UserVersion, r teamchain.Role) error {
		if !keyed(r) {
			return nil
		}
		return b.add(tx, to, uv)
	})
	if err != nil {
		return nil, fmt.Errorf("members of team %s: %w", t, err)
	}
	for parent, ok := st.Parent(); ok; {
		above, err := b.team(tx, parent)
		if err != nil {
			return nil, err
		}
		if err := b.admins(tx, to, above); err != nil {
			return nil, err
		}
		parent, ok = above.Parent()
	}
	return to, nil
}

func (b *batch) admins(tx *store.Tx, to recipients, st *teamchain.State) error {
	return st.Members(func(uv kbsig.UserVersion, r teamchain.Role) error {
		if !r.AtLeast(teamchain.RoleAdmin) {
			return nil
		}
		return b.add(tx, to, uv)
	})
}

// newcomers are those to whom the batch gives a key that they did not have.
// client: go/teams/member_set.go:memberSet.removeExistingMembers
func (b *batch) newcomers(tx *store.Tx, t kbsig.TeamID) (recipients, error) {
	to := make(recipients)
	for _, c := range b.allChanges(t) {
		if keyed(c.after) && !keyed(c.before) {
			if err := b.add(tx, to, c.uv); err != nil {
				return nil, err
			}
		}
	}
	return to, nil
}

// team is a team's state after the batch.
func (b *batch) team(r store.Reader, t kbsig.TeamID) (*teamchain.State, error) {
	if st := b.after[t]; st != nil {
		return st, nil
	}
	return Load(r, t)
}

// keyedTeam is the team that a post's boxes are about, and whether it has a new key: at
// most one team of a batch can want boxes. ok is false if none does.
func (b *batch) keyedTeam(tx *store.Tx) (t kbsig.TeamID, rotated, ok bool, err error) {
	for _, id := range b.teams() {
		wants := false
		if b.after[id].Deleted() {
			continue
		}
		if b.before[id] == nil || b.before[id].PTK().Generation != b.after[id].PTK().Generation {
			wants, rotated = true, true
		} else {
			to, err := b.newcomers(tx, id)
			if err != nil {
				return t, false, false, err
			}
			wants = len(to) > 0
		}
		if !wants {
			continue
		}
		if ok {
			return t, false, false, teamchain.Refuse(teamchain.KindBatch, "the keys of two teams in one request")
		}
		t, ok = id, true
	}
	return t, rotated, ok, nil
}

// putKeys checks that the boxes of a post reach exactly those who must have them, and
// stores them.
func (b *batch) putKeys(tx *store.Tx, p *Post, s *Service) error {
	t, rotated, ok, err := b.keyedTeam(tx)
	if err != nil {
		return err
	}
	if !ok {
		if p.Keys != nil {
			// The client may know an older state than ours.
			return teamchain.Refuse(teamchain.KindGeneration, "boxes for nobody who needs them")
		}
		return b.checkSummaries(nil, kbsig.TeamID{})
	}
	st := b.after[t]
	var to recipients
	if rotated {
		to, err = b.everybody(tx, t, st)
	} else {
		to, err = b.newcomers(tx, t)
	}
	if err != nil {
		return err
	}
	want, err := newestGeneration(tx, t, st)
	if err != nil {
		return err
	}
	first := b.before[t] == nil
	if err := b.checkBoxes(tx, t, p.Keys, to, to, want, rotated && !first); err != nil {
		return err
	}
	if err := b.checkSummaries(p.Keys, t); err != nil {
		return err
	}
	if p.Keys == nil {
		return nil
	}
	keyboxes.PutTeamBoxes(tx, t, p.Keys, func(u kbsig.UID) kbsig.Seqno { return to[u] })
	if rotated {
		return keyboxes.NewTeamMasks(tx, t, want, s.rand)
	}
	return nil
}

// checkBoxes: boxes for all of must, for nobody outside of may, for per-user keys that
// are the newest. What another request or a user's own doing may have changed since the
// client looked is refused so that it looks again.
func (b *batch) checkBoxes(
	tx *store.Tx, t kbsig.TeamID, boxes *kbsig.TeamBoxes, must, may recipients, generation int64, prev bool,
) error {
	if boxes == nil {
		if len(must) == 0 {
			return nil
		}
		return teamchain.Refuse(teamchain.KindGeneration, "no boxes of the key of team %s for %d users", t, len(must))
	}
	switch {
	case boxes.Generation != generation:
		return teamchain.Refuse(teamchain.KindGeneration, "boxes for generation %d of team %s, not %d", boxes.Generation, t, generation)
	case (boxes.Prev != "") != prev:
		return teamchain.Refuse(teamchain.KindBoxes, "the key of team %s before generation %d: %v", t, generation, prev)
	}
	if err := b.checkSender(tx, boxes.Sender); err != nil {
		return err
	}
	missing := len(must)
	for _, box := range boxes.Boxes {
		if _, ok := may[box.User]; !ok {
			return teamchain.Refuse(teamchain.KindGeneration, "a box of the key of team %s for %s, who gets none", t, box.User)
		}
		if _, ok := must[box.User]; ok {
			missing--
		}
		st, err := b.user(tx, box.User)
		if err != nil {
			return err
		}
		if puk, _ := st.LatestPUK(); puk.AddedAt != box.PUKSeqno {
			return teamchain.Refuse(teamchain.KindGeneration, "a box for link %d of %s, whose newest per-user key stands in %d", box.PUKSeqno, box.User, puk.AddedAt)
		}
	}
	if missing != 0 {
		return teamchain.Refuse(teamchain.KindGeneration, "%d users without a box of the key of team %s", missing, t)
	}
	return nil
}

// checkSender: boxes are sealed by a device of their author.
func (b *batch) checkSender(tx *store.Tx, k kbsig.KID) error {
	st, err := b.user(tx, b.by.UID)
	if err != nil {
		return err
	}
	if key, ok := st.Key(k); !ok || !st.KeyActive(key) || !k.IsEncryption() {
		return teamchain.Refuse(teamchain.KindBoxes, "sealed by %s, which is no device of their author", k)
	}
	return nil
}

// checkSummaries: what links say of the boxes beside them is so.
// client: go/teams/teams.go:addSummaryHash, go/teams/box_audit.go
func (b *batch) checkSummaries(boxes *kbsig.TeamBoxes, t kbsig.TeamID) error {
	for _, l := range b.links {
		if l.BoxSummary == nil {
			continue
		}
		if boxes == nil || l.Team != t || *l.BoxSummary != boxes.Summary {
			return teamchain.Refuse(teamchain.KindBoxes, "link %d of team %s speaks of other boxes", l.Seqno, l.Team)
		}
	}
	return nil
}

// putImplicitKeys: who becomes an admin gets the keys of all teams below.
// client: go/teams/teams.go:Team.recipientBoxes
func (b *batch) putImplicitKeys(tx *store.Tx, p *Post) error {
	used := 0
	for _, t := range b.teams() {
		if b.before[t] == nil || b.after[t].Deleted() {
			continue
		}
		must, may := make(recipients), make(recipients)
		for _, c := range b.allChanges(t) {
			if !c.after.AtLeast(teamchain.RoleAdmin) {
				continue
			}
			if err := b.add(tx, may, c.uv); err != nil {
				return err
			}
			if !c.before.AtLeast(teamchain.RoleAdmin) {
				if err := b.add(tx, must, c.uv); err != nil {
					return err
				}
			}
		}
		if len(may) == 0 {
			continue
		}
		err := Descendants(tx, t, func(d kbsig.TeamID) error {
			boxes := p.ImplicitKeys[d]
			if boxes != nil {
				used++
			}
			st, err := b.team(tx, d)
			if err != nil {
				return err
			}
			generation, err := newestGeneration(tx, d, st)
			if err != nil {
				return err
			}
			if err := b.checkBoxes(tx, d, boxes, must, may, generation, false); err != nil || boxes == nil {
				return err
			}
			keyboxes.PutTeamBoxes(tx, d, boxes, func(u kbsig.UID) kbsig.Seqno { return may[u] })
			return nil
		})
		if err != nil {
			return err
		}
	}
	if used != len(p.ImplicitKeys) {
		return teamchain.Refuse(teamchain.KindGeneration, "boxes of the keys of teams whose admins do not change")
	}
	return nil
}

// dropBoxes forgets the boxes of those who have lost the key, and of the teams below
// those which somebody had as an admin.
func (b *batch) dropBoxes(tx *store.Tx) error {
	for _, t := range b.teams() {
		for _, c := range b.allChanges(t) {
			drop := func(t kbsig.TeamID) error { return dropBox(tx, t, c.uv.UID) }
			if keyed(c.before) && !keyed(c.after) {
				if err := drop(t); err != nil {
					return err
				}
			}
			if c.before.AtLeast(teamchain.RoleAdmin) && !c.after.AtLeast(teamchain.RoleAdmin) {
				if err := Descendants(tx, t, drop); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// dropBox forgets a user's box unless a role is left that comes with the key.
func dropBox(tx *store.Tx, t kbsig.TeamID, u kbsig.UID) error {
	m, err := StandingOf(tx, t, u)
	if err == nil && m.Implicit == teamchain.RoleNone && !keyed(m.Role) {
		keyboxes.DropTeamBox(tx, t, u)
	}
	return err
}
