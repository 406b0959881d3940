package accounts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

var (
	alice = kbsig.UIDOf("alice")
	bobby = kbsig.UIDOf("bobby")
	phone = kbsig.DeviceID{0: 'p', 15: 0x18}
	disk  = kbsig.DeviceID{0: 'd', 15: 0x18}
)

// do runs one transaction.
func (s *scene) do(fn func(tx *store.Tx) error) error {
	return s.store.Update(context.Background(), fn)
}

func (s *scene) must(fn func(tx *store.Tx) error) {
	s.t.Helper()
	if err := s.do(fn); err != nil {
		s.t.Fatal(err)
	}
}

// read runs fn on the newest view.
func (s *scene) read(fn func(r store.Reader) error) error {
	v := s.store.View()
	defer v.Close()
	return fn(v)
}

func (s *scene) signUp(name, mail string) error {
	return s.do(func(tx *store.Tx) error {
		n := kbsig.Username(strings.ToLower(name))
		u := kbsig.UIDOf(n)
		if err := Create(tx, &Account{UID: u, Name: n, Cased: name}); err != nil || strings.TrimSpace(mail) == "" {
			return err
		}
		return errors.Join(AddMail(tx, u, mail, Public), VerifyMail(tx, u, mail))
	})
}

// dump is everything that the store holds.
func (s *scene) dump() string {
	s.t.Helper()
	var out strings.Builder
	err := s.read(func(r store.Reader) error {
		return r.Scan(nil, nil, func(k, v []byte) error {
			if !bytes.HasPrefix(k, keys.Meta("")) {
				fmt.Fprintf(&out, "%q: %q\n", k, v)
			}
			return nil
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out.String()
}

// TestCreate proves that an account is found by its uid, its name and its mail
// address, with the versions and times of its beginning, and by nothing else.
func TestCreate(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for name, mail := range map[string]string{"Alice": " Alice@Example.org", "Bobby": ""} {
		if err := s.signUp(name, mail); err != nil {
			t.Fatal(err)
		}
	}
	now := s.clock.Now().Unix()
	for what, find := range map[string]func(r store.Reader) (*Account, error){
		"uid":        func(r store.Reader) (*Account, error) { return Get(r, alice) },
		"name":       func(r store.Reader) (*Account, error) { return ByName(r, "alice") },
		"mail":       func(r store.Reader) (*Account, error) { return ByAddress(r, "alice@example.org") },
		"other case": func(r store.Reader) (*Account, error) { return ByAddress(r, "ALICE@EXAMPLE.ORG ") },
	} {
		err := s.read(func(r store.Reader) error {
			a, err := find(r)
			if err != nil {
				return err
			}
			if a.UID != alice || a.Name != "alice" || a.Cased != "Alice" || a.Status != StatusActive {
				t.Errorf("by %s: %+v", what, a)
			}
			if a.IDVersion != 1 || a.PrivateVersion != 1 || a.TrackVersion != 1 {
				t.Errorf("by %s: versions %d, %d, %d", what, a.IDVersion, a.PrivateVersion, a.TrackVersion)
			}
			if a.CTime != now || a.MTime != now || a.LastIDChange != now {
				t.Errorf("by %s: times %d, %d, %d", what, a.CTime, a.MTime, a.LastIDChange)
			}
			return nil
		})
		if err != nil {
			t.Errorf("by %s: %v", what, err)
		}
	}
	for what, find := range map[string]func(r store.Reader) (*Account, error){
		"uid":        func(r store.Reader) (*Account, error) { return Get(r, kbsig.UIDOf("carol")) },
		"name":       func(r store.Reader) (*Account, error) { return ByName(r, "carol") },
		"cased name": func(r store.Reader) (*Account, error) { return ByName(r, "Alice") },
		"mail":       func(r store.Reader) (*Account, error) { return ByAddress(r, "carol@example.org") },
		"no mail":    func(r store.Reader) (*Account, error) { return ByAddress(r, "") },
	} {
		err := s.read(func(r store.Reader) error { _, err := find(r); return err })
		if !errors.Is(err, ErrNoUser) {
			t.Errorf("by a strange %s: %v", what, err)
		}
	}
}

// TestTakenNamesAndAddresses proves that a name, a uid and an address have one owner,
// also within one group, and that a refused sign-up leaves nothing.
func TestTakenNamesAndAddresses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if err := s.signUp("alice", "a@example.org"); err != nil {
		t.Fatal(err)
	}
	before := s.dump()
	if err := s.signUp("ALICE", "other@example.org"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("the same name: %v", err)
	}
	if err := s.signUp("bobby", "A@Example.Org "); !errors.Is(err, ErrMailTaken) {
		t.Errorf("the same address: %v", err)
	}
	err := s.do(func(tx *store.Tx) error { return Create(tx, &Account{UID: alice, Name: "malice"}) })
	if !errors.Is(err, ErrNameTaken) {
		t.Errorf("another name with the same uid: %v", err)
	}
	if after := s.dump(); after != before {
		t.Errorf("refused sign-ups left\n%s", after)
	}
	for name, mail := range map[string]string{"bobby": "", "carol": "", "ellen": " ", "frank": "  "} {
		if err := s.signUp(name, mail); err != nil { // no address is nobody's
			t.Errorf("%s without an address: %v", name, err)
		}
	}
	const racers = 20
	won := make(chan error, racers)
	for range racers {
		go func() { won <- s.signUp("dave", "d@example.org") }()
	}
	winners := 0
	for range racers {
		if err := <-won; err == nil {
			winners++
		} else if !errors.Is(err, ErrNameTaken) {
			t.Error(err)
		}
	}
	if winners != 1 {
		t.Errorf("%d of %d signed up as dave", winners, racers)
	}
}

// TestNameWithoutAccount proves that an index that leads nowhere is reported as damage
// and not as a stranger.
func TestNameWithoutAccount(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if err := s.signUp("alice", "a@example.org"); err != nil {
		t.Fatal(err)
	}
	s.must(func(tx *store.Tx) error { tx.Delete(keys.Account(alice)); return nil })
	for what, err := range map[string]error{
		"name": s.read(func(r store.Reader) error { _, err := ByName(r, "alice"); return err }),
		"mail": s.read(func(r store.Reader) error { _, err := ByAddress(r, "a@example.org"); return err }),
	} {
		if err == nil || errors.Is(err, ErrNoUser) {
			t.Errorf("by %s: %v", what, err)
		}
	}
}

// TestVersionsGrow proves that what tells clients to fetch again only grows.
func TestVersionsGrow(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if err := s.signUp("alice", ""); err != nil {
		t.Fatal(err)
	}
	created := s.clock.Now().Unix()
	s.clock.Advance(time.Minute)
	s.must(func(tx *store.Tx) error {
		a, err := Get(tx, alice)
		if err != nil {
			return err
		}
		a.TouchIdentity(tx.Now())
		a.TouchIdentity(tx.Now())
		a.TouchPrivate()
		Put(tx, a)
		return nil
	})
	err := s.read(func(r store.Reader) error {
		a, err := Get(r, alice)
		if err != nil {
			return err
		}
		if a.IDVersion != 3 || a.PrivateVersion != 2 || a.TrackVersion != 1 {
			t.Errorf("versions %d, %d, %d", a.IDVersion, a.PrivateVersion, a.TrackVersion)
		}
		if a.CTime != created || a.MTime != created+60 || a.LastIDChange != created+60 {
			t.Errorf("times %d, %d, %d", a.CTime, a.MTime, a.LastIDChange)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDevices proves that a device may be known before and after its link, keeps its
// first time, belongs to its user alone, and that a user has a bounded number of them.
func TestDevices(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	begin := s.clock.Now().Unix()
	put := func(u kbsig.UID, d Device) error {
		return s.do(func(tx *store.Tx) error { return PutDevice(tx, u, &d) })
	}
	for _, u := range []kbsig.UID{alice, bobby} {
		if err := put(u, Device{ID: phone, Type: "mobile", HasHalf: true}); err != nil {
			t.Fatal(err)
		}
	}
	s.clock.Advance(time.Hour)
	s.must(func(tx *store.Tx) error {
		return errors.Join(
			UpdateDevice(tx, alice, phone, func(d *Device) { d.Platform = "linux" }),
			UpdateDevice(tx, alice, disk, func(d *Device) { d.Type = "desktop" }),
		)
	})
	err := s.read(func(r store.Reader) error {
		all, err := Devices(r, alice)
		if err != nil {
			return err
		}
		p, d := all[phone], all[disk]
		if len(all) != 2 || p == nil || d == nil {
			return fmt.Errorf("%d devices", len(all))
		}
		if p.Type != "mobile" || !p.HasHalf || p.Platform != "linux" || p.CTime != begin || p.MTime != begin+3600 || p.LastUsed != begin {
			t.Errorf("phone: %+v", p)
		}
		if d.Type != "desktop" || d.CTime != begin+3600 || d.LastUsed != begin+3600 {
			t.Errorf("disk: %+v", d)
		}
		if b, err := GetDevice(r, bobby, phone); err != nil || b.Platform != "" {
			t.Errorf("bobby's phone: %+v, %v", b, err)
		}
		if _, err := GetDevice(r, bobby, disk); !errors.Is(err, ErrNoDevice) {
			t.Errorf("bobby has no disk: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	s.must(func(tx *store.Tx) error {
		for i := range devicesPerUserMax - 2 {
			if err := PutDevice(tx, alice, &Device{ID: kbsig.DeviceID{0: 'x', 1: byte(i), 2: byte(i >> 8)}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := put(alice, Device{ID: kbsig.DeviceID{0: 'z'}}); !errors.Is(err, ErrTooManyDevices) {
		t.Errorf("one too many: %v", err)
	}
	for u, d := range map[kbsig.UID]kbsig.DeviceID{alice: phone, bobby: disk} {
		if err := put(u, Device{ID: d}); err != nil {
			t.Errorf("a known device, or another user's: %v", err)
		}
	}
}

// TestActiveDevices proves that a device has the signing key that it was last given,
// and none when it has been revoked.
func TestActiveDevices(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	kid := func(b byte) kbsig.KID { return kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{b}) }
	check := func(what string, u kbsig.UID, d kbsig.DeviceID, want kbsig.KID) {
		t.Helper()
		err := s.read(func(r store.Reader) error {
			got, err := ActiveKID(r, u, d)
			if got != want {
				t.Errorf("%s: %s", what, got)
			}
			return err
		})
		if want.IsZero() != errors.Is(err, ErrNoDevice) || !want.IsZero() && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("before", alice, phone, kbsig.KID{})
	s.must(func(tx *store.Tx) error {
		SetActive(tx, alice, phone, kid(1))
		SetActive(tx, alice, disk, kid(2))
		return nil
	})
	check("phone", alice, phone, kid(1))
	check("another user's", bobby, phone, kbsig.KID{})
	s.must(func(tx *store.Tx) error {
		SetActive(tx, alice, phone, kid(3))
		SetInactive(tx, alice, disk)
		return nil
	})
	check("phone with a new key", alice, phone, kid(3))
	check("revoked", alice, disk, kbsig.KID{})
}

// copied is a device folder: what one copy of a client remembers of its clone token.
type copied struct{ prior, stage string }

// TestCloneTokens proves that one client alone is never taken for two, however often
// it has to repeat a call, and that a second copy of its folder is noticed at its
// first start after the other's.
// client: go/libkb/device_clone_state.go:UpdateDeviceCloneState
func TestCloneTokens(t *testing.T) {
	t.Parallel()
	s, users, next := newScene(t), 0, 0
	rapid.Check(t, func(t *rapid.T) {
		users++
		u := kbsig.UIDOf(kbsig.Username(fmt.Sprint("user", users)))
		// start is one start of a client; the reply may be lost, and then it asks again
		// with the same tokens at its next start.
		start := func(c *copied) int {
			if c.stage == "" {
				next++
				c.stage = fmt.Sprintf("%032x", next)
			}
			var token string
			var clones int
			for range rapid.IntRange(1, 3).Draw(t, "sent") {
				s.must(func(tx *store.Tx) (err error) {
					token, clones, err = AdvanceCloneToken(tx, u, phone, c.prior, c.stage)
					return err
				})
			}
			if rapid.IntRange(0, 3).Draw(t, "reply lost") > 0 {
				c.prior, c.stage = token, ""
			}
			return clones
		}
		client := copied{prior: strings.Repeat("0", 32)}
		for range rapid.IntRange(1, 6).Draw(t, "starts") {
			if n := start(&client); n != 1 {
				t.Fatalf("one client counts as %d", n)
			}
		}
		if client.stage != "" { // settle, so that the copies differ from now on
			client.prior, client.stage = client.stage, ""
		}
		other := client
		pair := []*copied{&client, &other}
		start(pair[0])
		last := start(pair[1])
		if last < 2 {
			t.Fatalf("two copies count as %d", last)
		}
		for i := range 6 {
			n := start(pair[i%2])
			if n < last {
				t.Fatalf("the count went from %d to %d", last, n)
			}
			last = n
		}
	})
}
