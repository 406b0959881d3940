package kbsig

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/keybase/go-codec/codec"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testKey(label string) ed25519.PrivateKey {
	h := sha256.Sum256([]byte(label))
	return ed25519.NewKeyFromSeed(h[:])
}

func boxKID(label string) KID {
	h := sha256.Sum256([]byte(label))
	h[31] &= 0x3f
	return NewKID(KIDTypeDH, h)
}

func testBox(t testing.TB) []byte {
	p := EncodeEncryption(boxKID("receiver"), boxKID("sender"), [24]byte{1}, bytes.Repeat([]byte{5}, 48))
	if _, err := DecodeEncryption(p); err != nil {
		t.Fatal(err)
	}
	return p
}

// recode decodes and encodes with the codec that stock clients use.
func recode(t testing.TB, b []byte) []byte {
	t.Helper()
	var h codec.MsgpackHandle
	h.WriteExt, h.RawToString, h.Canonical = true, false, true
	type packet struct {
		Body any `codec:"body"`
		Hash *struct {
			Type  int    `codec:"type"`
			Value []byte `codec:"value"`
		} `codec:"hash,omitempty"`
		Tag     uint `codec:"tag"`
		Version int  `codec:"version"`
	}
	var p packet
	type sigBody struct {
		Kid      []byte   `codec:"key"`
		Payload  []byte   `codec:"payload,omitempty"`
		Sig      [64]byte `codec:"sig"`
		SigType  int      `codec:"sig_type"`
		HashType int      `codec:"hash_type"`
		Detached bool     `codec:"detached"`
	}
	type encBody struct {
		Ciphertext []byte `codec:"ciphertext"`
		EncType    int    `codec:"enc_type"`
		Nonce      []byte `codec:"nonce"`
		Receiver   []byte `codec:"receiver_key"`
		Sender     []byte `codec:"sender_key"`
	}
	if bytes.Contains(b, []byte("enc_type")) {
		p.Body = &encBody{}
	} else {
		p.Body = &sigBody{}
	}
	if err := codec.NewDecoderBytes(b, &h).Decode(&p); err != nil {
		t.Fatal(err)
	}
	var out []byte
	if err := codec.NewEncoderBytes(&out, &h).Encode(p); err != nil {
		t.Fatal(err)
	}
	return out
}

// Packets we write are byte for byte what the codec of stock clients writes, and
// their hash and signature verify.
func TestPacketsMatchClientCodec(t *testing.T) {
	for _, n := range []int{1, 31, 200, 255, 256, 3000, 65535, 65536, PayloadBytesMax} {
		p := SignPacket(testKey("a"), bytes.Repeat([]byte{'x'}, n))
		if got := recode(t, p); !bytes.Equal(got, p) {
			t.Fatalf("payload of %d: the codec writes other bytes", n)
		}
		s, err := OpenSignature(Armor(p))
		if err != nil || !s.Hashed || len(s.Payload) != n {
			t.Fatalf("payload of %d: %v", n, err)
		}
		if !bytes.Equal(EncodeSignature(s.KID, s.Payload, s.Sig), p) {
			t.Fatal("packet does not round trip")
		}
	}
	b := testBox(t)
	if !bytes.Equal(recode(t, b), b) {
		t.Fatal("the codec writes another encryption packet")
	}
	if _, err := DecodeSignature(SignPacket(testKey("a"), make([]byte, PayloadBytesMax+1))); err == nil {
		t.Fatal("payload above the limit")
	}
}

// No packet with any byte changed, missing or added decodes and verifies.
func TestPacketBytes(t *testing.T) {
	p := SignPacket(testKey("a"), []byte(`{"a":1}`))
	for i := range p {
		for _, x := range []byte{0x01, 0x80, 0xff} {
			m := bytes.Clone(p)
			m[i] ^= x
			if s, err := DecodeSignature(m); err == nil && s.Verify() == nil {
				t.Fatalf("byte %d changed by %02x", i, x)
			}
		}
		if _, err := DecodeSignature(p[:i]); err == nil {
			t.Fatalf("cut at %d", i)
		}
		if _, err := DecodeSignature(append(bytes.Clone(p[:i]), append([]byte{p[i]}, p[i:]...)...)); err == nil {
			t.Fatalf("byte %d doubled", i)
		}
	}
	b := testBox(t)
	for i := range b {
		m := bytes.Clone(b)
		m[i] ^= 0x01
		if _, err := DecodeEncryption(m); err == nil {
			t.Fatalf("box byte %d changed", i)
		}
	}
	a := Armor(p)
	for _, m := range []string{a + "\n", "\n" + a, a + "=", a[:len(a)-1], " " + a} {
		if _, err := OpenSignature(m); err == nil {
			t.Fatalf("armour %q", m)
		}
	}
}

// A packet without its own hash still verifies: the genuine Merkle roots of the
// client's checkpoint have that form.
func TestPacketWithoutHash(t *testing.T) {
	p := SignPacket(testKey("a"), []byte("payload"))
	i := bytes.Index(p, appendText(nil, "hash"))
	j := bytes.Index(p, appendText(nil, "tag"))
	bare := append(append([]byte{mpFixMap | 3}, p[1:i]...), p[j:]...)
	s, err := DecodeSignature(bare)
	if err != nil || s.Hashed || s.Verify() != nil {
		t.Fatal(err)
	}
}

// A signature whose S is not reduced, which old libraries took, is refused.
func TestMalleableSignature(t *testing.T) {
	msg := []byte("payload")
	priv := testKey("a")
	sig := [64]byte(ed25519.Sign(priv, msg))
	order := unhex(t, "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	carry := 0
	for i := 0; i < 32; i++ {
		carry += int(sig[32+i]) + int(order[i])
		sig[32+i] = byte(carry)
		carry >>= 8
	}
	s, err := DecodeSignature(EncodeSignature(KIDOfPrivate(priv), msg, sig))
	if err != nil {
		t.Fatal(err)
	}
	if s.Verify() == nil {
		t.Fatal("S above the group order")
	}
}

// The outer link, the ids and the wire forms of the protocol's worked v2 example.
func TestWorkedOuter(t *testing.T) {
	curr, _ := ParseLinkID("2ac28ef4129f508f31e5221a0b691a5035db366fb25491ba9617cdc9f2c50e16")
	prev, _ := ParseLinkID("7831aaf5d750e9215e10191f8184d17e141d6f897a8961527364734b16861305")
	o := Outer{Fields: 7, Seqno: 10, Prev: prev, Curr: curr, Type: LinkTrack}
	raw := o.Encode()
	if got := hex.EncodeToString(raw); got != "97020ac420"+prev.String()+"c420"+curr.String()+"0301c2" {
		t.Fatal(got)
	}
	if got := LinkIDOf(raw).String(); got != "408fc1ec9399c6ab80623ae4eaaf765f4c91367b2c2405c0c03252d8fd473543" {
		t.Fatal(got)
	}
	base, _ := ParseSigIDBase("2d713ecaef25824732e50865d4e030ffa4db67d8d2f597403418db9d09877476")
	if base.Short() != "LXE-yu8lgkcy5Qhl1OAw_6TbZ9jS9ZdANBjb" || base.SigID() != base.String()+"0f" {
		t.Fatal(base.Short())
	}
	if UIDOf("alice").String() != "2bd806c97f0e00af1a1fc3328fa76319" || UIDOf("bob").String() != "81b637d8fcd2c6da6359e6963113a119" {
		t.Fatal("user ids")
	}
	si2 := EntryV2(&Signature{}, &o, []byte("{}")).SI2
	b, _ := DecodeArmored(si2, 200)
	if got := hex.EncodeToString(b[67:]); got != "970200c0c00301c207" {
		t.Fatal(got)
	}
}

// Every form of outer link round trips, and nothing but those forms is taken.
func TestOuterForms(t *testing.T) {
	h := LinkID(sha256.Sum256(nil))
	for _, o := range []Outer{
		{Fields: 5, Seqno: 1, Curr: h, Type: LinkEldest},
		{Fields: 6, Seqno: 200, Prev: h, Curr: h, Type: LinkRevoke},
		{Fields: 7, Seqno: 70000, Prev: h, Curr: h, Type: LinkWotVouch, IgnoreIfUnsupported: true},
		{Fields: 9, Seqno: 1, Curr: h, Type: LinkEldest, HighSkip: &HighSkip{}},
		{Fields: 9, Seqno: 9, Prev: h, Curr: h, Type: LinkTrack, HighSkip: &HighSkip{Seqno: 3, Hash: h}},
	} {
		raw := o.Encode()
		got, err := DecodeOuter(raw)
		if err != nil || !bytes.Equal(got.Encode(), raw) {
			t.Fatalf("%d fields: %v", o.Fields, err)
		}
		for i := range raw {
			if _, err := DecodeOuter(raw[:i]); err == nil {
				t.Fatalf("%d fields cut at %d", o.Fields, i)
			}
		}
		if _, err := DecodeOuter(append(raw, 0xc0)); err == nil {
			t.Fatal("more after the end")
		}
		raw[1] = 3
		if _, err := DecodeOuter(raw); err == nil {
			t.Fatal("version 3")
		}
	}
	// seq_type must be public: clients re-encode what they read as public.
	o := Outer{Fields: 7, Seqno: 1, Curr: h, Type: LinkEldest}
	raw := o.Encode()
	for _, seqType := range []byte{0, 2, 3} {
		raw[len(raw)-2] = seqType
		if _, err := DecodeOuter(raw); err == nil {
			t.Fatalf("seq_type %d", seqType)
		}
	}
}

// What clients would rebuild from a served entry is the packet that was posted.
func TestEntriesRebuild(t *testing.T) {
	priv := testKey("a")
	inner := []byte(`{"a":"\u003c\"\\"}`)
	s1, err := DecodeSignature(SignPacket(priv, inner))
	if err != nil {
		t.Fatal(err)
	}
	p, err := EntryV1(s1).Rebuild(s1.KID, 1, LinkID{})
	if err != nil || !bytes.Equal(p, s1.Packet) {
		t.Fatal(err)
	}
	for _, o := range []Outer{
		{Fields: 5, Seqno: 1, Type: LinkEldest},
		{Fields: 7, Seqno: 300, Prev: LinkID{1}, Type: LinkTrack},
		{Fields: 9, Seqno: 300, Prev: LinkID{1}, Type: LinkTrack, HighSkip: &HighSkip{Seqno: 3, Hash: LinkID{2}}},
	} {
		o.Curr = LinkIDOf(inner)
		s, err := DecodeSignature(SignPacket(priv, o.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		p, err := EntryV2(s, &o, inner).Rebuild(s.KID, o.Seqno, o.Prev)
		if err != nil || !bytes.Equal(p, s.Packet) {
			t.Fatalf("%d fields: %v", o.Fields, err)
		}
	}
}
