package kbsig

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

// allocatedMax is what n bytes from outside may make a parser allocate.
func allocatedMax(n int) uint64 { return 64*uint64(n) + 1<<20 }

// frugal runs parse on n bytes from outside, and fails if that allocates more than it may.
func frugal(t *testing.T, n int, parse func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	parse()
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > allocatedMax(n) {
		t.Fatalf("%d bytes allocated for %d", spent, n)
	}
}

// textID is a parser of an identity; text is what the parsed one is written as.
type textID struct {
	name  string
	parse func(string) (text string, err error)
}

var textIDs = []textID{
	{"KID", func(s string) (string, error) { k, err := ParseKID(s); return k.String(), err }},
	{"UID", func(s string) (string, error) { u, err := ParseUID(s); return u.String(), err }},
	{"device id", func(s string) (string, error) { d, err := ParseDeviceID(s); return d.String(), err }},
	{"link id", func(s string) (string, error) { l, err := ParseLinkID(s); return l.String(), err }},
	{"signature id without suffix", func(s string) (string, error) { b, err := ParseSigIDBase(s); return b.String(), err }},
	{"root hash", func(s string) (string, error) { h, err := ParseHashMeta(s); return h.String(), err }},
	{"node hash", func(s string) (string, error) { h, err := ParseNodeHash(s); return h.String(), err }},
	{"team id", func(s string) (string, error) { i, err := ParseTeamID(s); return i.String(), err }},
	{"invite id", func(s string) (string, error) { i, err := ParseInviteID(s); return i.String(), err }},
}

// FuzzIDs proves that each identity has one spelling, in which it is written again; that
// a signature id is its base with one of two suffixes, and a user name one in lower case;
// that whatever else comes is refused as an id; and that none of it costs more memory than
// its length allows.
func FuzzIDs(f *testing.F) {
	kid := KIDOfPrivate(testKey("a")).String()
	hash := strings.Repeat("0a", 32)
	for _, s := range []string{
		kid, strings.ToUpper(kid), kid[:68], kid + "00", "0120" + strings.Repeat("0", 66), "0121" + hash + "0a",
		UIDOf("alice").String(), hash[:30] + "18", hash[:30] + "24", hash[:30] + "27", hash, hash + "0f", hash + "22", hash + hash,
		"alice", "Alice_9", "a__b", "_a", "", "\x00", "é", strings.Repeat("a", 1<<16),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		frugal(t, len(s), func() {
			for _, id := range textIDs {
				text, err := id.parse(s)
				if err == nil && text != s {
					t.Fatalf("%s: %q is taken and written %q", id.name, s, text)
				}
				if err != nil && !errors.Is(err, ErrBadID) {
					t.Fatalf("%s: refused as something else: %v", id.name, err)
				}
			}
			if b, err := ParseSigID(s); err == nil && b.String() != s[:64] {
				t.Fatalf("signature id %q has base %s", s, b)
			}
			if n, err := ParseUsername(s); err == nil && (string(n) != strings.ToLower(s) || UIDOf(n) != UIDOf(Username(s))) {
				t.Fatalf("user name %q is taken as %q", s, n)
			}
			if k, err := ParseKID(s); err == nil {
				if again, err := KIDFromBytes(k[:]); err != nil || again != k || k.IsSigning() && k.IsEncryption() {
					t.Fatalf("key id %q in bytes: %v, %v", s, again, err)
				}
			}
		})
	})
}
