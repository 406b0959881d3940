package client

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/keybase/go-codec/codec"
	"pgregory.net/rapid"
)

func golden(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Map(func(r rune) rune {
		if r == ' ' || r == '\n' || r == '\t' {
			return -1
		}
		return r
	}, s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	vectorUID    = "2bd806c97f0e00af1a1fc3328fa76319"
	vectorDevice = "1da747db1c8c009de79a420dd3ab7b18"
	vectorKID    = "0120759cb0fb2af733bcf3bf2f4e10dbaf2621444781420b89821a3fdb7590b0468f0a"
)

// A NIST that a stock client made is rebuilt byte for byte and its signature
// verifies, so that the signed bytes are right.
func TestVectorNIST(t *testing.T) {
	kid, _ := ParseKID(vectorKID)
	n := &NIST{Version: nistVersion, Host: canonicalHost, Generated: 0x6b01f2bc, Lifetime: 187200}
	n.UID, _ = ParseUID(vectorUID)
	n.Device, _ = ParseDeviceID(vectorDevice)
	copy(n.SessionID[:], fromHex(t, "258a9b8387c891555bd7e573a293130b"))
	sig := fromHex(t, `1bf76f870533aa1b9ed637ccc5c65a2cd732ad161868a0093e428a75ce450f73
		51c752bf3c3f667d26c8ae1ce3ebeeeb0cb1ab809c2e03c0f414cb3a9738f403`)
	if !ed25519.Verify(kid.public(), n.signedBytes(kid), sig) {
		t.Error("the stock client's signature should verify")
	}
	n.assemble(sig)
	want := fromHex(t, `942201c440`+hex.EncodeToString(sig)+`96c410`+vectorUID+`c410`+vectorDevice+`
		ce6b01f2bc ce0002db40 c410258a9b8387c891555bd7e573a293130bc0`)
	if !bytes.Equal(n.Long, want) {
		t.Errorf("long form\n%x, not\n%x", n.Long, want)
	}
	sum := sha256.Sum256(want)
	if want := append([]byte{0x93, 0x22, 0x01 + 1, 0xc4, 0x13}, sum[:19]...); !bytes.Equal(n.Short, want) {
		t.Errorf("short form\n%x, not\n%x", n.Short, want)
	}
}

// The inner and outer hashes of links that stock clients made come out as they did
// there.
func TestVectorLinks(t *testing.T) {
	track := golden(t, "track.json")
	inner := sha256.Sum256([]byte(track))
	if got := hex.EncodeToString(inner[:]); got != "2ac28ef4129f508f31e5221a0b691a5035db366fb25491ba9617cdc9f2c50e16" {
		t.Errorf("inner hash %s", got)
	}
	prev, _ := ParseLinkID("7831aaf5d750e9215e10191f8184d17e141d6f897a8961527364734b16861305")
	o := &Outer{Fields: 7, Version: 2, Seqno: 10, Prev: prev[:], Curr: inner[:], Type: typeTrack, SeqType: 1}
	want := fromHex(t, "97020ac420"+prev.String()+"c420"+hex.EncodeToString(inner[:])+"0301c2")
	if !bytes.Equal(o.Encode(), want) {
		t.Errorf("outer %x", o.Encode())
	}
	if got := linkIDOf(want).String(); got != "408fc1ec9399c6ab80623ae4eaaf765f4c91367b2c2405c0c03252d8fd473543" {
		t.Errorf("link id %s", got)
	}
	sigID := SigIDBase(fromHex(t, "2d713ecaef25824732e50865d4e030ffa4db67d8d2f597403418db9d09877476"))
	if sigID.Short() != "LXE-yu8lgkcy5Qhl1OAw_6TbZ9jS9ZdANBjb" {
		t.Errorf("short id %s", sigID.Short())
	}
	if got := linkIDOf([]byte(golden(t, "eldest.json"))).String(); got != "4a63ebe5051ed09fc3d532d5f90380ba35e53fcabaa5c82f4df9b8934534fc8b" {
		t.Errorf("eldest link id %s", got)
	}
	for _, name := range []string{"track.json", "eldest.json"} {
		l := &Link{Payload: golden(t, name), Version: map[string]int{"track.json": 2, "eldest.json": 1}[name]}
		if err := l.readPayload(name); err != nil {
			t.Error(err)
		}
		again, err := canonical(l.body)
		if err != nil || string(again) != l.Payload {
			t.Errorf("%s is not canonical in our encoding", name)
		}
	}
}

// Names map to ids as everywhere, and the worked Merkle nodes and root hash as on
// the wire.
func TestVectorTree(t *testing.T) {
	if UIDOf("Alice").String() != vectorUID || UIDOf("bob").String() != "81b637d8fcd2c6da6359e6963113a119" {
		t.Error("user ids")
	}
	const rootHash = "cf371b530283e27a8f8b17c0bcbb76a38d74d249e9a780374dbabc18dcdce490d300f2c5c91bc9d7461496c42458f29ddd39f2074a3e98e8ea2bd167eeaa2f21"
	top, leaf, prefix := golden(t, "top_node.json"), golden(t, "leaf_node.json"), "2b"
	step := func(prefix *string, val string) pathStep {
		b := mustJSON(map[string]any{"prefix": prefix, "node": map[string]any{"val": val}})
		var s pathStep
		if err := json.Unmarshal([]byte(b), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	value, found, err := verifyPath(rootHash, vectorUID, []pathStep{step(&prefix, top), step(nil, leaf)})
	if err != nil || !found {
		t.Fatalf("worked path: %v, found %v", err, found)
	}
	l, err := parseLeaf("alice", value)
	if err != nil || l.Public.Seqno != 3 || l.Eldest.String() != vectorKID {
		t.Errorf("worked leaf %+v: %v", l, err)
	}
	r, err := ParseRoot(golden(t, "genesis_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	if r.HashMeta.String() != "3db3e7a4c183c0f56a361df9980998c2d4d31585546f02c26e39d7844df19062" {
		t.Errorf("hash meta %s", r.HashMeta)
	}
	if empty := nodeHashOf(`{"tab":{},"type":1}`); empty != r.Node {
		t.Errorf("empty tree %s", empty)
	}
}

// A root that the public service signed in 2019 verifies with the strict decoder.
func TestVectorPublicRoot(t *testing.T) {
	const signer = "01209ec31411b9b287f62630c2486005af27548ba62a59bbc802e656b888991a20230a"
	kid, _ := ParseKID(signer)
	var rr rootReply
	if err := json.Unmarshal([]byte(golden(t, "public_root.json")), &rr); err != nil {
		t.Fatal(err)
	}
	r, err := rr.parse([]KID{kid}, true)
	if err != nil {
		t.Fatal(err)
	}
	if r.HashMeta.String() != "fcaedac1f83bd44afa9b536d119c7936a66c938029c29b7e93d49980029873b1" || len(r.Skips) != 23 {
		t.Errorf("root %s with %d skips", r.HashMeta, len(r.Skips))
	}
}

// The worked skip paths and tables.
func TestVectorSkips(t *testing.T) {
	for _, c := range []struct {
		older, newer Seqno
		want         []Seqno
	}{
		{9, 10, nil}, {8, 12, nil}, {3, 10, []Seqno{6, 4}}, {1, 16, []Seqno{8, 4, 2}}, {100, 1000, []Seqno{488, 232, 104}},
	} {
		if got := SkipPath(c.older, c.newer); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d to %d: %v, not %v", c.older, c.newer, got, c.want)
		}
	}
	for n, want := range map[Seqno][]Seqno{1: nil, 2: {1}, 3: {2, 1}, 4: {3, 2}, 5: {4, 3, 1}, 8: {7, 6, 4}, 9: {8, 7, 5, 1}} {
		if got := SkipTable(n); !reflect.DeepEqual(got, want) {
			t.Errorf("table of %d: %v, not %v", n, got, want)
		}
	}
}

// Every hop of every skip path is in the table of its newer end.
func TestSkipPathsUseTables(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		older := Seqno(rapid.Int64Range(1, 1<<40).Draw(t, "older"))
		newer := older + Seqno(rapid.Int64Range(1, 1<<20).Draw(t, "gap"))
		stops := append(append([]Seqno{newer}, SkipPath(older, newer)...), older)
		for i := range stops[1:] {
			d := stops[i] - stops[i+1]
			if d <= 0 || d&(d-1) != 0 {
				t.Fatalf("hop %d to %d", stops[i], stops[i+1])
			}
		}
	})
}

// Our msgpack writer says what the Keybase codec says, for everything we write.
func TestPackerAgreesWithCodec(t *testing.T) {
	h := &codec.MsgpackHandle{}
	h.WriteExt = true
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.Int64Min(0).Draw(t, "int")
		s := rapid.StringN(0, 300, 300).Draw(t, "str")
		b := rapid.SliceOfN(rapid.Byte(), 0, 70000).Draw(t, "bin")
		yes := rapid.Bool().Draw(t, "bool")
		var want []byte
		if err := codec.NewEncoderBytes(&want, h).Encode([]any{i, s, b, yes, nil}); err != nil {
			t.Fatal(err)
		}
		var got packer
		got.array(5)
		got.int(i)
		got.str(s)
		got.bin(b)
		got.boolean(yes)
		got.null()
		if !bytes.Equal(got, want) {
			t.Fatalf("%x, codec says %x", []byte(got), want)
		}
		v, err := unpack(got)
		if err != nil || !reflect.DeepEqual(v, []any{i, s, b, yes, nil}) {
			t.Fatalf("read back %v, %v", v, err)
		}
	})
}

// Signature packets are what the codec makes of the stock client's structs, with
// and without hash, and read back.
func TestPacketAgreesWithCodec(t *testing.T) {
	type body struct {
		Detached bool   `codec:"detached"`
		HashType int    `codec:"hash_type"`
		Key      []byte `codec:"key"`
		Payload  []byte `codec:"payload"`
		Sig      []byte `codec:"sig"`
		SigType  int    `codec:"sig_type"`
	}
	type hash struct {
		Type  int    `codec:"type"`
		Value []byte `codec:"value"`
	}
	type packet struct {
		Body    body  `codec:"body"`
		Hash    *hash `codec:"hash,omitempty"`
		Tag     int   `codec:"tag"`
		Version int   `codec:"version"`
	}
	h := &codec.MsgpackHandle{}
	h.WriteExt = true
	encode := func(p *packet) []byte {
		var b []byte
		if err := codec.NewEncoderBytes(&b, h).Encode(p); err != nil {
			t.Fatal(err)
		}
		return b
	}
	key := NewSigningKey(randomSeed())
	p := SignPacket(key, []byte("payload"))
	theirs := &packet{Body: body{true, 10, p.Key, p.Payload, p.Sig, 32}, Tag: 514, Version: 1}
	p.NoHash = true
	if !bytes.Equal(p.Encode(), encode(theirs)) {
		t.Error("packet without hash")
	}
	p.NoHash, theirs.Hash = false, &hash{8, []byte{}}
	sum := sha256.Sum256(encode(theirs))
	theirs.Hash.Value = sum[:]
	if !bytes.Equal(p.Encode(), encode(theirs)) {
		t.Error("packet with hash")
	}
	again, err := ParsePacket(p.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if kid, err := again.Verify(); err != nil || kid != key.KID() {
		t.Errorf("signer %s, %v", kid, err)
	}
}

// Any single byte changed in a packet is noticed.
func TestPacketMutants(t *testing.T) {
	b := SignPacket(NewSigningKey(randomSeed()), []byte("some payload")).Encode()
	for i := range b {
		for _, x := range []byte{0x01, 0x80, 0xff} {
			m := bytes.Clone(b)
			m[i] ^= x
			p, err := ParsePacket(m)
			if err != nil {
				continue
			}
			if _, err := p.Verify(); err == nil {
				t.Fatalf("byte %d changed by %02x was not noticed", i, x)
			}
		}
	}
}

// Boxes, prevs and streams open to what was sealed, and to nobody else.
func TestBoxes(t *testing.T) {
	w := newWorld(t)
	random := w.server(9).Random
	alice, bob, eve := NewDHKey(randomSeed()), NewDHKey(randomSeed()), NewDHKey(randomSeed())
	s, err := alice.Seal(random, []byte("secret"), bob.KID())
	if err != nil {
		t.Fatal(err)
	}
	if msg, sender, err := bob.Open(s.Armor()); err != nil || string(msg) != "secret" || sender != alice.KID() {
		t.Errorf("%q from %s: %v", msg, sender, err)
	}
	if _, _, err := eve.Open(s.Armor()); err == nil {
		t.Error("eve opened it")
	}
	old, next := NewPUK(randomSeed()), NewPUK(randomSeed())
	prev, err := next.SealPrev(random, old.Seed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := next.OpenPrev(prev); err != nil || got != old.Seed {
		t.Errorf("prev: %v", err)
	}
	if _, err := old.OpenPrev(prev); err == nil {
		t.Error("the older key opened its successor's prev")
	}
}

// The slow derivations are deterministic and give four different parts.
func TestStreams(t *testing.T) {
	if testing.Short() {
		t.Skip("slow on purpose")
	}
	a, err := StretchPassword("correct horse", bytes.Repeat([]byte{7}, 16))
	if err != nil {
		t.Fatal(err)
	}
	b, err := StretchPaperKey("  Some Words\nthat make a key ")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := StretchPaperKey("some words that make a key")
	if *b != *c {
		t.Error("case and spaces of a paper key should not matter")
	}
	if a.EdDSASeed() == Seed(a.ClientHalf()) || fmt.Sprint(a.LoginKID()) == fmt.Sprint(b.LoginKID()) {
		t.Error("parts of a stream should differ")
	}
}
