package kbsig

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"testing"
	"time"
)

const workedNIST = "94" + "22" + "01" + "c440" +
	"1bf76f870533aa1b9ed637ccc5c65a2cd732ad161868a0093e428a75ce450f73" +
	"51c752bf3c3f667d26c8ae1ce3ebeeeb0cb1ab809c2e03c0f414cb3a9738f403" +
	"96c4102bd806c97f0e00af1a1fc3328fa76319c4101da747db1c8c009de79a420dd3ab7b18" +
	"ce6b01f2bcce0002db40c410258a9b8387c891555bd7e573a293130bc0"

// The protocol's worked token decodes, verifies under the device's key at its
// time, and its short form names the same hash.
func TestWorkedNIST(t *testing.T) {
	raw := unhex(t, workedNIST)
	n, err := DecodeNIST(base64.StdEncoding.EncodeToString(raw))
	if err != nil || n.Long == nil || n.Web {
		t.Fatal(err)
	}
	l := n.Long
	if l.UID.String() != "2bd806c97f0e00af1a1fc3328fa76319" || l.DeviceID.String() != "1da747db1c8c009de79a420dd3ab7b18" ||
		l.Generated != 1795289788 || l.Lifetime != 187200 || hex.EncodeToString(l.SessionID[:]) != "258a9b8387c891555bd7e573a293130b" || l.OldHash != nil {
		t.Fatalf("%+v", l)
	}
	kid, err := ParseKID("0120759cb0fb2af733bcf3bf2f4e10dbaf2621444781420b89821a3fdb7590b0468f0a")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1795289800, 0)
	if err := l.Verify(kid, now); err != nil {
		t.Fatal(err)
	}
	short := append([]byte{0x93, 34, 2, 0xc4, 19}, n.Hash[:]...)
	s, err := DecodeNIST(base64.StdEncoding.EncodeToString(short))
	if err != nil || s.Long != nil || s.Hash != n.Hash {
		t.Fatal(err)
	}
	for i := range raw {
		m := append([]byte{}, raw...)
		m[i] ^= 1
		got, err := DecodeNIST(base64.StdEncoding.EncodeToString(m))
		if err == nil && got.Long != nil && got.Long.Verify(kid, now) == nil {
			t.Fatalf("byte %d changed", i)
		}
		if got, err := DecodeNIST(base64.StdEncoding.EncodeToString(raw[:i])); err == nil && got.Long != nil {
			t.Fatalf("cut at %d", i)
		}
	}
}

// Tokens are taken for as long as they live and no longer, and each fault has
// the code that clients know.
func TestNISTFaults(t *testing.T) {
	key := testKey("device")
	kid := KIDOfPrivate(key)
	now := time.Unix(1795289788, 0)
	base := NISTLong{UID: UIDOf("alice"), Generated: now.Unix(), Lifetime: 187200}
	base.DeviceID[15] = deviceIDSuffix
	for _, c := range []struct {
		name string
		bend func(*NISTLong)
		at   time.Duration
		want *NISTFault
	}{
		{"fresh", func(*NISTLong) {}, 0, nil},
		{"with an old hash", func(l *NISTLong) { l.OldHash = &NISTHash{1} }, 0, nil},
		{"last second", func(*NISTLong) {}, 187199 * time.Second, nil},
		{"over", func(*NISTLong) {}, 187200 * time.Second, NISTExpired},
		{"clock ahead", func(*NISTLong) {}, -23 * time.Hour, nil},
		{"clock far ahead", func(*NISTLong) {}, -25 * time.Hour, NISTBadClock},
		{"too long", func(l *NISTLong) { l.Lifetime++ }, 0, NISTBadLifetime},
		{"no life", func(l *NISTLong) { l.Lifetime = 0 }, 0, NISTBadLifetime},
		{"not a user", func(l *NISTLong) { l.UID[15] = 0x24 }, 0, NISTBadUID},
		{"not a device", func(l *NISTLong) { l.DeviceID[15] = 0 }, 0, NISTBadDeviceID},
		{"far future", func(l *NISTLong) { l.Generated = nistTimeMax + 1 }, 0, NISTBadCtime},
	} {
		l := base
		c.bend(&l)
		long, short := MintNIST(key, l)
		n, err := DecodeNIST(long)
		if err == nil {
			s, serr := DecodeNIST(short)
			if serr != nil || s.Hash != n.Hash {
				t.Fatalf("%s: short form: %v", c.name, serr)
			}
			err = n.Long.Verify(kid, now.Add(c.at))
		}
		var fault *NISTFault
		errors.As(err, &fault)
		if fault != c.want || (err != nil) != (c.want != nil) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	long, _ := MintNIST(key, base)
	n, err := DecodeNIST(long)
	if err != nil {
		t.Fatal(err)
	}
	var fault *NISTFault
	if err := n.Long.Verify(KIDOfPrivate(testKey("other")), now); !errors.As(err, &fault) || fault != NISTSigCannotVerify {
		t.Error(err)
	}
}

// Password sessions, and other things in the header, are not taken for tokens.
func TestNotNIST(t *testing.T) {
	for _, s := range []string{"", "lgHZIDViZD", "deadbeef", "IgEC", base64.StdEncoding.EncodeToString([]byte{0x93}), "{}", "kyM="} {
		if _, err := DecodeNIST(s); !errors.Is(err, ErrNotNIST) {
			t.Errorf("%q: %v", s, err)
		}
	}
	var fault *NISTFault
	if _, err := DecodeNIST(base64.StdEncoding.EncodeToString([]byte{0x93, 34, 7, 0xc0})); !errors.As(err, &fault) || fault != NISTBadMode {
		t.Error(err)
	}
	web := base64.RawURLEncoding.EncodeToString(append([]byte{0x93, 35, 2, 0xc4, 19}, make([]byte, 19)...))
	if n, err := DecodeNIST(web); err != nil || !n.Web {
		t.Error(err)
	}
}

// Whatever is not a token has a code that clients know, and no key signed it that did not.
func FuzzNIST(f *testing.F) {
	long, short := MintNIST(testKey("d"), NISTLong{Generated: 1, Lifetime: 1})
	f.Add(long)
	f.Add(short)
	f.Add(base64.StdEncoding.EncodeToString(unhex(f, workedNIST)))
	f.Fuzz(func(t *testing.T, s string) {
		var n *NIST
		var err error
		frugal(t, len(s), func() { n, err = DecodeNIST(s) })
		if err != nil {
			var fault *NISTFault
			if !errors.Is(err, ErrNotNIST) && !errors.As(err, &fault) {
				t.Fatalf("no code: %v", err)
			}
			return
		}
		if n.Long != nil && n.Long.Verify(KIDOfPrivate(testKey("nobody")), time.Unix(1795289788, 0)) == nil {
			t.Fatal("verifies under a key that never signed")
		}
	})
}
