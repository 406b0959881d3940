package teamkeys_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/stage"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teamkeys"
	"github.com/keystead/keystead/merklehot/teams"
)

// retried are the codes on which clients look again and try once more.
// client: go/libkb/errors.go:IsEphemeralRetryableError
var retried = []int{status.EKBadGeneration, status.EKUnknownDevice, status.TeambotKeyBadGeneration, status.TeambotKeyOldBoxed}

func code(err error) int {
	var e *status.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// TestBoxesAreForKeyedMembersOnly proves, of random teams and boxes, that an ephemeral key
// is taken just if each box is of somebody different who has the team's key, for the newest
// ephemeral key of theirs; that all these have their boxes then, and nobody else; and that
// MemberEKs names nobody whose box would be refused, with the key that it would be for.
func TestBoxesAreForKeyedMembersOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.Byte().Draw(t, "seed"))
		alice := w.Person("alice")
		team, d := alice.Create("acme")
		w.Must(d.Send())
		keyed := map[kbsig.UID]int64{} // the members' newest ephemeral keys; 0: none
		all := []*stage.Person{alice}
		var members []stage.Member
		for i, role := range rapid.SliceOfN(rapid.IntRange(0, 6), 1, 3).Draw(t, "roles") {
			p := w.Person(fmt.Sprintf("person%d", i))
			all = append(all, p)
			if r := teamchain.Role(role); r != teamchain.RoleNone {
				members = append(members, stage.Member{UV: p.UV(), Role: r})
				if r.AtLeast(teamchain.RoleBot) {
					keyed[p.UID] = 0
				}
			}
		}
		if members != nil {
			w.Must(alice.Change(team, stage.Change{Members: members}).Send())
		}
		keyed[alice.UID] = 0
		for _, p := range all {
			n := rapid.IntRange(0, 2).Draw(t, "keys")
			if rapid.IntRange(0, 5).Draw(t, "reset") == 0 && p != alice {
				p.End(sigchain.KindReset)
				p.Begin()
				delete(keyed, p.UID)
			}
			for range n {
				p.EphemeralKey()
			}
			if _, is := keyed[p.UID]; is {
				keyed[p.UID] = int64(n)
			}
		}
		offered := map[kbsig.UID]int64{}
		w.Read(func(v *store.View) error {
			return teamkeys.MemberEKs(v, team, func(u kbsig.UID, sig string) {
				ek, err := kbsig.OpenUserEK(sig)
				w.Must(err)
				offered[u] = ek.Generation
			})
		})
		for u, n := range keyed {
			if n > 0 && offered[u] != n {
				t.Fatalf("%s is offered with key %d, not %d", w.Plain(u.String()), offered[u], n)
			}
			if n == 0 {
				delete(offered, u) // which was not there
			}
		}
		good := true
		var boxes []teams.TeamEKBox
		for _, p := range rapid.SliceOfN(rapid.SampledFrom(all), 0, 3).Draw(t, "boxes") {
			b := teams.TeamEKBox{Box: "sealed", User: p.UID, Generation: int64(rapid.IntRange(1, 2).Draw(t, "for"))}
			n, is := keyed[p.UID]
			good = good && is && n == b.Generation && !slices.ContainsFunc(boxes, func(o teams.TeamEKBox) bool { return o.User == p.UID })
			boxes = append(boxes, b)
		}
		ek, err := kbsig.OpenTeamEK(w.Statement(w.Key(team, 0).Sig, "team", 1, ""))
		w.Must(err)
		before := w.Dump()
		err = w.Update(func(tx *store.Tx) error { return teamkeys.PutTeamEK(tx, team, alice.UID, ek, boxes) })
		if (err == nil) != good {
			t.Fatalf("boxes %v, taken: %v", boxes, err)
		}
		if err != nil {
			if !slices.Contains(retried, code(err)) || len(stage.Changed(before, w.Dump())) > 0 {
				t.Fatalf("refused with %v, changed %q", err, stage.Changed(before, w.Dump()))
			}
			return
		}
		w.Read(func(v *store.View) error {
			for _, p := range all {
				_, box, err := keyboxes.GetTeamEKBox(v, team, 1, p.UV())
				if given := slices.ContainsFunc(boxes, func(b teams.TeamEKBox) bool { return b.User == p.UID }); err != nil || given != (box != nil) {
					t.Fatalf("%s has box %v, %v", p.Name, box, err)
				}
			}
			return nil
		})
	})
}

// TestStatementsQuoteRoots proves that an ephemeral key quotes a root that was published,
// as it was.
func TestStatementsQuoteRoots(t *testing.T) {
	w := newWorld(t, 3)
	alice := w.Person("alice")
	team, d := alice.Create("acme")
	w.Must(d.Send())
	var root *roots.Root
	w.Read(func(v *store.View) error { root = roots.StateOf(v).Root(); return nil })
	for _, row := range []struct {
		hash  kbsig.HashMeta
		ctime int64
		ok    bool
	}{{kbsig.HashMeta{1}, root.Ctime, false}, {root.HashMeta, root.Ctime - 1, false}, {root.HashMeta, root.Ctime, true}} {
		key := w.Key(team, 0)
		ek, err := kbsig.OpenTeamEK(client.SignPacket(key.Sig, fmt.Appendf(nil,
			`{"current_team_ek_metadata":{"team_ephemeral_dh_public":"%s","hash_meta":"%s","generation":1,"ctime":%d}}`,
			key.Enc.KID(), row.hash, row.ctime*1000)).Armor())
		w.Must(err)
		err = w.Update(func(tx *store.Tx) error { return teamkeys.PutTeamEK(tx, team, alice.UID, ek, nil) })
		if (err == nil) != row.ok {
			t.Errorf("quoting %x of %d: %v", row.hash[:4], row.ctime, err)
		}
	}
}

// TestRacesAreTriedAgain proves that what somebody else may have done since a client looked
// is refused with a code on which clients look again, and what no race can cause is not.
func TestRacesAreTriedAgain(t *testing.T) {
	w := newWorld(t, 2)
	alice, spy, guest := w.Person("alice"), w.Person("spy"), w.Person("guest")
	team, d := alice.Create("acme")
	w.Must(d.Send())
	w.Must(alice.Change(team, stage.Change{Members: []stage.Member{{UV: spy.UV(), Role: teamchain.RoleRestrictedBot}}}).Send())
	alice.EphemeralKey()
	old := w.Key(team, 0)
	w.Must(alice.Rotate(team).Send())
	put := func(by *stage.Person, key *stage.Key, n int, boxes ...teams.TeamEKBox) error {
		ek, err := kbsig.OpenTeamEK(w.Statement(key.Sig, "team", n, ""))
		w.Must(err)
		return w.Update(func(tx *store.Tx) error { return teamkeys.PutTeamEK(tx, team, by.UID, ek, boxes) })
	}
	now := w.Key(team, 0)
	box := func(p *stage.Person, n int64) teams.TeamEKBox {
		return teams.TeamEKBox{Box: "sealed", User: p.UID, Generation: n}
	}
	w.Must(put(alice, now, 1, box(alice, 1)))
	for _, row := range []struct {
		what  string
		err   error
		again bool
	}{
		{"the team's key was rotated", put(alice, old, 2), true},
		{"another made the generation", put(alice, now, 1), true},
		{"a member made a newer key", put(alice, now, 2, box(alice, 2)), true},
		{"a member has gone", put(alice, now, 2, box(guest, 1)), true},
		{"a stranger makes one", put(guest, now, 2), false},
		{"a restricted bot makes one", put(spy, now, 2), false},
	} {
		if got := slices.Contains(retried, code(row.err)); row.err == nil || got != row.again {
			t.Errorf("%s: tried again %v, %v", row.what, got, row.err)
		}
	}
	if err := put(guest, now, 2); !errors.Is(err, teamkeys.ErrClosed) {
		t.Errorf("a stranger: %v", err)
	}
}
