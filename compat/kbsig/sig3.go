package kbsig

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Limits of hidden links, in bytes.
const (
	// sig3OuterBytesMax and sig3InnerBytesMax bound the two halves of a hidden link.
	sig3OuterBytesMax = 160
	sig3InnerBytesMax = 2 << 10
	// sig3ClientCharsMax bounds each of the two texts by which a client names itself.
	sig3ClientCharsMax = 128
	// sig3EntropyBytesMax bounds the random bytes that hide a link from guessing.
	sig3EntropyBytesMax = 64
)

// Constants of hidden links. client: go/sig3/prot.go:OuterLink
const (
	// LinkRotateKeyHidden is the one link type of hidden chains of teams.
	LinkRotateKeyHidden LinkType = 81

	sig3Version      = 3
	sig3Prefix       = "Keybase-Sigchain-3\x00"
	appKeyXOR        = 1
	seedCheckVersion = 1
	ptkReader        = 0
)

// ErrSig3 reports bytes that are no hidden link that every client takes.
var ErrSig3 = errors.New("malformed hidden link")

// Sig3Tail is a place in a chain.
type Sig3Tail struct {
	Seqno Seqno
	Link  LinkID
}

// Sig3Outer is the signed half of a hidden link.
type Sig3Outer struct {
	Seqno               Seqno
	Prev                LinkID // zero: nil, for the first link
	Inner               LinkID // SHA-256 of the other half
	IgnoreIfUnsupported bool
}

// Sig3Admin says where the signer became an admin.
type Sig3Admin struct {
	Team  TeamID
	Seqno Seqno
	Chain int
}

// Sig3PTK is a per-team key as a hidden link announces it.
type Sig3PTK struct {
	Generation int64
	Signing    KID
	Encryption KID
	SeedCheck  [32]byte
	ReverseSig [ed25519.SignatureSize]byte
}

// Sig3Inner is what a hidden link says.
type Sig3Inner struct {
	PTK        Sig3PTK
	Ctime      int64 // in seconds
	Entropy    []byte
	Client     *[2]string // what signed: description and version; may be missing
	RootCtime  int64      // in seconds
	RootHash   HashMeta
	RootSeqno  Seqno
	Parent     Sig3Tail // of the visible chain
	Signer     UserVersion
	KID        KID
	Admin      *Sig3Admin // nil: the signer acts as a member
	Team       TeamID
	IsImplicit bool
	IsPublic   bool
}

// Sig3 is a whole hidden link whose signatures hold.
type Sig3 struct {
	Outer Sig3Outer
	Inner Sig3Inner
	ID    LinkID // SHA-256 of RawOuter
	Sig   [ed25519.SignatureSize]byte

	RawOuter, RawInner []byte
}

// ParseSig3 reads a hidden link from the three texts of its JSON form, and verifies the
// signer's signature over it and the new key's. Less is taken than clients take: one
// encoding, one reader key, no parameters of encryption.
// client: go/sig3/sig3.go:ExportJSON.Import
func ParseSig3(inner, outer, sig string) (*Sig3, error) {
	l := new(Sig3)
	var err error
	if l.RawOuter, err = DecodeArmored(outer, sig3OuterBytesMax); err == nil {
		l.RawInner, err = DecodeArmored(inner, sig3InnerBytesMax)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSig3, err)
	}
	rawSig, err := DecodeArmored(sig, 2*ed25519.SignatureSize)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSig3, err)
	}
	r := &msgpackReader{buf: rawSig}
	copy(l.Sig[:], r.binOf(ed25519.SignatureSize, "signature"))
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSig3, err)
	}
	o, err := DecodeSig3Outer(l.RawOuter)
	if err != nil {
		return nil, err
	}
	in, err := DecodeSig3Inner(l.RawInner)
	if err != nil {
		return nil, err
	}
	l.Outer, l.Inner, l.ID = *o, *in, sha256.Sum256(l.RawOuter)
	if sha256.Sum256(l.RawInner) != o.Inner {
		return nil, fmt.Errorf("the signed half names another: %w", ErrSig3)
	}
	return l, l.verify()
}

// RawSig is the signature as it came, before base64.
func (l *Sig3) RawSig() []byte { return appendBin(nil, l.Sig[:]) }

// verify checks both signatures. The new key signs the link as it was before it held
// that signature. client: go/sig3/sig3.go:RotateKey.verifyReverseSig
func (l *Sig3) verify() error {
	if !verifyEdDSA(l.Inner.KID, append([]byte(sig3Prefix), l.RawOuter...), l.Sig[:]) {
		return fmt.Errorf("hidden link %d: %w", l.Outer.Seqno, ErrSignature)
	}
	before := l.Outer
	before.Inner = sha256.Sum256(l.Inner.encode(false))
	if !verifyEdDSA(l.Inner.PTK.Signing, append([]byte(sig3Prefix), before.Encode()...), l.Inner.PTK.ReverseSig[:]) {
		return fmt.Errorf("hidden link %d, the new key's: %w", l.Outer.Seqno, ErrSignature)
	}
	return nil
}

// DecodeSig3Outer reads the signed half. client: go/sig3/prot.go:OuterLink
func DecodeSig3Outer(raw []byte) (*Sig3Outer, error) {
	if len(raw) > sig3OuterBytesMax {
		return nil, fmt.Errorf("outer half of %d bytes: %w", len(raw), ErrSig3)
	}
	r, o := &msgpackReader{buf: raw}, new(Sig3Outer)
	r.arrayOf(8, "outer half")
	version := r.uint(255, "version")
	o.Seqno = Seqno(r.uint(innerIntMax, "seqno"))
	o.Prev = readHashOrNil(r, "prev")
	copy(o.Inner[:], r.binOf(hashBytes, "curr"))
	typ, chain := LinkType(r.uint(255, "type")), r.uint(255, "chain type")
	o.IgnoreIfUnsupported = r.bool("ignore_if_unsupported")
	r.fixed(mpNil, "encryption parameters of nil")
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSig3, err)
	}
	if version != sig3Version || typ != LinkRotateKeyHidden || chain != SeqTypeTeamHidden {
		return nil, fmt.Errorf("version %d, type %d, chain %d: %w", version, typ, chain, ErrSig3)
	}
	if o.Seqno < 1 || (o.Seqno == 1) != o.Prev.IsZero() {
		return nil, fmt.Errorf("link %d after %s: %w", o.Seqno, o.Prev, ErrSig3)
	}
	return o, nil
}

// Encode is the inverse of DecodeSig3Outer.
func (o *Sig3Outer) Encode() []byte {
	b := appendUint([]byte{mpFixArr | 8, sig3Version}, uint64(o.Seqno))
	if o.Prev.IsZero() {
		b = append(b, mpNil)
	} else {
		b = appendBin(b, o.Prev[:])
	}
	b = append(appendBin(b, o.Inner[:]), byte(LinkRotateKeyHidden), SeqTypeTeamHidden)
	return append(appendBool(b, o.IgnoreIfUnsupported), mpNil)
}

// DecodeSig3Inner reads what a link says. client: go/sig3/prot.go:InnerLink
func DecodeSig3Inner(raw []byte) (*Sig3Inner, error) {
	if len(raw) > sig3InnerBytesMax {
		return nil, fmt.Errorf("inner half of %d bytes: %w", len(raw), ErrSig3)
	}
	r, in := &msgpackReader{buf: raw}, new(Sig3Inner)
	named := r.peek() == mpFixMap|8
	fields := 7
	if named {
		fields = 8
	}
	r.mapOf(fields, "inner half")
	r.text("b")
	if err := readSig3PTK(r, &in.PTK); err != nil {
		return nil, err
	}
	r.text("c")
	in.Ctime = int64(r.uint(innerIntMax, "ctime"))
	r.text("e")
	in.Entropy = bytes.Clone(r.bin(sig3EntropyBytesMax, "entropy"))
	if named {
		r.text("i")
		r.mapOf(2, "client")
		in.Client = new([2]string)
		r.text("d")
		in.Client[0] = r.str(sig3ClientCharsMax, "client")
		r.text("v")
		in.Client[1] = r.str(sig3ClientCharsMax, "client version")
	}
	r.text("m")
	r.mapOf(3, "Merkle root")
	r.text("c")
	in.RootCtime = int64(r.uint(innerIntMax, "time of the Merkle root"))
	r.text("h")
	copy(in.RootHash[:], r.binOf(hashBytes, "hash of the Merkle root"))
	r.text("s")
	in.RootSeqno = Seqno(r.uint(innerIntMax, "number of the Merkle root"))
	r.text("p")
	var chain uint64
	in.Parent, chain = readSig3Tail(r)
	r.text("s")
	r.mapOf(3, "signer")
	r.text("e")
	in.Signer.Eldest = Seqno(r.uint(innerIntMax, "signer's eldest seqno"))
	r.text("k")
	copy(in.KID[:], r.binOf(kidBytes, "signer's key"))
	r.text("u")
	copy(in.Signer.UID[:], r.binOf(uidBytes, "signer"))
	r.text("t")
	readSig3Team(r, in)
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSig3, err)
	}
	if chain != SeqTypeSemiprivate || in.Parent.Seqno < 1 {
		return nil, fmt.Errorf("a parent in chain %d: %w", chain, ErrSig3)
	}
	return in, in.check()
}

// check judges what must hold whatever the chain.
func (in *Sig3Inner) check() error {
	p := &in.PTK
	for _, err := range []error{CheckSigningKey(in.KID), CheckSigningKey(p.Signing), CheckEncryptionKey(p.Encryption)} {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSig3, err)
		}
	}
	if _, err := ParseUID(in.Signer.UID.String()); err != nil {
		return fmt.Errorf("%w: %w", ErrSig3, err)
	}
	if _, err := ParseTeamID(in.Team.String()); err != nil {
		return fmt.Errorf("%w: %w", ErrSig3, err)
	}
	if p.Generation < 1 || in.Signer.Eldest < 1 || in.RootSeqno < 1 {
		return fmt.Errorf("generation %d, eldest %d, root %d: %w", p.Generation, in.Signer.Eldest, in.RootSeqno, ErrSig3)
	}
	return nil
}

// readSig3PTK reads the body: a list of one reader key.
func readSig3PTK(r *msgpackReader, p *Sig3PTK) error {
	r.mapOf(1, "body")
	r.text("k")
	r.arrayOf(1, "one key")
	r.mapOf(7, "key")
	r.text("a")
	derivation := r.uint(255, "derivation")
	r.text("c")
	r.mapOf(2, "seed check")
	r.text("h")
	copy(p.SeedCheck[:], r.binOf(hashBytes, "seed check"))
	r.text("v")
	checkVersion := r.uint(255, "version of the seed check")
	r.text("e")
	copy(p.Encryption[:], r.binOf(kidBytes, "encryption key"))
	r.text("g")
	p.Generation = int64(r.uint(1<<31-1, "generation"))
	r.text("r")
	copy(p.ReverseSig[:], r.binOf(ed25519.SignatureSize, "reverse signature"))
	r.text("s")
	copy(p.Signing[:], r.binOf(kidBytes, "signing key"))
	r.text("t")
	typ := r.uint(255, "type of key")
	if r.err == nil && (derivation != appKeyXOR || checkVersion != seedCheckVersion || typ != ptkReader) {
		return fmt.Errorf("key of derivation %d, seed check %d, type %d: %w", derivation, checkVersion, typ, ErrSig3)
	}
	return nil
}

func readSig3Tail(r *msgpackReader) (t Sig3Tail, chain uint64) {
	r.mapOf(3, "tail")
	r.text("h")
	copy(t.Link[:], r.binOf(hashBytes, "tail's hash"))
	r.text("s")
	t.Seqno = Seqno(r.uint(innerIntMax, "tail's number"))
	r.text("t")
	return t, r.uint(255, "tail's chain")
}

func readSig3Team(r *msgpackReader, in *Sig3Inner) {
	fields := 3
	if r.peek() == mpFixMap|4 {
		fields = 4
	}
	r.mapOf(fields, "team")
	if fields == 4 {
		in.Admin = new(Sig3Admin)
		r.text("a")
		r.mapOf(3, "admin")
		r.text("i")
		copy(in.Admin.Team[:], r.binOf(len(in.Admin.Team), "admin's team"))
		r.text("s")
		in.Admin.Seqno = Seqno(r.uint(innerIntMax, "admin's seqno"))
		r.text("t")
		in.Admin.Chain = int(r.uint(255, "admin's chain"))
	}
	r.text("i")
	copy(in.Team[:], r.binOf(len(in.Team), "team"))
	r.text("m")
	in.IsImplicit = r.bool("implicit")
	r.text("p")
	in.IsPublic = r.bool("public")
}

// Encode is the inverse of DecodeSig3Inner.
func (in *Sig3Inner) Encode() []byte { return in.encode(true) }

// encode leaves the reverse signature out on demand: that is what it signs.
func (in *Sig3Inner) encode(reverse bool) []byte {
	fields := byte(7)
	if in.Client != nil {
		fields = 8
	}
	b := make([]byte, 0, 768)
	b = appendText(append(b, mpFixMap|fields), "b")
	b = in.PTK.encode(b, reverse)
	b = appendUint(appendText(b, "c"), uint64(in.Ctime))
	b = appendBin(appendText(b, "e"), in.Entropy)
	if in.Client != nil {
		b = append(appendText(b, "i"), mpFixMap|2)
		b = appendStr(appendText(b, "d"), in.Client[0])
		b = appendStr(appendText(b, "v"), in.Client[1])
	}
	b = append(appendText(b, "m"), mpFixMap|3)
	b = appendUint(appendText(b, "c"), uint64(in.RootCtime))
	b = appendBin(appendText(b, "h"), in.RootHash[:])
	b = appendUint(appendText(b, "s"), uint64(in.RootSeqno))
	b = in.Parent.append(appendText(b, "p"), SeqTypeSemiprivate)
	b = append(appendText(b, "s"), mpFixMap|3)
	b = appendUint(appendText(b, "e"), uint64(in.Signer.Eldest))
	b = appendBin(appendText(b, "k"), in.KID[:])
	b = appendBin(appendText(b, "u"), in.Signer.UID[:])
	b = appendText(b, "t")
	if in.Admin == nil {
		b = append(b, mpFixMap|3)
	} else {
		b = append(appendText(append(b, mpFixMap|4), "a"), mpFixMap|3)
		b = appendBin(appendText(b, "i"), in.Admin.Team[:])
		b = appendUint(appendText(b, "s"), uint64(in.Admin.Seqno))
		b = appendUint(appendText(b, "t"), uint64(in.Admin.Chain))
	}
	b = appendBin(appendText(b, "i"), in.Team[:])
	b = appendBool(appendText(b, "m"), in.IsImplicit)
	return appendBool(appendText(b, "p"), in.IsPublic)
}

func (p *Sig3PTK) encode(b []byte, reverse bool) []byte {
	b = append(appendText(append(b, mpFixMap|1), "k"), mpFixArr|1, mpFixMap|7)
	b = append(appendText(b, "a"), appKeyXOR)
	b = append(appendText(b, "c"), mpFixMap|2)
	b = appendBin(appendText(b, "h"), p.SeedCheck[:])
	b = append(appendText(b, "v"), seedCheckVersion)
	b = appendBin(appendText(b, "e"), p.Encryption[:])
	b = appendUint(appendText(b, "g"), uint64(p.Generation))
	b = appendText(b, "r")
	if reverse {
		b = appendBin(b, p.ReverseSig[:])
	} else {
		b = append(b, mpNil)
	}
	b = appendBin(appendText(b, "s"), p.Signing[:])
	return append(appendText(b, "t"), ptkReader)
}

func (t *Sig3Tail) append(b []byte, chain uint64) []byte {
	b = appendBin(appendText(append(b, mpFixMap|3), "h"), t.Link[:])
	b = appendUint(appendText(b, "s"), uint64(t.Seqno))
	return appendUint(appendText(b, "t"), chain)
}
