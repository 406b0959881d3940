package client

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
)

// Rules of hidden chains.
const (
	RuleHidden  Rule = "hidden"  // a hidden link's shape, signatures and place
	RuleRatchet Rule = "ratchet" // visible links commit to hidden ones that are there
)

// Constants of hidden links. client: go/sig3/prot.go
const (
	hiddenPrefix     = "Keybase-Sigchain-3\x00"
	hiddenVersion    = 3
	hiddenRotate     = 81
	visibleSeqType   = 3
	blindingsPerPost = 10_000
)

// HiddenAdmin says where an implicit admin became one.
type HiddenAdmin struct {
	Team    [16]byte
	Seqno   Seqno
	SeqType int
}

// HiddenKey is a per-team key as a hidden link announces it.
type HiddenKey struct {
	Generation int
	Sig, Enc   KID
	Check      [32]byte // SHA-256 of the seed check
}

// HiddenLink is a rotation in the hidden chain of a team.
type HiddenLink struct {
	Team      [16]byte
	Seqno     Seqno
	Prev      LinkID // zero for the first
	ID        LinkID
	Key       HiddenKey
	Ctime     int64
	Entropy   []byte
	Client    *[2]string // description and version
	RootCtime int64
	RootHash  HashMeta
	RootSeqno Seqno
	Parent    HiddenTail // of the visible chain
	UID       UID
	Eldest    Seqno
	KID       KID
	Admin     *HiddenAdmin
	Implicit  bool
	Public    bool

	// Inner, Outer and Sig are the three parts of the link's JSON, base64.
	Inner, Outer, Sig string
}

// Build signs the link with the signer's key and the new key, which name themselves in
// KID and Key.Sig. client: go/sig3/sig3.go:RotateKey.Sign
func (l *HiddenLink) Build(signer, key *SigningKey) {
	l.KID, l.Key.Sig = signer.KID(), key.KID()
	reverse := key.Sign(append([]byte(hiddenPrefix), l.outer(l.inner(nil))...))
	inner := l.inner(reverse)
	outer := l.outer(inner)
	var sig packer
	sig.bin(signer.Sign(append([]byte(hiddenPrefix), outer...)))
	l.Inner, l.Outer, l.Sig, l.ID = b64(inner), b64(outer), b64(sig), sha256.Sum256(outer)
}

// Tail is the link as the end of its chain.
func (l *HiddenLink) Tail() HiddenTail { return HiddenTail{l.Seqno, l.ID} }

func (l *HiddenLink) outer(inner []byte) []byte {
	sum := sha256.Sum256(inner)
	var w packer
	w.array(8)
	w.int(hiddenVersion)
	w.int(int64(l.Seqno))
	if l.Prev == (LinkID{}) {
		w.null()
	} else {
		w.bin(l.Prev[:])
	}
	w.bin(sum[:])
	w.int(hiddenRotate)
	w.int(hiddenSeqType)
	w.boolean(false)
	w.null()
	return w
}

// inner encodes what the link says; the reverse signature is null while it is made.
func (l *HiddenLink) inner(reverse []byte) []byte {
	var w packer
	n := 7
	if l.Client != nil {
		n = 8
	}
	w.object(n)
	w.str("b")
	l.Key.pack(&w, reverse)
	w.str("c")
	w.int(l.Ctime)
	w.str("e")
	w.bin(l.Entropy)
	if l.Client != nil {
		w.str("i")
		w.object(2)
		w.str("d")
		w.str(l.Client[0])
		w.str("v")
		w.str(l.Client[1])
	}
	w.str("m")
	w.object(3)
	w.str("c")
	w.int(l.RootCtime)
	w.str("h")
	w.bin(l.RootHash[:])
	w.str("s")
	w.int(int64(l.RootSeqno))
	w.str("p")
	w = append(w, l.Parent.pack(visibleSeqType)...)
	w.str("s")
	w.object(3)
	w.str("e")
	w.int(int64(l.Eldest))
	w.str("k")
	w.bin(l.KID[:])
	w.str("u")
	w.bin(l.UID[:])
	w.str("t")
	l.packTeam(&w)
	return w
}

func (k *HiddenKey) pack(w *packer, reverse []byte) {
	w.object(1)
	w.str("k")
	w.array(1)
	w.object(7)
	w.str("a")
	w.int(1)
	w.str("c")
	w.object(2)
	w.str("h")
	w.bin(k.Check[:])
	w.str("v")
	w.int(1)
	w.str("e")
	w.bin(k.Enc[:])
	w.str("g")
	w.int(int64(k.Generation))
	w.str("r")
	w.binOrNull(reverse)
	w.str("s")
	w.bin(k.Sig[:])
	w.str("t")
	w.int(0)
}

func (l *HiddenLink) packTeam(w *packer) {
	if l.Admin == nil {
		w.object(3)
	} else {
		w.object(4)
		w.str("a")
		w.object(3)
		w.str("i")
		w.bin(l.Admin.Team[:])
		w.str("s")
		w.int(int64(l.Admin.Seqno))
		w.str("t")
		w.int(int64(l.Admin.SeqType))
	}
	w.str("i")
	w.bin(l.Team[:])
	w.str("m")
	w.boolean(l.Implicit)
	w.str("p")
	w.boolean(l.Public)
}

// ParseHidden reads a hidden link and verifies both signatures. It reads loosely, builds
// the link again from what it read, and takes it if that gives the same bytes.
// client: go/sig3/sig3.go:ExportJSON.Import
func ParseHidden(inner, outer, sig string) (*HiddenLink, error) {
	l := &HiddenLink{Inner: inner, Outer: outer, Sig: sig}
	bad := func(err error) (*HiddenLink, error) { return nil, under(RuleHidden, "hidden link", err) }
	rawInner, err1 := unbase64(inner)
	rawOuter, err2 := unbase64(outer)
	rawSig, err3 := unbase64(sig)
	if err := errors.Join(err1, err2, err3); err != nil {
		return bad(err)
	}
	r := packReader{}
	signature := r.bytes(r.whole(rawSig), ed25519.SignatureSize)
	o := r.list(r.whole(rawOuter), 8)
	l.Seqno = Seqno(r.int(o[1]))
	if o[2] != nil {
		copy(l.Prev[:], r.bytes(o[2], 32))
	}
	reverse := l.read(&r, r.whole(rawInner))
	if r.err != nil {
		return bad(r.err)
	}
	if again := l.inner(reverse); !bytes.Equal(again, rawInner) {
		return bad(errors.New("the inner half has another form"))
	}
	if again := l.outer(rawInner); !bytes.Equal(again, rawOuter) {
		return bad(errors.New("the outer half has another form, or names another inner half"))
	}
	l.ID = sha256.Sum256(rawOuter)
	if (l.Seqno == 1) != (l.Prev == LinkID{}) || l.Seqno < 1 || l.Parent.Seqno < 1 || l.Key.Generation < 1 {
		return bad(fmt.Errorf("link %d after %x, parent %d, generation %d", l.Seqno, l.Prev, l.Parent.Seqno, l.Key.Generation))
	}
	if err := verifyHidden(l.KID, rawOuter, signature); err != nil {
		return bad(err)
	}
	if err := verifyHidden(l.Key.Sig, l.outer(l.inner(nil)), reverse); err != nil {
		return bad(fmt.Errorf("the new key's signature: %w", err))
	}
	return l, nil
}

func verifyHidden(kid KID, msg, sig []byte) error {
	if kid[0] != 1 || kid[1] != KIDEdDSA || kid[34] != 0x0a {
		return fmt.Errorf("%x is no signing key", kid)
	}
	if !ed25519.Verify(kid[2:34], append([]byte(hiddenPrefix), msg...), sig) {
		return errors.New("the signature does not verify")
	}
	return nil
}

// read takes the fields of the inner half and returns the reverse signature.
func (l *HiddenLink) read(r *packReader, v any) (reverse []byte) {
	in := r.fields(v)
	k := r.fields(r.list(r.fields(in["b"])["k"], 1)[0])
	copy(l.Key.Check[:], r.bytes(r.fields(k["c"])["h"], 32))
	copy(l.Key.Enc[:], r.bytes(k["e"], 35))
	l.Key.Generation = int(r.int(k["g"]))
	reverse = r.bytes(k["r"], ed25519.SignatureSize)
	copy(l.Key.Sig[:], r.bytes(k["s"], 35))
	l.Ctime = r.int(in["c"])
	l.Entropy, _ = in["e"].([]byte)
	if c, ok := in["i"]; ok {
		f := r.fields(c)
		d, _ := f["d"].(string)
		ver, _ := f["v"].(string)
		l.Client = &[2]string{d, ver}
	}
	m := r.fields(in["m"])
	l.RootCtime, l.RootSeqno = r.int(m["c"]), Seqno(r.int(m["s"]))
	copy(l.RootHash[:], r.bytes(m["h"], 32))
	p := r.fields(in["p"])
	l.Parent.Seqno = Seqno(r.int(p["s"]))
	copy(l.Parent.LinkID[:], r.bytes(p["h"], 32))
	s := r.fields(in["s"])
	l.Eldest = Seqno(r.int(s["e"]))
	copy(l.KID[:], r.bytes(s["k"], 35))
	copy(l.UID[:], r.bytes(s["u"], 16))
	t := r.fields(in["t"])
	if a, ok := t["a"]; ok {
		f := r.fields(a)
		l.Admin = &HiddenAdmin{Seqno: Seqno(r.int(f["s"])), SeqType: int(r.int(f["t"]))}
		copy(l.Admin.Team[:], r.bytes(f["i"], 16))
	}
	copy(l.Team[:], r.bytes(t["i"], 16))
	l.Implicit, l.Public = t["m"] == any(true), t["p"] == any(true)
	return reverse
}

// packReader reads decoded msgpack; the first error sticks.
type packReader struct{ err error }

func (r *packReader) fail() {
	if r.err == nil {
		r.err = errPack
	}
}

func (r *packReader) whole(b []byte) any {
	v, err := unpack(b)
	if err != nil {
		r.fail()
	}
	return v
}

func (r *packReader) list(v any, n int) []any {
	if out, ok := v.([]any); ok && len(out) == n {
		return out
	}
	r.fail()
	return make([]any, n)
}

func (r *packReader) fields(v any) map[string]any {
	f, ok := v.([]packField)
	if !ok {
		r.fail()
	}
	out := make(map[string]any, len(f))
	for _, x := range f {
		out[x.key] = x.value
	}
	return out
}

func (r *packReader) bytes(v any, n int) []byte {
	if b, ok := v.([]byte); ok && len(b) == n {
		return b
	}
	r.fail()
	return make([]byte, n)
}

func (r *packReader) int(v any) int64 {
	n, ok := v.(int64)
	if !ok {
		r.fail()
	}
	return n
}

// Ratchet is what a visible link says of the hidden chain.
type Ratchet [32]byte

// RatchetOf is the ratchet of a tail under a key.
// client: go/teams/hidden/ratchet.go:RatchetBlind.compute
func RatchetOf(t HiddenTail, key [32]byte) (h Ratchet) {
	m := hmac.New(sha512.New, key[:])
	m.Write(t.pack(hiddenSeqType))
	copy(h[:], m.Sum(nil))
	return h
}

// EncodeBlinding is ratchet_blinding_keys of one ratchet.
func EncodeBlinding(t HiddenTail, key [32]byte) string {
	return encodeBlindings([]blinding{{t, key}})
}

// blinding is a tail with the key that blinds it.
type blinding struct {
	tail HiddenTail
	key  [32]byte
}

// encodeBlindings is ratchet_blinding_keys.
// client: go/teams/hidden/ratchet.go:RatchetBlindingKeySet.encode
func encodeBlindings(list []blinding) string {
	var w packer
	w.array(len(list))
	for _, b := range list {
		h := RatchetOf(b.tail, b.key)
		w.object(3)
		w.str("b")
		w = append(w, b.tail.pack(hiddenSeqType)...)
		w.str("r")
		w.object(2)
		w.str("k")
		w.bin(b.key[:])
		w.str("r")
		w.bin(h[:])
		w.str("v")
		w.int(1)
	}
	return b64(w)
}

// ParseBlindings reads ratchet_blinding_keys of a reply: the tails by their ratchets.
// client: go/teams/hidden/ratchet.go:RatchetBlindingKeySet.UnmarshalJSON
func ParseBlindings(s string) (map[Ratchet]HiddenTail, error) {
	out := make(map[Ratchet]HiddenTail)
	if s == "" {
		return out, nil
	}
	raw, err := unbase64(s)
	if err != nil {
		return nil, under(RuleRatchet, "blinding keys", err)
	}
	v, err := unpackUpTo(raw, blindingsPerPost)
	list, err2 := as[[]any](v)
	if err := errors.Join(err, err2); err != nil {
		return nil, under(RuleRatchet, "blinding keys", err)
	}
	for _, x := range list {
		r := packReader{}
		f := r.fields(x)
		b, h := r.fields(f["b"]), r.fields(f["r"])
		t := HiddenTail{Seqno: Seqno(r.int(b["s"]))}
		copy(t.LinkID[:], r.bytes(b["h"], 32))
		want, key := Ratchet(r.bytes(h["r"], 32)), [32]byte(r.bytes(h["k"], 32))
		if r.err != nil || b["t"] != any(int64(hiddenSeqType)) || RatchetOf(t, key) != want {
			return nil, violated(RuleRatchet, "blinding keys", "the key of ratchet %x does not give it", want)
		}
		out[want] = t
	}
	return out, nil
}
