package consent

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/directory"
	"github.com/keystead/keystead/merklehot/sigchain"
)

var (
	names = []string{"alice", "bob", "carol", "dave"}
	team1 = kbsig.TeamID{1, 15: 0x24}
	team2 = kbsig.TeamID{2, 15: 0x24}
)

func uidOf(i int) kbsig.UID { return kbsig.UIDOf(kbsig.Username(names[i])) }

func open(t interface{ Fatal(...any) }) *store.Store {
	st, err := store.Open(store.Options{Dir: "s", FS: vfs.NewMem(), Rand: rand.NewChaCha8([32]byte{4}), CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// incarnation makes a user's chain begin at a link; 0: it has none.
func incarnation(tx *store.Tx, u kbsig.UID, eldest kbsig.Seqno) {
	st := sigchain.NewState(u, "somebody")
	st.EldestSeqno = eldest
	tx.Set(keys.Chain(u), st.Encode())
}

// wishes is what somebody asked for, and who follows whom: a model that says who is let
// in, from the words of the package comment alone.
type wishes struct {
	blocked  people.Block
	settings accounts.ContactSettings
	eldest   [4]kbsig.Seqno
	follows  map[[2]int]kbsig.Seqno // of which incarnation; there is no row of 0
	together map[kbsig.TeamID]bool
	teamless bool // nobody says who is in which team
}

func (w *wishes) follow(a, b int) bool {
	eldest, ok := w.follows[[2]int{a, b}]
	return ok && eldest == w.eldest[b]
}

// lets reports whether 0 lets 1 come near.
func (w *wishes) lets() bool {
	if w.blocked.Chat {
		return false
	}
	if !w.settings.Enabled {
		return true
	}
	if w.settings.AllowFolloweeDegrees >= 1 && w.follow(0, 1) {
		return true
	}
	for friend := range names {
		if w.settings.AllowFolloweeDegrees >= 2 && w.follow(0, friend) && w.follow(friend, 1) {
			return true
		}
	}
	for _, t := range w.settings.Teams {
		id, err := kbsig.ParseTeamID(t.TeamID)
		if err == nil && t.Enabled && w.settings.AllowGoodTeams && w.together[id] && !w.teamless {
			return true
		}
	}
	return false
}

func draw(t *rapid.T) *wishes {
	w := &wishes{follows: map[[2]int]kbsig.Seqno{}, together: map[kbsig.TeamID]bool{}}
	yes := rapid.Bool()
	w.blocked = people.Block{Chat: rapid.SampledFrom([]bool{false, false, true}).Draw(t, "no messages"), Follow: yes.Draw(t, "not shown")}
	w.settings = accounts.ContactSettings{
		Enabled:              rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "settings"),
		AllowFolloweeDegrees: rapid.IntRange(0, 2).Draw(t, "degrees"), AllowGoodTeams: yes.Draw(t, "teams"),
	}
	for _, id := range []string{team1.String(), "no team at all", team2.String()} {
		if yes.Draw(t, "named") {
			w.settings.Teams = append(w.settings.Teams, accounts.TeamContact{TeamID: id, Enabled: yes.Draw(t, "enabled")})
		}
	}
	w.together[team1], w.together[team2], w.teamless = yes.Draw(t, "both in 1"), yes.Draw(t, "both in 2"), yes.Draw(t, "teamless")
	incarnations := rapid.SampledFrom([]kbsig.Seqno{1, 1, 1, 9})
	for a := range names {
		w.eldest[a] = incarnations.Draw(t, "eldest")
		for b := range names {
			if a != b && yes.Draw(t, "follows") {
				w.follows[[2]int{a, b}] = incarnations.Draw(t, "followed")
			}
		}
	}
	return w
}

func (w *wishes) write(tx *store.Tx) error {
	var errs []error
	for a := range names {
		errs = append(errs, accounts.Create(tx, &accounts.Account{UID: uidOf(a), Name: kbsig.Username(names[a])}))
		incarnation(tx, uidOf(a), w.eldest[a])
	}
	for e, eldest := range w.follows {
		directory.SetFollow(tx, uidOf(e[0]), uidOf(e[1]), kbsig.LinkID{1}, eldest)
	}
	_, err := people.SetBlocks(tx, uidOf(0), []people.BlockChange{{UID: uidOf(1), Chat: &w.blocked.Chat, Follow: &w.blocked.Follow}})
	return errors.Join(append(errs, err, accounts.SetContactSettings(tx, uidOf(0), w.settings))...)
}

// TestContactAllowed proves, against a model, that exactly those are let in whom the
// package comment names, whatever blocks, settings, teams, follows and resets there are;
// that nobody is kept from what is their own; and that the wishes of one person are
// nobody else's.
func TestContactAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := open(t)
		defer st.Close()
		w := draw(t)
		if err := st.Update(context.Background(), w.write); err != nil {
			t.Fatal(err)
		}
		v := st.View()
		defer v.Close()
		together := func(id kbsig.TeamID) (bool, error) { return w.together[id], nil }
		if w.teamless {
			together = nil
		}
		got, err := ContactAllowed(v, uidOf(1), uidOf(0), together)
		if err != nil || got != w.lets() {
			t.Fatalf("%v, %v; want %v of %+v", got, err, w.lets(), w)
		}
		for _, pair := range [][2]int{{0, 0}, {1, 1}, {0, 1}, {2, 3}} {
			if ok, err := ContactAllowed(v, uidOf(pair[0]), uidOf(pair[1]), together); err != nil || !ok {
				t.Fatalf("%s is kept from %s, who asked for nothing: %v", names[pair[0]], names[pair[1]], err)
			}
		}
	})
}

// TestResets proves that a follow counts for the incarnation that was followed, at each step
// to a friend of a friend.
func TestResets(t *testing.T) {
	for _, tc := range []struct {
		what string
		w    wishes
		want bool
	}{
		{"a friend", wishes{follows: map[[2]int]kbsig.Seqno{{0, 1}: 1}}, true},
		{"who was reset", wishes{follows: map[[2]int]kbsig.Seqno{{0, 1}: 9}}, false},
		{"a friend's friend", wishes{follows: map[[2]int]kbsig.Seqno{{0, 2}: 1, {2, 1}: 1}}, true},
		{"a friend's friend who was reset", wishes{follows: map[[2]int]kbsig.Seqno{{0, 2}: 1, {2, 1}: 9}}, false},
		{"the friend of one who was reset", wishes{follows: map[[2]int]kbsig.Seqno{{0, 2}: 9, {2, 1}: 1}}, false},
		{"the friend of two, of whom one was reset", wishes{follows: map[[2]int]kbsig.Seqno{{0, 2}: 9, {2, 1}: 1, {0, 3}: 1, {3, 1}: 1}}, true},
		{"the friend of two, of whom the other was", wishes{follows: map[[2]int]kbsig.Seqno{{0, 2}: 1, {2, 1}: 1, {0, 3}: 9, {3, 1}: 1}}, true},
		{"one who follows a friend", wishes{follows: map[[2]int]kbsig.Seqno{{0, 2}: 1, {1, 2}: 1}}, false},
	} {
		t.Run(tc.what, func(t *testing.T) {
			st := open(t)
			t.Cleanup(func() { _ = st.Close() })
			tc.w.settings = accounts.ContactSettings{Enabled: true, AllowFolloweeDegrees: 2}
			tc.w.eldest = [4]kbsig.Seqno{1, 1, 1, 1}
			if err := st.Update(t.Context(), tc.w.write); err != nil {
				t.Fatal(err)
			}
			v := st.View()
			defer v.Close()
			got, err := ContactAllowed(v, uidOf(1), uidOf(0), nil)
			if err != nil || got != tc.want || got != tc.w.lets() {
				t.Errorf("%v, %v; want %v, and the model says %v", got, err, tc.want, tc.w.lets())
			}
		})
	}
}

// TestUnknown proves that a question that cannot be answered is an error, and lets nobody
// in: when who asks is nobody, and when it cannot be said who is in which team.
func TestUnknown(t *testing.T) {
	st := open(t)
	t.Cleanup(func() { _ = st.Close() })
	w := &wishes{settings: accounts.ContactSettings{Enabled: true, AllowFolloweeDegrees: 1, AllowGoodTeams: true, Teams: []accounts.TeamContact{{TeamID: team1.String(), Enabled: true}}}}
	if err := st.Update(t.Context(), w.write); err != nil {
		t.Fatal(err)
	}
	v := st.View()
	defer v.Close()
	if ok, err := ContactAllowed(v, kbsig.UIDOf("nobody"), uidOf(0), nil); ok || !errors.Is(err, accounts.ErrNoUser) {
		t.Errorf("nobody: %v, %v", ok, err)
	}
	broken := errors.New("broken")
	if ok, err := ContactAllowed(v, uidOf(1), uidOf(0), func(kbsig.TeamID) (bool, error) { return false, broken }); ok || !errors.Is(err, broken) {
		t.Errorf("no word of teams: %v, %v", ok, err)
	}
}

// TestFriendsAskedMax proves that of somebody who follows very many, as many are asked
// whom they follow as the limit says, and no more.
func TestFriendsAskedMax(t *testing.T) {
	st := open(t)
	t.Cleanup(func() { _ = st.Close() })
	w := &wishes{settings: accounts.ContactSettings{Enabled: true, AllowFolloweeDegrees: 2}, eldest: [4]kbsig.Seqno{1, 1, 1, 1}}
	friend := func(i int) kbsig.UID { return kbsig.UID{byte(i >> 8), byte(i), 15: 0x19} }
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		for i := range friendsAskedMax + 1 {
			incarnation(tx, friend(i), 1)
			directory.SetFollow(tx, uidOf(0), friend(i), kbsig.LinkID{1}, 1)
		}
		return w.write(tx)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		by   int
		want bool
	}{{friendsAskedMax, false}, {friendsAskedMax - 1, true}} {
		err := st.Update(t.Context(), func(tx *store.Tx) error {
			directory.SetFollow(tx, friend(tc.by), uidOf(1), kbsig.LinkID{1}, 1)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		v := st.View()
		ok, err := ContactAllowed(v, uidOf(1), uidOf(0), nil)
		v.Close()
		if err != nil || ok != tc.want {
			t.Errorf("friend %d of a friend: %v, %v", tc.by, ok, err)
		}
	}
}
