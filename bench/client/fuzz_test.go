package client

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// What the packet decoder takes, it writes again byte for byte.
func FuzzPacket(f *testing.F) {
	key := NewSigningKey(Seed{1})
	p := SignPacket(key, []byte("payload"))
	f.Add(p.Encode())
	p.NoHash = true
	f.Add(p.Encode())
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePacket(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), b) {
			t.Fatalf("%x became %x", b, p.Encode())
		}
		_, _ = p.Verify()
	})
}

// The msgpack decoder takes anything without panic and without allocating by a
// count that it was merely told.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte{0x93, 0x01, 0xc4, 0x01, 0xff, 0xa1, 'x'})
	f.Add([]byte{0xdc, 0xff, 0xff})
	f.Add([]byte{0xc6, 0x7f, 0xff, 0xff, 0xff})
	f.Add(bytes.Repeat([]byte{0x91}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := unpack(b)
		if err != nil {
			return
		}
		if o, err := outerFrom(v); err == nil {
			_ = o.Encode()
		}
	})
}

// A served link either breaks a rule or is whole: it has a number, an owner and a
// signature id.
func FuzzEntry(f *testing.F) {
	s := &LinkSpec{
		Type: "untrack", Version: 2, UID: UIDOf("alice"), Username: "alice", Signer: NewSigningKey(Seed{1}), Eldest: NewSigningKey(Seed{1}).KID(),
		Seqno: 2, Prev: LinkID{1}, Ctime: 5, Root: &Root{Seqno: 1, Ctime: 1},
		Body: map[string]any{"untrack": map[string]any{"id": UIDOf("bob").String(), "basics": map[string]any{"username": "bob"}}},
	}
	for _, version := range []int{1, 2} {
		s.Version = version
		l, err := BuildLink(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(mustJSON(l.Entry())))
		if l.Outer != nil {
			f.Add([]byte(mustJSON(map[string]any{"s2": b64(l.Outer)})))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseEntry("a fuzzed link", b)
		if err != nil {
			return
		}
		if l.ID.IsZero() || (!l.Stubbed && (l.Seqno < 1 || l.Signer.IsZero() || l.SigID == SigIDBase{})) {
			t.Fatalf("half a link: %+v", l)
		}
	})
}

// A root payload that parses has the table that its number demands.
func FuzzRoot(f *testing.F) {
	f.Add(golden(f, "genesis_root.json"))
	var rr rootReply
	if err := json.Unmarshal([]byte(golden(f, "public_root.json")), &rr); err != nil {
		f.Fatal(err)
	}
	f.Add(*rr.Payload)
	f.Fuzz(func(t *testing.T, payload string) {
		r, err := ParseRoot(payload)
		if err == nil && len(r.Skips) != len(SkipTable(r.Seqno)) {
			t.Fatalf("root %d with %d skips", r.Seqno, len(r.Skips))
		}
	})
}

// No path leads from a hash to a value unless its nodes hash to it.
func FuzzPath(f *testing.F) {
	top, leaf := golden(f, "top_node.json"), golden(f, "leaf_node.json")
	f.Add(nodeHashOf(top).String(), vectorUID, top, leaf, "2b")
	f.Add(nodeHashOf(leaf).String(), vectorUID, leaf, top, "")
	f.Fuzz(func(t *testing.T, root, id, a, b, prefix string) {
		steps := []map[string]any{
			{"prefix": prefix, "node": map[string]any{"val": a}}, {"node": map[string]any{"val": b}},
		}
		var path []pathStep
		if err := json.Unmarshal([]byte(mustJSON(steps)), &path); err != nil || !utf8.ValidString(a) {
			return
		}
		value, found, err := verifyPath(root, id, path)
		if err != nil || !found {
			return
		}
		if hashLike(root, a) != root {
			t.Fatal("a path that does not begin at its root")
		}
		_, _ = parseLeaf("a fuzzed leaf", value)
	})
}

// A literal that passes means one thing to JSON and to Go.
func FuzzQuoting(f *testing.F) {
	for _, s := range []string{`"a"`, `"a\/b"`, `"\ud83d\ude00"`, `"\u00e9"`, `"\x41"`, `"\'"`, `"é"`, "\"\n\"", `"\u2028"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := unquoteGo(raw)
		if err != nil {
			return
		}
		if bytes.Contains(raw, []byte(`\/`)) && !bytes.Contains(raw, []byte(`\\/`)) {
			t.Fatalf("%s passed", raw)
		}
		var again string
		if err := json.Unmarshal(raw, &again); err != nil || again != s {
			t.Fatalf("%s means %q and %q", raw, s, again)
		}
	})
}

// Every answer has a frame or is refused.
func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"status":{"code":0,"name":"OK"},"seqno":1}`))
	f.Add([]byte(`{"status":{"code":205,"name":"NOT_FOUND","fields":{"a":"b"}}}`))
	f.Add([]byte(`{"status":{"code":0,"name":"OK"}}{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := readReply("x", body, nil, nil)
		if err == nil && (r.Code != 0 || !json.Valid(body)) {
			t.Fatalf("%s passed", body)
		}
	})
}
