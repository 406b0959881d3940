package accounts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// scene is a store in memory with a clock and a random source of its own.
type scene struct {
	t     testing.TB
	store *store.Store
	clock *clock.Fake
	rand  *rand.ChaCha8
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{t: t, clock: clock.NewFake(time.Unix(1_800_000_000, 0)), rand: rand.NewChaCha8([32]byte{1})}
	var err error
	s.store, err = store.Open(store.Options{
		Dir: "data", FS: vfs.NewMem(), Rand: s.rand, Clock: s.clock.Now, CacheBytes: 1 << 20,
		Fatal: func(err error) { t.Errorf("unexpected fatal: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *scene) invite(spec InvitationSpec) (code string, id InvitationID) {
	s.t.Helper()
	err := s.store.Update(context.Background(), func(tx *store.Tx) (err error) {
		code, id, err = NewInvitation(tx, s.rand, spec)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return code, id
}

func (s *scene) use(code, name string) (InvitationID, error) {
	var id InvitationID
	err := s.store.Update(context.Background(), func(tx *store.Tx) (err error) {
		id, err = UseInvitation(tx, code, kbsig.UIDOf(kbsig.Username(name)))
		return err
	})
	return id, err
}

func (s *scene) list() map[InvitationID]*Invitation {
	s.t.Helper()
	v := s.store.View()
	defer v.Close()
	all := map[InvitationID]*Invitation{}
	if err := Invitations(v, func(id InvitationID, inv *Invitation) error { all[id] = inv; return nil }); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// TestInvitationLetsInAsManyAsItSays proves that an invitation counts its uses, keeps
// who used it and when, and lets nobody in after the last.
func TestInvitationLetsInAsManyAsItSays(t *testing.T) {
	s := newScene(t)
	code, id := s.invite(InvitationSpec{Note: "the choir", Uses: 2})
	for i, name := range []string{"alice", "bobby"} {
		if used, err := s.use(code, name); err != nil || used != id {
			t.Fatalf("use %d: %v by invitation %s", i, err, used)
		}
		s.clock.Advance(time.Minute)
	}
	if _, err := s.use(code, "carol"); !errors.Is(err, ErrInvitationUsed) {
		t.Fatalf("the third: %v", err)
	}
	inv := s.list()[id]
	if inv == nil || inv.Note != "the choir" || len(inv.Used) != 2 || inv.Used[0].UID != kbsig.UIDOf("alice") || inv.Used[1].Time != inv.Used[0].Time+60 {
		t.Fatalf("%+v", inv)
	}
}

// TestRefusedSignUpKeepsTheInvitation proves that a use goes with its transaction: when
// the sign-up fails, the invitation is as before.
func TestRefusedSignUpKeepsTheInvitation(t *testing.T) {
	s := newScene(t)
	code, id := s.invite(InvitationSpec{Uses: 1})
	taken := errors.New("the name is taken")
	err := s.store.Update(context.Background(), func(tx *store.Tx) error {
		if _, err := UseInvitation(tx, code, kbsig.UIDOf("alice")); err != nil {
			return err
		}
		return taken
	})
	if !errors.Is(err, taken) || len(s.list()[id].Used) != 0 {
		t.Fatalf("%v, used %d times", err, len(s.list()[id].Used))
	}
	if _, err := s.use(code, "alice"); err != nil {
		t.Fatal(err)
	}
}

// TestInvitationEnds proves that an invitation ends at its second and not before, that
// one for ever does not, and that a withdrawn one says so if it was ever used and is
// forgotten if it was not.
func TestInvitationEnds(t *testing.T) {
	s := newScene(t)
	short, _ := s.invite(InvitationSpec{Uses: 9, Lifetime: time.Hour})
	endless, kept := s.invite(InvitationSpec{Uses: 9})
	s.clock.Advance(time.Hour - time.Second)
	if _, err := s.use(short, "alice"); err != nil {
		t.Fatal(err)
	}
	s.clock.Advance(time.Second)
	if _, err := s.use(short, "bobby"); !errors.Is(err, ErrInvitationExpired) {
		t.Fatal(err)
	}
	s.clock.Advance(InvitationLifetimeMax)
	if _, err := s.use(endless, "bobby"); err != nil {
		t.Fatal(err)
	}
	unused, dropped := s.invite(InvitationSpec{Uses: 1})
	for _, id := range []InvitationID{kept, dropped} {
		if err := s.store.Update(context.Background(), func(tx *store.Tx) error { _, err := RevokeInvitation(tx, id); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.use(endless, "carol"); !errors.Is(err, ErrInvitationWithdrawn) {
		t.Fatal(err)
	}
	if _, err := s.use(unused, "carol"); !errors.Is(err, ErrNoInvitation) {
		t.Fatal(err)
	}
	err := s.store.Update(context.Background(), func(tx *store.Tx) error { _, err := RevokeInvitation(tx, dropped); return err })
	if !errors.Is(err, ErrNoInvitation) {
		t.Fatal(err)
	}
}

// TestCodesAreNotStored proves that neither a code nor its digits are anywhere in the
// store, so that a copy of it lets nobody in.
func TestCodesAreNotStored(t *testing.T) {
	s := newScene(t)
	code, _ := s.invite(InvitationSpec{Note: "guest", Uses: 2})
	if _, err := s.use(code, "alice"); err != nil {
		t.Fatal(err)
	}
	v := s.store.View()
	defer v.Close()
	digits := strings.ReplaceAll(code, "-", "")
	err := v.Scan(nil, nil, func(k, val []byte) error {
		for _, b := range [][]byte{k, val} {
			if bytes.Contains(b, []byte(code)) || bytes.Contains(b, []byte(digits)) {
				return fmt.Errorf("the code stands under %x", k)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCodesAsPeopleTypeThem proves that case, dashes, spaces and letters that look like
// digits do not keep anybody out, and that a changed digit does.
func TestCodesAsPeopleTypeThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code, err := newCode(rand.NewChaCha8([32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))))
		if err != nil || len(code) != codeDigits+codeDigits/codeGroup-1 {
			t.Fatalf("%q: %v", code, err)
		}
		want, ok := codeHash(code)
		if !ok {
			t.Fatalf("%q is no code", code)
		}
		typed := code
		for _, change := range rapid.SliceOfN(rapid.SampledFrom([][2]string{{"-", ""}, {"-", " "}, {"0", "O"}, {"0", "o"}, {"1", "I"}, {"1", "l"}, {"", " "}}), 0, 4).Draw(t, "changes") {
			typed = strings.ReplaceAll(typed, change[0], change[1])
			if change[0] == "" {
				typed = " " + code + "\t"
			}
		}
		if rapid.Bool().Draw(t, "upper") {
			typed = strings.ToUpper(typed)
		}
		if got, ok := codeHash(typed); len(typed) <= codeTypedMax && (!ok || got != want) {
			t.Fatalf("%q is not taken for %q", typed, code)
		}
		at := rapid.IntRange(0, codeGroup-1).Draw(t, "at")
		other := []byte(code)
		other[at] = codeAlphabet[(strings.IndexByte(codeAlphabet, other[at])+1)%len(codeAlphabet)]
		if got, ok := codeHash(string(other)); !ok || got == want {
			t.Fatalf("%q is taken for %q", other, code)
		}
	})
	for _, bad := range []string{"", "202020202020202020202020", "7kqm2-7kqm2-7kqm2-7kqm", "uuuuu-7kqm2-7kqm2-7kqm2", strings.Repeat(" ", 80) + "7kqm2-7kqm2-7kqm2-7kqm2", "７kqm2-7kqm2-7kqm2-7kqm2"} {
		if _, ok := codeHash(bad); ok {
			t.Errorf("%q is taken for a code", bad)
		}
	}
}

// TestInvitationsAreBounded proves that a wish beyond the limits is refused, that the
// list has an end, and that old ones make room.
func TestInvitationsAreBounded(t *testing.T) {
	s := newScene(t)
	for _, spec := range []InvitationSpec{
		{Uses: 0}, {Uses: -1}, {Uses: InvitationUsesMax + 1}, {Uses: 1, Lifetime: -1}, {Uses: 1, Lifetime: 1},
		{Uses: 1, Lifetime: InvitationLifetimeMax + 1}, {Uses: 1, Note: strings.Repeat("x", InvitationNoteBytesMax+1)},
		{Uses: 1, Note: "two\nlines"}, {Uses: 1, Note: "\xff"},
	} {
		err := s.store.Update(context.Background(), func(tx *store.Tx) error { _, _, err := NewInvitation(tx, s.rand, spec); return err })
		if !errors.Is(err, ErrInvitationSpec) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
	s.fill(invitationsMax)
	refused := s.store.Update(context.Background(), func(tx *store.Tx) error {
		_, _, err := NewInvitation(tx, s.rand, InvitationSpec{Uses: 1})
		return err
	})
	if !errors.Is(refused, ErrTooManyInvitations) {
		t.Fatal(refused)
	}
	s.clock.Advance(invitationKept + 2*time.Hour)
	s.invite(InvitationSpec{Uses: 1})
	if n := len(s.list()); n != 1 {
		t.Fatalf("%d are kept", n)
	}
}

// fill writes n invitations that end in an hour, past the check for room.
func (s *scene) fill(n int) {
	s.t.Helper()
	err := s.store.Update(context.Background(), func(tx *store.Tx) error {
		for i := range n {
			store.Save(tx, keys.Invitation([32]byte{byte(i), byte(i >> 8)}), Invitation{Uses: 1, CTime: tx.Now().Unix(), Expires: tx.Now().Add(time.Hour).Unix()})
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
