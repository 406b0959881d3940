package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/known"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
)

// soundAddresses holds what is stored of addresses against itself: the index holds exactly
// the verified public ones, and what is verified has one owner who knows it.
func soundAddresses(r store.Reader, users []kbsig.UID) error {
	public, verified := map[string]kbsig.UID{}, map[string]kbsig.UID{}
	for _, u := range users {
		c, err := GetContact(r, u)
		if err != nil {
			return err
		}
		if err := c.PublicAddresses(func(a string) error { public[a] = u; return nil }); err != nil {
			return err
		}
		for _, m := range c.Mails {
			held, err := loadClaims(r, m.Address)
			owner := held.Owner != nil && *held.Owner == u
			switch {
			case err != nil:
				return err
			case owner != (m.Verified != 0):
				return fmt.Errorf("%s of %s: verified %d, but owner %t", m.Address, u, m.Verified, owner)
			case m.Verified == 0 && !slices.Contains(held.Waiting, u):
				return fmt.Errorf("%s of %s: not among those who wait", m.Address, u)
			}
			if m.Verified != 0 {
				if other, taken := verified[NormalMail(m.Address)]; taken {
					return fmt.Errorf("%s is verified by %s and %s", m.Address, u, other)
				}
				verified[NormalMail(m.Address)] = u
			}
		}
		for _, p := range c.Phones {
			o, err := loadPhoneOwner(r, p.Number)
			if err != nil {
				return err
			}
			if owner := o != nil && o.UID == u; owner != (p.Verified != 0) {
				return fmt.Errorf("%s of %s: verified %d, but owner %t", p.Number, u, p.Verified, owner)
			}
		}
	}
	return r.Scan([]byte("E"), []byte("F"), func(k, v []byte) error {
		u, err := store.Decode[kbsig.UID](v)
		if err != nil || public[string(k[1:])] != u {
			return fmt.Errorf("the index leads from %s to %s, who has no such public address: %v", k[1:], u, err)
		}
		delete(public, string(k[1:]))
		return nil
	})
}

// owned is who has verified what, as engine/known speaks of it.
func owned(r store.Reader, users []kbsig.UID) (map[known.Fact]bool, error) {
	out := map[known.Fact]bool{}
	for _, u := range users {
		c, err := GetContact(r, u)
		if err != nil {
			return nil, err
		}
		for _, m := range c.Mails {
			if m.Verified != 0 {
				out[known.Fact{UID: u, Service: known.Mail, Name: NormalMail(m.Address)}] = true
			}
		}
		for _, p := range c.Phones {
			if p.Verified != 0 {
				out[known.Fact{UID: u, Service: known.Phone, Name: p.Number[1:]}] = true
			}
		}
	}
	return out, nil
}

// passedOn are the facts that wait to be passed on.
func passedOn(r store.Reader) (map[known.Fact]bool, error) {
	out := map[known.Fact]bool{}
	var kind [16]byte
	copy(kind[:], "known")
	lo := keys.JobsOf(kind)
	err := r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		rec, err := store.Decode[struct {
			Body []byte `codec:"b"`
		}](v)
		if err != nil {
			return err
		}
		f, err := store.Decode[known.Fact](rec.Body)
		out[f] = true
		return err
	})
	return out, err
}

// addresses is all that is stored of addresses.
func (s *scene) addresses() string {
	var out strings.Builder
	_ = s.read(func(r store.Reader) error {
		for _, family := range []string{"C", "E", "m", "n"} {
			if err := r.Scan([]byte(family), keys.End([]byte(family)), func(k, v []byte) error {
				fmt.Fprintf(&out, "%q: %q\n", k, v)
				return nil
			}); err != nil {
				s.t.Error(err)
			}
		}
		return nil
	})
	return out.String()
}

// TestAddressesStaySound proves by random deeds of three people that the indexes of
// addresses always agree with the lists, that an address has one verified owner, that it is
// passed on whose it has come to be and whose it is no more, and that a deed which is
// refused changes nothing.
func TestAddressesStaySound(t *testing.T) {
	s := newScene(t)
	users := []kbsig.UID{alice, bobby, kbsig.UIDOf("carol")}
	rapid.Check(t, func(rt *rapid.T) {
		s.must(func(tx *store.Tx) error {
			return errors.Join(DropContact(tx, users[0]), DropContact(tx, users[1]), DropContact(tx, users[2]))
		})
		mails := []string{"a@example.org", "A@Example.org", "b@example.org", "nonsense", ""}
		numbers := []string{"+15550000001", "+15550000002", "15550000001", ""}
		codes := map[string]string{}
		for range rapid.IntRange(1, 25).Draw(rt, "deeds") {
			u := rapid.SampledFrom(users).Draw(rt, "user")
			m, n := rapid.SampledFrom(mails).Draw(rt, "mail"), rapid.SampledFrom(numbers).Draw(rt, "number")
			v := Visibility(rapid.IntRange(0, 1).Draw(rt, "visibility"))
			deed := rapid.IntRange(0, 11).Draw(rt, "deed")
			before := s.addresses()
			var had map[known.Fact]bool
			err := s.store.Update(context.Background(), func(tx *store.Tx) (err error) {
				if had, err = owned(tx, users); err != nil {
					return err
				}
				if err := jobs.DropAll(tx, "known", ""); err != nil {
					return err
				}
				switch deed {
				case 0, 1:
					return AddMail(tx, u, m, v)
				case 2:
					return DeleteMail(tx, u, m)
				case 3:
					return SetPrimaryMail(tx, u, m)
				case 4:
					return SetMailVisibility(tx, u, m, v)
				case 5:
					return VerifyMail(tx, u, m)
				case 6:
					_, err := ReplacePrimaryMail(tx, u, m)
					return err
				case 7:
					code, err := AddPhone(tx, s.rand, u, n, v)
					if err == nil {
						codes[u.String()+n] = code
					}
					return err
				case 8:
					_, err := TryPhoneCode(tx, u, n, codes[u.String()+n])
					return err
				case 9:
					return DeletePhone(tx, u, n)
				case 10:
					return SetPhoneVisibility(tx, u, n, v)
				}
				return DropContact(tx, u)
			})
			s.clock.Advance(time.Second)
			if err != nil && s.addresses() != before {
				rt.Fatalf("deed %d was refused (%v) and changed something", deed, err)
			}
			if err := s.read(func(r store.Reader) error {
				has, err := owned(r, users)
				if err != nil {
					return err
				}
				said, err := passedOn(r)
				if err != nil {
					return err
				}
				for _, m := range []map[known.Fact]bool{had, has} {
					for f := range m {
						if had[f] != has[f] && !said[f] {
							return fmt.Errorf("that %s is %s: %t, is not passed on", f.UID, f.Name, has[f])
						}
					}
				}
				return soundAddresses(r, users)
			}); err != nil {
				rt.Fatalf("after deed %d: %v", deed, err)
			}
		}
	})
}

// TestManyClaims proves that an address which many name as theirs stays a bounded record,
// and that who is not remembered with it can verify it all the same.
func TestManyClaims(t *testing.T) {
	s := newScene(t)
	var last kbsig.UID
	for i := range claimsKept + 5 {
		last = kbsig.UIDOf(kbsig.Username(fmt.Sprintf("user%d", i)))
		s.must(func(tx *store.Tx) error { return AddMail(tx, last, "a@example.org", Private) })
	}
	_ = s.read(func(r store.Reader) error {
		who, err := ClaimedBy(r, "A@example.org")
		if len(who) != claimsKept || err != nil {
			t.Errorf("%d claims are remembered, %v", len(who), err)
		}
		return nil
	})
	s.must(func(tx *store.Tx) error { return VerifyMail(tx, last, "a@example.org") })
	_ = s.read(func(r store.Reader) error {
		who, err := ClaimedBy(r, "A@example.org")
		if len(who) != 1 || who[0] != last || err != nil {
			t.Errorf("claimed by %v, %v", who, err)
		}
		return nil
	})
}

// TestBudgets proves that a budget is for one purpose and one day, and that what is too
// much takes nothing.
func TestBudgets(t *testing.T) {
	s := newScene(t)
	spend := func(p Purpose, n int) error {
		return s.do(func(tx *store.Tx) error { return Spend(tx, alice, p, n) })
	}
	for _, tc := range []struct {
		p    Purpose
		n    int
		want error
	}{
		{Invites, InvitesPerDayMax - 1, nil}, {Invites, 2, ErrBudget}, {Invites, 1, nil}, {Invites, 1, ErrBudget},
		{Lookups, LookupsPerDayMax, nil}, {Lookups, 1, ErrBudget}, {Verifies, 1, nil},
	} {
		if err := spend(tc.p, tc.n); !errors.Is(err, tc.want) {
			t.Errorf("%d of %s: %v, not %v", tc.n, tc.p, err, tc.want)
		}
	}
	s.clock.Advance(24 * time.Hour)
	if err := spend(Invites, InvitesPerDayMax); err != nil {
		t.Errorf("the next day: %v", err)
	}
}

// TestPlausibleMail proves what is taken for a mail address: what clients take, and of
// that nothing that could break a mail's head.
func TestPlausibleMail(t *testing.T) {
	for _, good := range []string{"a@b.cc", "a+b@example.org", "o'neil@example.co.uk", "ä@example.org"} {
		if !PlausibleMail(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", "a@b", "@b.cc", "a.cc", "a b@c.dd", "a@b.cc\nBcc: x@y.zz", "a@b.cc,d@e.ff", "<a@b.cc>", strings.Repeat("a", MailBytesMax) + "@b.cc", "a@.", "a@b."} {
		if PlausibleMail(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestDeletionTakesNobodysMail proves that whoever deletes an account takes back what
// waits to be sent to its addresses, but not what waits for others who name the same one.
func TestDeletionTakesNobodysMail(t *testing.T) {
	s := newScene(t)
	const address = "a@example.org"
	alice, mallory := kbsig.UIDOf("alice"), kbsig.UIDOf("mallory")
	waiting := func() (n int) {
		_ = s.read(func(r store.Reader) (err error) {
			n, err = jobs.Count(r, "mail", "", 10)
			return err
		})
		return n
	}
	for _, u := range []kbsig.UID{alice, mallory} {
		s.must(func(tx *store.Tx) error { return AddMail(tx, u, address, Private) })
	}
	s.must(func(tx *store.Tx) error {
		return mail.Send(tx, mail.Message{To: address, Subject: "for alice", Text: "a link"})
	})
	s.must(func(tx *store.Tx) error { return DropContact(tx, mallory) })
	if n := waiting(); n != 1 {
		t.Errorf("%d messages wait after the deletion of somebody else", n)
	}
	s.must(func(tx *store.Tx) error { return DropContact(tx, alice) })
	if n := waiting(); n != 0 {
		t.Errorf("%d messages wait for an account that is deleted", n)
	}
}
