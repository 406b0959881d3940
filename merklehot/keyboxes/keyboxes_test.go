package keyboxes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

var (
	alice = kbsig.UIDOf("alice")
	bob   = kbsig.UIDOf("bob")
)

func users(name string) kbsig.UID { return kbsig.UIDOf(kbsig.Username(name)) }

// device and receiver make an id and an encryption key of a name.
func device(name string) kbsig.DeviceID {
	d := kbsig.DeviceID{15: 0x18}
	copy(d[:15], name)
	return d
}

func receiver(name string) kbsig.KID {
	var raw [32]byte
	copy(raw[:], name)
	return kbsig.NewKID(kbsig.KIDTypeDH, raw)
}

// nameIn reads the name back out of an id or key.
func nameIn(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }

// fataler is what testing.T and rapid.T have in common.
type fataler interface {
	Fatal(...any)
	Errorf(string, ...any)
}

func openStore(t fataler) *store.Store {
	s, err := store.Open(store.Options{
		Dir: "data", FS: vfs.NewMem(), Rand: rand.NewChaCha8([32]byte{}), CacheBytes: 1 << 20,
		Fatal: func(err error) { t.Errorf("unexpected fatal: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func update(s *store.Store, fn func(tx *store.Tx) error) error {
	return s.Update(context.Background(), fn)
}

// The files in testdata/transcripts show what is kept of per-user keys and ephemeral keys, for
// whom, and what is refused.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		s := openStore(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			var err error
			if run, ok := writers[d.Cmd]; ok {
				err = update(s, func(tx *store.Tx) error { return run(tx, d) })
			} else if run, ok := readers[d.Cmd]; ok {
				v := s.View()
				defer v.Close()
				err = run(v, d, &out)
			} else {
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			switch {
			case err != nil:
				return "refused: " + err.Error()
			case out.Len() == 0:
				return "ok"
			}
			return strings.TrimRight(out.String(), "\n")
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// arg is a named argument of a command, or nothing.
func arg(d *datadriven.TestData, name string) string {
	for _, a := range d.CmdArgs {
		if a.Key == name && len(a.Vals) > 0 {
			return a.Vals[0]
		}
	}
	return ""
}

func number(d *datadriven.TestData, name string) int {
	var n int
	_, _ = fmt.Sscan(arg(d, name), &n)
	return n
}

func user(d *datadriven.TestData) kbsig.UID {
	if u := arg(d, "user"); u != "" {
		return users(u)
	}
	return alice
}

// userEKBox reads name:generation, or what=name key=generation.
func userEKBox(s string) UserEKBox {
	name, generation, _ := strings.Cut(s, ":")
	b := UserEKBox{DeviceID: device(name), Box: "box for " + name}
	_, _ = fmt.Sscan(generation, &b.DeviceEKGeneration)
	return b
}

var writers = map[string]func(*store.Tx, *datadriven.TestData) error{
	"new-generation": func(tx *store.Tx, d *datadriven.TestData) error {
		n := number(d, "n")
		var boxes []Box
		for _, line := range strings.Fields(d.Input) {
			b := Box{Generation: n, Receiver: receiver(line), Box: fmt.Sprintf("seed %d for %s", n, line)}
			if name, g, ok := strings.Cut(line, ":"); ok {
				b.Receiver = receiver(name)
				_, _ = fmt.Sscan(g, &b.Generation)
			}
			boxes = append(boxes, b)
		}
		return PutGeneration(tx, user(d), n, boxes, arg(d, "prev"))
	},
	"box": func(tx *store.Tx, d *datadriven.TestData) error {
		n, to := number(d, "n"), arg(d, "to")
		PutBox(tx, user(d), Box{Generation: n, Receiver: receiver(to), Box: fmt.Sprintf("seed %d for %s%s", n, to, arg(d, "again"))})
		return nil
	},
	"device-ek": func(tx *store.Tx, d *datadriven.TestData) error {
		return PutDeviceEK(tx, user(d), DeviceEK{DeviceID: device(arg(d, "device")), Generation: number(d, "n"), Sig: arg(d, "sig")})
	},
	"revoke": func(tx *store.Tx, d *datadriven.TestData) error {
		DropDeviceEK(tx, user(d), device(arg(d, "device")))
		return nil
	},
	"user-ek": func(tx *store.Tx, d *datadriven.TestData) error {
		var boxes []UserEKBox
		for _, line := range strings.Fields(d.Input) {
			boxes = append(boxes, userEKBox(line))
		}
		return PutUserEK(tx, user(d), UserEK{Generation: number(d, "n"), Sig: arg(d, "sig")}, boxes)
	},
	"rebox": func(tx *store.Tx, d *datadriven.TestData) error {
		return PutUserEKBox(tx, user(d), number(d, "n"), userEKBox(arg(d, "for")))
	},
}

var readers = map[string]func(store.Reader, *datadriven.TestData, *strings.Builder) error{
	"secrets": func(r store.Reader, d *datadriven.TestData, out *strings.Builder) error {
		box, prevs, err := Secrets(r, user(d), number(d, "newest"), number(d, "have"), receiver(arg(d, "to")))
		if err != nil {
			return err
		}
		if box == nil {
			fmt.Fprintln(out, "box: none")
		} else {
			fmt.Fprintf(out, "box: generation %d, %s, receiver %s\n", box.Generation, box.Box, nameIn(box.Receiver[2:34]))
		}
		for _, p := range prevs {
			fmt.Fprintf(out, "prev: generation %d, %s\n", p.Generation, p.Ciphertext)
		}
		return nil
	},
	"device-eks": func(r store.Reader, d *datadriven.TestData, out *strings.Builder) error {
		eks, err := DeviceEKs(r, user(d))
		for _, ek := range eks {
			fmt.Fprintf(out, "%s: generation %d, %s\n", nameIn(ek.DeviceID[:15]), ek.Generation, ek.Sig)
		}
		if len(eks) == 0 {
			fmt.Fprintln(out, "none")
		}
		return err
	},
	"newest-user-ek": func(r store.Reader, d *datadriven.TestData, out *strings.Builder) error {
		ek, err := NewestUserEK(r, user(d))
		if ek == nil {
			fmt.Fprintln(out, "none")
		} else {
			fmt.Fprintf(out, "generation %d, %s\n", ek.Generation, ek.Sig)
		}
		return err
	},
	"user-ek-box": func(r store.Reader, d *datadriven.TestData, out *strings.Builder) error {
		b, ek, err := GetUserEKBox(r, user(d), number(d, "n"), device(arg(d, "device")))
		if b != nil && ek == nil {
			return errors.New("a box without its statement")
		}
		if b == nil {
			fmt.Fprintln(out, "none")
		} else {
			fmt.Fprintf(out, "%s, device key %d, statement %s\n", b.Box, b.DeviceEKGeneration, ek.Sig)
		}
		return err
	},
}

// Whatever rolls, new devices and resets there were, each device that has a box walks
// from it to the first generation it lacks, as clients do, and nobody finds a key of
// another account or of an account before its reset.
// client: go/libkb/per_user_key.go:PerUserKeyring.importLocked
func TestEveryDeviceReachesEveryGeneration(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := openStore(t)
		defer s.Close()
		newest, made, devices, life := 0, 0, []string{}, 0
		err := update(s, func(tx *store.Tx) error { // a neighbour, who has everything too
			return PutGeneration(tx, bob, 1, []Box{{Generation: 1, Receiver: receiver("device 0"), Box: "bob's"}}, "")
		})
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			do := rapid.SampledFrom([]string{"roll", "roll", "new device", "revoke", "reset"}).Draw(t, "step")
			made++
			name := fmt.Sprintf("device %d", made)
			err := update(s, func(tx *store.Tx) error {
				switch {
				case newest == 0 || do == "reset":
					newest, life = 0, life+1
					devices = []string{name}
					return putAll(tx, &newest, devices, life)
				case do == "new device":
					devices = append(devices, name)
					PutBox(tx, alice, seed(newest, name, life))
					return nil
				case do == "revoke" && len(devices) > 1:
					devices = devices[1:]
				}
				return putAll(tx, &newest, devices, life)
			})
			if err != nil {
				t.Fatal(err)
			}
			checkSecrets(t, s, newest, devices, life)
		}
	})
}

func seed(generation int, name string, life int) Box {
	return Box{Generation: generation, Receiver: receiver(name), Box: fmt.Sprintf("life %d", life)}
}

func putAll(tx *store.Tx, newest *int, devices []string, life int) error {
	*newest++
	var boxes []Box
	for _, name := range devices {
		boxes = append(boxes, seed(*newest, name, life))
	}
	prev := ""
	if *newest > 1 {
		prev = fmt.Sprintf("life %d", life)
	}
	return PutGeneration(tx, alice, *newest, boxes, prev)
}

func checkSecrets(t *rapid.T, s *store.Store, newest int, devices []string, life int) {
	v := s.View()
	defer v.Close()
	mine := fmt.Sprintf("life %d", life)
	have := rapid.IntRange(-1, newest+1).Draw(t, "have")
	for _, name := range devices {
		box, prevs, err := Secrets(v, alice, newest, have, receiver(name))
		if err != nil {
			t.Fatal(err)
		}
		if have >= newest {
			if box != nil || prevs != nil {
				t.Fatalf("%s is up to date and gets %v, %v", name, box, prevs)
			}
			continue
		}
		if box == nil || box.Generation != newest || box.Receiver != receiver(name) || box.Box != mine {
			t.Fatalf("%s gets the box %+v in %s, newest %d", name, box, mine, newest)
		}
		walk := newest - 1
		for _, p := range prevs {
			if p.Generation != walk || p.Ciphertext != mine || walk <= have {
				t.Fatalf("%s has %d of %d, at %d comes %+v", name, have, newest, walk, p)
			}
			walk--
		}
		if walk != max(have, 0) {
			t.Fatalf("%s has %d and gets no further down than %d", name, have, walk+1)
		}
	}
	// Only the active devices have a box, and only of the newest generation.
	n := 0
	err := v.Scan(keys.PUKBoxes(alice, 0), keys.PUKBoxes(alice, 1<<40), func(_, b []byte) error {
		box, err := store.Decode[Box](b)
		if err == nil && (box.Generation != newest || box.Box != mine) {
			t.Errorf("left behind: %+v", box)
		}
		n++
		return err
	})
	if err != nil || n < len(devices) {
		t.Fatalf("%d boxes, %v", n, err)
	}
}

// A damaged record is an error, not a key that is not there.
func TestDamagedRecordsAreErrors(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	defer s.Close()
	rubbish := []byte{0xc1}
	err := update(s, func(tx *store.Tx) error {
		tx.Set(keys.PUKBox(alice, 2, receiver("a")), rubbish)
		tx.Set(keys.PUKPrev(bob, 2), rubbish)
		tx.Set(keys.DeviceEK(alice, device("a")), rubbish)
		tx.Set(keys.UserEK(alice, 1), rubbish)
		tx.Set(keys.UserEKBox(alice, 1, device("a")), rubbish)
		store.Save(tx, keys.UserEKBox(alice, 1, device("b")), UserEKBox{})
		tx.Set(keys.PrivateKey(alice, receiver("a")), rubbish)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	v := s.View()
	defer v.Close()
	for what, read := range map[string]func() error{
		"box":           func() error { _, _, err := Secrets(v, alice, 2, 1, receiver("a")); return err },
		"prev":          func() error { _, _, err := Secrets(v, bob, 2, 0, receiver("a")); return err },
		"missing prev":  func() error { _, _, err := Secrets(v, bob, 3, 1, receiver("a")); return err },
		"device key":    func() error { _, err := GetDeviceEK(v, alice, device("a")); return err },
		"device keys":   func() error { _, err := DeviceEKs(v, alice); return err },
		"user key":      func() error { _, err := NewestUserEK(v, alice); return err },
		"user key box":  func() error { _, _, err := GetUserEKBox(v, alice, 1, device("a")); return err },
		"its statement": func() error { _, _, err := GetUserEKBox(v, alice, 1, device("b")); return err },
		"private keys":  func() error { _, err := PrivateKeys(v, alice); return err },
		"next user key": func() error {
			return update(s, func(tx *store.Tx) error { return PutUserEK(tx, alice, UserEK{Generation: 2, Sig: "s"}, nil) })
		},
		"next device key": func() error {
			return update(s, func(tx *store.Tx) error {
				return PutDeviceEK(tx, alice, DeviceEK{DeviceID: device("a"), Generation: 2})
			})
		},
	} {
		if err := read(); err == nil || errors.Is(err, ErrNoDeviceEK) || errors.Is(err, ErrBadGeneration) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Old user ephemeral keys go with their boxes; the newest userEKsKept stay whole.
func TestOldUserEKsGo(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	defer s.Close()
	const last = userEKsKept + 5
	err := update(s, func(tx *store.Tx) error {
		if err := PutDeviceEK(tx, alice, DeviceEK{DeviceID: device("a"), Generation: 1}); err != nil {
			return err
		}
		for n := 1; n <= last; n++ {
			if err := PutUserEK(tx, alice, UserEK{Generation: n, Sig: fmt.Sprint("sig ", n)}, []UserEKBox{userEKBox("a:1")}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	v := s.View()
	defer v.Close()
	for n := 1; n <= last; n++ {
		b, ek, err := GetUserEKBox(v, alice, n, device("a"))
		if err != nil || (b != nil) != (n > last-userEKsKept) || ek != nil && ek.Generation != n {
			t.Errorf("generation %d: %v, %v, %v", n, b, ek, err)
		}
	}
	for _, lo := range [][]byte{keys.UserEKs(alice), keys.UserEKBoxes(alice, 1), keys.UserEKBoxes(alice, 5)} {
		n := 0
		if err := v.Scan(lo, keys.End(lo), func(_, _ []byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: userEKsKept}[slices.Equal(lo, keys.UserEKs(alice))]; n != want {
			t.Errorf("%d records under %x, not %d", n, lo, want)
		}
	}
}

// Synced secret keys are listed for their owner alone.
func TestPrivateKeys(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	defer s.Close()
	want := []PrivateKey{{KID: receiver("a"), Bundle: "one", CTime: 1, MTime: 2}, {KID: receiver("b"), Bundle: "two"}}
	err := update(s, func(tx *store.Tx) error {
		for _, p := range want {
			store.Save(tx, keys.PrivateKey(alice, p.KID), p)
		}
		store.Save(tx, keys.PrivateKey(bob, receiver("a")), PrivateKey{Bundle: "bob's"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	v := s.View()
	defer v.Close()
	if got, err := PrivateKeys(v, alice); err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := PrivateKeys(v, users("nobody")); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
