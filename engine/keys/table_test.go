package keys

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
)

// parts is everything that a key may be made of.
type parts struct {
	u, other   kbsig.UID
	dev        kbsig.DeviceID
	kid        kbsig.KID
	n          kbsig.Seqno
	generation int
	h32        [32]byte
	h19        [19]byte
	h20        [20]byte
	id16       [16]byte
	folder     byte
	name       string
}

// drawParts takes each part from few values, so that two draws often share some; the
// values differ at either end and hold the bytes that carries and ends are made of.
func drawParts(t *rapid.T, label string) parts {
	fill := func(b []byte, name string) {
		v := rapid.SampledFrom([]byte{0, 1, 0xfe, 0xff})
		for i := range b {
			b[i] = 0xff
		}
		b[0], b[len(b)-1] = v.Draw(t, label+name+" first"), v.Draw(t, label+name+" last")
	}
	var p parts
	fill(p.u[:], "uid")
	fill(p.other[:], "other")
	fill(p.dev[:], "device")
	fill(p.kid[:], "kid")
	fill(p.h32[:], "hash")
	fill(p.h19[:], "short hash")
	fill(p.h20[:], "fingerprint")
	fill(p.id16[:], "id")
	p.n = kbsig.Seqno(rapid.SampledFrom([]int64{0, 1, 255, 256, 1 << 32, 1<<63 - 1}).Draw(t, label+"seqno"))
	p.generation = rapid.SampledFrom([]int{0, 1, 2, 255, 256, 1 << 31}).Draw(t, label+"generation")
	p.folder = rapid.SampledFrom([]byte{0, 1, 2, 0xff}).Draw(t, label+"folder type")
	p.name = rapid.SampledFrom([]string{"a", "a\x00", "aa", "b", "\xff", "\xff\xff"}).Draw(t, label+"name")
	return p
}

// row is one constructor. fields are the parts of its key in order: []byte and
// string as they are, int64 ascending, newestFirst descending.
type row struct {
	name   string
	prefix uint16 // one byte, or a room's two, as two makes them
	key    func(p parts) []byte
	fields func(p parts) []any
	// decode reports whether k decodes to the fields of p; nil if the key has no
	// decoder, because its value says what it is about.
	decode func(k []byte, p parts) bool
}

type newestFirst int64

// two is the prefix of a family whose room has a byte of its own.
func two(prefix string) uint16 { return uint16(prefix[0])<<8 | uint16(prefix[1]) }

// prefixOf is the prefix of the family that k is of.
func prefixOf(k []byte) uint16 {
	if k[0] == roomTeams {
		return two(string(k[:2]))
	}
	return uint16(k[0])
}

func prefixText(p uint16) string {
	if p > 0xff {
		return string([]byte{byte(p >> 8), byte(p)})
	}
	return string([]byte{byte(p)})
}

func uid(p parts) any { return p.u[:] }

func fieldsOf(f ...func(p parts) any) func(p parts) []any {
	return func(p parts) []any {
		var out []any
		for _, f := range f {
			out = append(out, f(p))
		}
		return out
	}
}

func other(p parts) any      { return p.other[:] }
func device(p parts) any     { return p.dev[:] }
func kid(p parts) any        { return p.kid[:] }
func seqno(p parts) any      { return int64(p.n) }
func generation(p parts) any { return int64(p.generation) }
func hash32(p parts) any     { return p.h32[:] }
func id16(p parts) any       { return p.id16[:] }
func newest(p parts) any     { return newestFirst(p.n) }
func name(p parts) any       { return p.name }

// rows are all constructors of whole keys.
var rows = []row{
	{"Meta", 'M', func(p parts) []byte { return Meta(p.name) }, fieldsOf(name), nil},
	{
		"Account", 'A', func(p parts) []byte { return Account(p.u) }, fieldsOf(uid),
		func(k []byte, p parts) bool { u, ok := AccountUID(k); return ok && u == p.u },
	},
	{"Name", 'N', func(p parts) []byte { return Name(kbsig.Username(p.name)) }, fieldsOf(name), nil},
	{"Mail", 'E', func(p parts) []byte { return Mail(p.name) }, fieldsOf(name), nil},
	{"Contact", 'C', func(p parts) []byte { return Contact(p.u) }, fieldsOf(uid), nil},
	{"MailClaims", 'm', func(p parts) []byte { return MailClaims(p.h32) }, fieldsOf(hash32), nil},
	{"PhoneOwner", 'n', func(p parts) []byte { return PhoneOwner(p.name) }, fieldsOf(name), nil},
	{
		"Device", 'D', func(p parts) []byte { return Device(p.u, p.dev) }, fieldsOf(uid, device),
		func(k []byte, p parts) bool { d, ok := DeviceOf(k); return ok && d == p.dev },
	},
	{"ActiveDevice", 'd', func(p parts) []byte { return ActiveDevice(p.u, p.dev) }, fieldsOf(uid, device), nil},
	{
		"Session", 'S', func(p parts) []byte { return Session(p.h32) }, fieldsOf(hash32),
		func(k []byte, p parts) bool { h, ok := SessionOf(k); return ok && h == p.h32 },
	},
	{
		"UserSession", 'Y', func(p parts) []byte { return UserSession(p.u, p.h32) }, fieldsOf(uid, hash32),
		func(k []byte, p parts) bool { h, ok := UserSessionOf(k); return ok && h == p.h32 },
	},
	{"Lockdown", 'K', func(p parts) []byte { return Lockdown(p.u) }, fieldsOf(uid), nil},
	{"NIST", 'T', func(p parts) []byte { return NIST(p.h19) }, fieldsOf(func(p parts) any { return p.h19[:] }), nil},
	{
		"Invitation", 'I', func(p parts) []byte { return Invitation(p.h32) }, fieldsOf(hash32),
		func(k []byte, p parts) bool { h, ok := InvitationOf(k); return ok && h == p.h32 },
	},
	{
		"Link", 'c', func(p parts) []byte { return Link(p.u, p.n) }, fieldsOf(uid, seqno),
		func(k []byte, p parts) bool { u, n, ok := LinkOf(k); return ok && u == p.u && n == p.n },
	},
	{"Chain", 's', func(p parts) []byte { return Chain(p.u) }, fieldsOf(uid), nil},
	{"KIDOwner", 'k', func(p parts) []byte { return KIDOwner(p.kid) }, fieldsOf(kid), nil},
	{"SigID", 'g', func(p parts) []byte { return SigID(kbsig.SigIDBase(p.h32)) }, fieldsOf(hash32), nil},
	{
		"Follow", 'f', func(p parts) []byte { return Follow(p.u, p.other) }, fieldsOf(uid, other),
		func(k []byte, p parts) bool { u, ok := OtherUser(k); return ok && u == p.other },
	},
	{
		"Follower", 'F', func(p parts) []byte { return Follower(p.u, p.other) }, fieldsOf(uid, other),
		func(k []byte, p parts) bool { u, ok := OtherUser(k); return ok && u == p.other },
	},
	{
		"Reset", 'R', func(p parts) []byte { return Reset(p.u, p.n) }, fieldsOf(uid, seqno),
		func(k []byte, p parts) bool { u, n, ok := ResetOf(k); return ok && u == p.u && n == p.n },
	},
	{
		"Vouch", 'Z', func(p parts) []byte { return Vouch(p.u, VouchFor, p.other) }, fieldsOf(uid, other),
		func(k []byte, p parts) bool {
			u, side, o, ok := VouchOf(k)
			return ok && u == p.u && side == VouchFor && o == p.other
		},
	},
	{"Autoreset", 'W', func(p parts) []byte { return Autoreset(p.u) }, fieldsOf(uid), nil},
	{"Lease", 'L', func(p parts) []byte { return Lease(p.u, p.id16) }, fieldsOf(uid, id16), nil},
	{
		"PGPFinger", 'P', func(p parts) []byte { return PGPFinger(p.h20, p.kid, p.u) },
		fieldsOf(func(p parts) any { return p.h20[:] }, kid, uid),
		func(k []byte, p parts) bool {
			f, kid, u, ok := PGPFingerOf(k)
			return ok && f == p.h20 && kid == p.kid && u == p.u
		},
	},
	{"PrivateKey", 'v', func(p parts) []byte { return PrivateKey(p.u, p.kid) }, fieldsOf(uid, kid), nil},
	{
		"Favorite", 'a', func(p parts) []byte { return Favorite(p.u, p.folder, p.name) },
		fieldsOf(uid, func(p parts) any { return int64(p.folder) }, name),
		func(k []byte, p parts) bool { t, n, ok := FavoriteOf(k); return ok && t == p.folder && n == p.name },
	},
	{
		"PUKBox", 'b', func(p parts) []byte { return PUKBox(p.u, p.generation, p.kid) },
		fieldsOf(uid, generation, kid), nil,
	},
	{"PUKPrev", 'p', func(p parts) []byte { return PUKPrev(p.u, p.generation) }, fieldsOf(uid, generation), nil},
	{"DeviceEK", 'x', func(p parts) []byte { return DeviceEK(p.u, p.dev) }, fieldsOf(uid, device), nil},
	{"UserEK", 'y', func(p parts) []byte { return UserEK(p.u, p.generation) }, fieldsOf(uid, generation), nil},
	{
		"UserEKBox", 'z', func(p parts) []byte { return UserEKBox(p.u, p.generation, p.dev) },
		fieldsOf(uid, generation, device), nil,
	},
	{"Proof", 'w', func(p parts) []byte { return Proof(p.u, kbsig.SigIDBase(p.h32)) }, fieldsOf(uid, hash32), nil},
	{
		"ProofOwner", 'O', func(p parts) []byte { return ProofOwner(p.h32, p.u) }, fieldsOf(hash32, uid),
		func(k []byte, p parts) bool { h, u, ok := ProofOwnerOf(k); return ok && h == p.h32 && u == p.u },
	},
	{"Kit", 'U', func(p parts) []byte { return Kit(p.h32) }, fieldsOf(hash32), nil},
	{
		"Post", '7', func(p parts) []byte { return Post(p.h32, p.id16) }, fieldsOf(hash32, id16),
		func(k []byte, p parts) bool { h, id, ok := PostOf(k); return ok && h == p.h32 && id == p.id16 },
	},
	{
		"Gregor", 'q', func(p parts) []byte { return Gregor(p.u, []byte(p.name)) }, fieldsOf(uid, name),
		func(k []byte, p parts) bool { u, m, ok := GregorOf(k); return ok && u == p.u && string(m) == p.name },
	},
	{"GregorSum", 0x05, func(p parts) []byte { return GregorSum(p.u) }, fieldsOf(uid), nil},
	{
		"GregorPlace", 0x06, func(p parts) []byte { return GregorPlace(p.u, p.folder, [8]byte(p.h32[:8]), int64(p.n)) },
		fieldsOf(uid, func(p parts) any { return []byte{p.folder} }, func(p parts) any { return p.h32[:8] }, seqno),
		func(k []byte, p parts) bool {
			u, o, g, n, ok := GregorPlaceOf(k)
			return ok && u == p.u && o == p.folder && g == [8]byte(p.h32[:8]) && n == int64(p.n)
		},
	},
	{"PushToken", 'Q', func(p parts) []byte { return PushToken(p.u, p.dev) }, fieldsOf(uid, device), nil},
	{
		"Announcement", 0x01, func(p parts) []byte { return Announcement(int64(p.n)) }, fieldsOf(seqno),
		func(k []byte, p parts) bool { n, ok := AnnouncementOf(k); return ok && n == int64(p.n) },
	},
	{
		"Event", 'G', func(p parts) []byte { return Event(int64(p.n)) }, fieldsOf(seqno),
		func(k []byte, p parts) bool { n, ok := EventNumber(k); return ok && n == int64(p.n) },
	},
	{
		"EventCursor", 'V', func(p parts) []byte { return EventCursor(p.name) }, fieldsOf(name),
		func(k []byte, p parts) bool {
			c, ok := EventCursorOf(k)
			// The shorter keys are those of other names.
			return ok && c == p.name
		},
	},
	{
		"Job", 'J', func(p parts) []byte { return Job(p.id16, p.name) }, fieldsOf(id16, name),
		func(k []byte, p parts) bool { kind, n, ok := JobOf(k); return ok && kind == p.id16 && n == p.name },
	},
	{
		"DueJob", 'H', func(p parts) []byte { return DueJob(p.id16, int64(p.n), p.name) }, fieldsOf(id16, seqno, name),
		func(k []byte, p parts) bool {
			kind, at, n, ok := DueJobOf(k)
			return ok && kind == p.id16 && at == int64(p.n) && n == p.name
		},
	},
	{
		"Root", 'r', func(p parts) []byte { return Root(p.n) }, fieldsOf(seqno),
		func(k []byte, p parts) bool { n, ok := RootSeqno(k); return ok && n == p.n },
	},
	{
		"RootHash", 'h', func(p parts) []byte { return RootHash(kbsig.HashMeta(p.h32)) }, fieldsOf(hash32),
		func(k []byte, p parts) bool { h, ok := RootHashOf(k); return ok && h == kbsig.HashMeta(p.h32) },
	},
	{
		"Changes", 'o', func(p parts) []byte { return Changes(p.n) }, fieldsOf(seqno),
		func(k []byte, p parts) bool { n, ok := ChangesSeqno(k); return ok && n == p.n },
	},
	{
		"Leaf", 'l', func(p parts) []byte { return Leaf(TreeMain, p.id16[:], p.n) }, fieldsOf(id16, newest),
		func(k []byte, p parts) bool {
			t, id, n, ok := LeafOf(k)
			return ok && t == TreeMain && bytes.Equal(id, p.id16[:]) && n == p.n
		},
	},
	{
		"Node", 'e', func(p parts) []byte { return Node(TreeMain, 32, p.id16[:], p.n) }, fieldsOf(id16, newest),
		func(k []byte, p parts) bool {
			t, depth, id, n, ok := NodeOf(k)
			return ok && t == TreeMain && depth == 32 && bytes.Equal(id, p.id16[:]) && n == p.n
		},
	},
}

// rangeOf is a constructor of a prefix: which keys it holds, and how many of the keys'
// fields the prefix fixes.
type rangeOf struct {
	of     string
	fields int
	prefix func(p parts) []byte
}

// ranges are the constructors of prefixes.
var ranges = map[string]rangeOf{
	"Accounts":        {"Account", 0, func(parts) []byte { return Accounts() }},
	"Devices":         {"Device", 1, func(p parts) []byte { return Devices(p.u) }},
	"Sessions":        {"Session", 0, func(parts) []byte { return Sessions() }},
	"UserSessions":    {"UserSession", 1, func(p parts) []byte { return UserSessions(p.u) }},
	"NISTs":           {"NIST", 0, func(parts) []byte { return NISTs() }},
	"Invitations":     {"Invitation", 0, func(parts) []byte { return Invitations() }},
	"InvitationsFrom": {"Invitation", 1, func(p parts) []byte { return InvitationsFrom(p.h32[:]) }},
	"AllLinks":        {"Link", 0, func(parts) []byte { return AllLinks() }},
	"Links":           {"Link", 1, func(p parts) []byte { return Links(p.u) }},
	"Follows":         {"Follow", 1, func(p parts) []byte { return Follows(p.u) }},
	"Followers":       {"Follower", 1, func(p parts) []byte { return Followers(p.u) }},
	"Resets":          {"Reset", 1, func(p parts) []byte { return Resets(p.u) }},
	"Autoresets":      {"Autoreset", 0, func(parts) []byte { return Autoresets() }},
	"ActiveDevices":   {"ActiveDevice", 1, func(p parts) []byte { return ActiveDevices(p.u) }},
	"PUKBoxesOf":      {"PUKBox", 1, func(p parts) []byte { return PUKBoxesOf(p.u) }},
	"PUKPrevs":        {"PUKPrev", 1, func(p parts) []byte { return PUKPrevs(p.u) }},
	"UserEKBoxesOf":   {"UserEKBox", 1, func(p parts) []byte { return UserEKBoxesOf(p.u) }},
	"Vouches":         {"Vouch", 1, func(p parts) []byte { return Vouches(p.u, VouchFor) }},
	"Leases":          {"Lease", 1, func(p parts) []byte { return Leases(p.u) }},
	"PGPFingers":      {"PGPFinger", 1, func(p parts) []byte { return PGPFingers(p.h20[:]) }},
	"PrivateKeys":     {"PrivateKey", 1, func(p parts) []byte { return PrivateKeys(p.u) }},
	"Favorites":       {"Favorite", 1, func(p parts) []byte { return Favorites(p.u) }},
	"PUKBoxes":        {"PUKBox", 2, func(p parts) []byte { return PUKBoxes(p.u, p.generation) }},
	"DeviceEKs":       {"DeviceEK", 1, func(p parts) []byte { return DeviceEKs(p.u) }},
	"UserEKs":         {"UserEK", 1, func(p parts) []byte { return UserEKs(p.u) }},
	"UserEKBoxes":     {"UserEKBox", 2, func(p parts) []byte { return UserEKBoxes(p.u, p.generation) }},
	"Jobs":            {"Job", 0, func(parts) []byte { return Jobs() }},
	"JobsOf":          {"Job", 1, func(p parts) []byte { return JobsOf(p.id16) }},
	"DueJobs":         {"DueJob", 1, func(p parts) []byte { return DueJobs(p.id16) }},
	"Proofs":          {"Proof", 1, func(p parts) []byte { return Proofs(p.u) }},
	"ProofOwners":     {"ProofOwner", 1, func(p parts) []byte { return ProofOwners(p.h32) }},
	"Posts":           {"Post", 1, func(p parts) []byte { return Posts(p.h32) }},
	"Gregors":         {"Gregor", 1, func(p parts) []byte { return Gregors(p.u) }},
	"GregorPlaces":    {"GregorPlace", 1, func(p parts) []byte { return GregorPlaces(p.u) }},
	"GregorOrder":     {"GregorPlace", 2, func(p parts) []byte { return GregorOrder(p.u, p.folder) }},
	"GregorGroup":     {"GregorPlace", 3, func(p parts) []byte { return GregorGroup(p.u, p.folder, [8]byte(p.h32[:8])) }},
	"PushTokens":      {"PushToken", 1, func(p parts) []byte { return PushTokens(p.u) }},
	"Announcements":   {"Announcement", 0, func(parts) []byte { return Announcements() }},
	"Events":          {"Event", 0, func(parts) []byte { return Events() }},
	"EventCursors":    {"EventCursor", 0, func(parts) []byte { return EventCursors() }},
	"Roots":           {"Root", 0, func(parts) []byte { return Roots() }},
	"AllChanges":      {"Changes", 0, func(parts) []byte { return AllChanges() }},
	"Leaves":          {"Leaf", 0, func(parts) []byte { return Leaves(TreeMain) }},
	"LeafVersions":    {"Leaf", 1, func(p parts) []byte { return LeafVersions(TreeMain, p.id16[:]) }},
	"Nodes":           {"Node", 0, func(parts) []byte { return Nodes(TreeMain) }},
	"NodeVersions":    {"Node", 1, func(p parts) []byte { return NodeVersions(TreeMain, 32, p.id16[:]) }},
}

// compareFields orders keys as the package comment says that they are ordered.
func compareFields(a, b []any) int {
	for i := range a {
		c := 0
		switch x := a[i].(type) {
		case []byte:
			c = bytes.Compare(x, b[i].([]byte))
		case string:
			c = strings.Compare(x, b[i].(string))
		case int64:
			c = cmp.Compare(x, b[i].(int64))
		case newestFirst:
			c = cmp.Compare(b[i].(newestFirst), x)
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// Keys of one family sort by their parts, so that different parts give different
// keys; each key decodes to its parts, and nothing else decodes as one.
func TestRows(t *testing.T) {
	for _, r := range rows {
		t.Run(r.name, rapid.MakeCheck(func(t *rapid.T) {
			a, b := drawParts(t, "a "), drawParts(t, "b ")
			ka, kb := r.key(a), r.key(b)
			if prefixOf(ka) != r.prefix {
				t.Fatalf("key %x does not begin with %s", ka, prefixText(r.prefix))
			}
			if got, want := bytes.Compare(ka, kb), compareFields(r.fields(a), r.fields(b)); got != want {
				t.Fatalf("%x and %x compare as %d, their parts as %d", ka, kb, got, want)
			}
			if r.decode == nil {
				return
			}
			if !r.decode(ka, a) {
				t.Fatalf("%x does not decode to its parts", ka)
			}
			for _, s := range rows {
				if k := s.key(b); s.prefix != r.prefix && r.decode(k, b) && !bothFollow(r, s) {
					t.Fatalf("%s reads %x, a key of %s", r.name, k, s.name)
				}
			}
			if r.decode(append([]byte{ka[0]}, ka[2:]...), a) || r.decode(nil, a) || r.decode(ka[:1], a) {
				t.Fatalf("%s reads what is no key", r.name)
			}
		}))
	}
}

// bothFollow: the two families of follows share a decoder.
func bothFollow(r, s row) bool {
	return strings.HasPrefix(r.name, "Follow") && strings.HasPrefix(s.name, "Follow")
}

// A range holds exactly the keys that share the parts which it fixes: it begins at
// its prefix and ends at the prefix's End.
func TestRanges(t *testing.T) {
	byName := make(map[string]row)
	for _, r := range rows {
		byName[r.name] = r
	}
	for name, rg := range ranges {
		r := byName[rg.of]
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			a, b := drawParts(t, "a "), drawParts(t, "b ")
			lo, k := rg.prefix(a), r.key(b)
			hi := End(lo)
			inside := bytes.Compare(k, lo) >= 0 && (hi == nil || bytes.Compare(k, hi) < 0)
			want := compareFields(r.fields(a)[:rg.fields], r.fields(b)[:rg.fields]) == 0
			if inside != want {
				t.Fatalf("%x between %x and %x: %v", k, lo, hi, inside)
			}
		}))
	}
}

// End is the smallest key that follows all keys with a prefix.
func TestEnd(t *testing.T) {
	for in, want := range map[string]string{
		"a": "b", "ab": "ac", "a\xff": "b", "a\xff\xff": "b", "a\x00": "a\x01", "\xfe\xff": "\xff",
	} {
		if got := End([]byte(in)); string(got) != want {
			t.Errorf("after %q comes %q, not %q", in, got, want)
		}
	}
	for _, in := range []string{"", "\xff", "\xff\xff"} {
		if got := End([]byte(in)); got != nil {
			t.Errorf("after %q comes %q, not nothing", in, got)
		}
	}
	in := []byte("a\xff")
	End(in)
	if string(in) != "a\xff" {
		t.Error("End changed its argument")
	}
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xfe, 0xff}), 0, 5)
		prefix, k := alphabet.Draw(t, "prefix"), alphabet.Draw(t, "key")
		end := End(prefix)
		inside := bytes.Compare(k, prefix) >= 0 && (end == nil || bytes.Compare(k, end) < 0)
		if inside != bytes.HasPrefix(k, prefix) {
			t.Fatalf("%x between %x and %x: %v", k, prefix, end, inside)
		}
	})
}

// source is what the files of the package say.
type source struct {
	doc          string
	prefixes     map[string]uint16 // by constant name
	constructors []string          // exported functions of one []byte
}

func readSource(t *testing.T) source {
	t.Helper()
	s := source{prefixes: map[string]uint16{}}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, e.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			s.doc += f.Doc.Text()
		}
		for _, d := range f.Decls {
			s.read(t, d)
		}
	}
	return s
}

func (s *source) read(t *testing.T, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if out := d.Type.Results; d.Name.IsExported() && out != nil && len(out.List) == 1 {
			if a, ok := out.List[0].Type.(*ast.ArrayType); ok && a.Len == nil && fmt.Sprint(a.Elt) == "byte" {
				s.constructors = append(s.constructors, d.Name.Name)
			}
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(v.Names[0].Name, "prefix") {
				continue
			}
			for i, n := range v.Names {
				lit, ok := v.Values[i].(*ast.BasicLit)
				if !ok {
					t.Errorf("%s is not a literal", n.Name)
					continue
				}
				p, err := strconv.Unquote(lit.Value)
				switch {
				case err != nil || p == "" || p[0] > 0x7e || p[len(p)-1] > 0x7e:
					t.Errorf("%s is %s", n.Name, lit.Value)
				case lit.Kind == token.CHAR && p[0] != roomTeams:
					s.prefixes[n.Name] = uint16(p[0])
				case lit.Kind == token.STRING && len(p) == 2 && p[0] == roomTeams:
					s.prefixes[n.Name] = two(p)
				default:
					t.Errorf("%s is %s", n.Name, lit.Value)
				}
			}
		}
	}
}

var tableRow = regexp.MustCompile(`(?m)^\s(\S{1,2}|0x[0-9a-f]{2})  +(\S.*?)   +(\S.*?)   +((?:engine|merklehot|chatlog|kbfsblocks)/\S+)$`)

// The package comment's table and the constants are the same list: each family has
// one prefix, which no other has, and one row.
func TestTable(t *testing.T) {
	s := readSource(t)
	owner := make(map[uint16]string)
	for name, p := range s.prefixes {
		if first, ok := owner[p]; ok {
			t.Errorf("%s and %s are both %s", first, name, prefixText(p))
		}
		owner[p] = name
	}
	documented := make(map[uint16]bool)
	for _, m := range tableRow.FindAllStringSubmatch(s.doc, -1) {
		p := uint16(m[1][0])
		if hex, ok := strings.CutPrefix(m[1], "0x"); ok {
			n, err := strconv.ParseUint(hex, 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			p = uint16(n)
		} else if len(m[1]) == 2 {
			p = two(m[1])
		}
		if documented[p] {
			t.Errorf("the table has two rows of %s", m[1])
		}
		documented[p] = true
		if owner[p] == "" {
			t.Errorf("the table has a row of %s, which no constant has", m[1])
		}
	}
	for p, name := range owner {
		if !documented[p] {
			t.Errorf("%s %s has no row in the package comment", name, prefixText(p))
		}
	}
	if len(owner) < 25 {
		t.Errorf("found only %d families", len(owner))
	}
}

// The tests above know every constructor, and every family has one.
func TestNothingIsForgotten(t *testing.T) {
	s := readSource(t)
	known := map[string]bool{"End": true}
	families := make(map[uint16]bool)
	for _, r := range rows {
		known[r.name] = true
		families[r.prefix] = true
	}
	for name := range ranges {
		known[name] = true
	}
	for _, name := range s.constructors {
		if !known[name] && !strings.HasPrefix(name, "Append") {
			t.Errorf("%s is not in the test's tables", name)
		}
		delete(known, name)
	}
	for name := range known {
		t.Errorf("%s is in the test's tables and not in the package", name)
	}
	for name, p := range s.prefixes {
		if !families[p] {
			t.Errorf("%s has no constructor in the test's table", name)
		}
	}
	if len(families) != len(s.prefixes) {
		t.Errorf("%d families in the test, %d in the package: %x", len(families), len(s.prefixes), slices.Sorted(maps.Keys(families)))
	}
}

// What appends a key appends the same bytes as its constructor returns, and leaves
// what was there.
func TestAppend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawParts(t, "")
		before := []byte("before")
		depth := rapid.IntRange(0, 32).Draw(t, "depth")
		if got, want := AppendLeaf(before, TreeMain, p.id16[:], p.n), "before"+string(Leaf(TreeMain, p.id16[:], p.n)); string(got) != want {
			t.Fatalf("%x, not %x", got, want)
		}
		if got, want := AppendNode(before, TreeMain, depth, p.id16[:], p.n), "before"+string(Node(TreeMain, depth, p.id16[:], p.n)); string(got) != want {
			t.Fatalf("%x, not %x", got, want)
		}
	})
}

// Bytes that are no key of a family are refused, whatever they are.
func FuzzDecoders(f *testing.F) {
	for _, r := range rows {
		f.Add(r.key(parts{name: "x"}))
	}
	f.Fuzz(func(t *testing.T, k []byte) {
		if u, ok := AccountUID(k); ok && !bytes.Equal(Account(u), k) {
			t.Error("accepted another account key")
		}
		if d, ok := DeviceOf(k); ok && !bytes.Equal(Device(kbsig.UID(k[1:17]), d), k) {
			t.Error("accepted another device key")
		}
		if u, n, ok := LinkOf(k); ok && !bytes.Equal(Link(u, n), k) {
			t.Error("accepted another link key")
		}
		if u, ok := OtherUser(k); ok && !bytes.Equal(Follow(kbsig.UID(k[1:17]), u), k) && !bytes.Equal(Follower(kbsig.UID(k[1:17]), u), k) {
			t.Error("accepted another follow key")
		}
		if typ, name, ok := FavoriteOf(k); ok && !bytes.Equal(Favorite(kbsig.UID(k[1:17]), typ, name), k) {
			t.Error("accepted another favourite key")
		}
		if u, m, ok := GregorOf(k); ok && !bytes.Equal(Gregor(u, m), k) {
			t.Error("accepted another message key")
		}
		if u, o, g, n, ok := GregorPlaceOf(k); ok && !bytes.Equal(GregorPlace(u, o, g, n), k) {
			t.Error("accepted another place of a message")
		}
		if h, ok := InvitationOf(k); ok && !bytes.Equal(Invitation(h), k) {
			t.Error("accepted another invitation key")
		}
		if n, ok := ChangesSeqno(k); ok && !bytes.Equal(Changes(n), k) {
			t.Error("accepted another key of changes")
		}
	})
}
