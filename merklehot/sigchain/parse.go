package sigchain

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
)

// Limits of what one link may say.
const (
	// expireInMin and expireInMax bound a link's own life, in seconds. Stock
	// clients write 16 years and do not act on it; older ones did.
	expireInMin = 365 * 24 * 3600
	expireInMax = 32 * 365 * 24 * 3600
	// timeMax bounds Unix times, in seconds (year 9999).
	timeMax = 253402300799
	// seqnoMax bounds chain and root numbers.
	seqnoMax = 1 << 40
	// clientTextMax bounds the client's name and version, in bytes.
	clientTextMax = 128
)

const (
	canonicalHost = "keybase.io"
	goClientName  = "keybase.io go client"
)

// parseLink reads a link from its packet, its inner JSON if it is a v2 link, and the
// PGP key that it adds, if it adds one. All signatures are verified but those of PGP
// keys that the link does not bring with it: which version of a key counts, the chain
// says. Nothing is compared with any chain.
func parseLink(packet, inner []byte, bundle string) (*Link, error) {
	l, err := openLink(packet, inner)
	if err != nil {
		return nil, err
	}
	if err := l.readBundle(bundle); err != nil {
		return nil, err
	}
	if err := l.readInner(); err != nil {
		return nil, err
	}
	if l.bundle != nil && l.bundle.KID != l.Key {
		return nil, refuse(KindMismatch, "a PGP key beside a link that adds none")
	}
	if l.message != nil {
		return l, l.checkMessage()
	}
	if l.outer != nil {
		if err := l.checkOuter(); err != nil {
			return nil, err
		}
	}
	return l, l.checkEntry()
}

// openLink decodes what signs.
func openLink(packet, inner []byte) (*Link, error) {
	if pgp.IsMessage(string(packet)) {
		return openPGPLink(packet, inner)
	}
	sig, err := kbsig.DecodeSignature(packet)
	if err != nil {
		return nil, refuse(KindSignature, "%w", err)
	}
	if !sig.Hashed {
		// Clients rebuild link packets with the hash, so that one without would
		// get another signature id from them than from us.
		return nil, refuse(KindSignature, "packet without its hash")
	}
	if err := sig.Verify(); err != nil {
		return nil, refuse(KindSignature, "%w", err)
	}
	l := &Link{Version: 1, ID: kbsig.LinkIDOf(sig.Payload), SigID: sig.ID(), sig: sig, packet: sig.Packet, inner: sig.Payload}
	if sig.Payload[0] != '{' {
		l.Version, l.inner = 2, inner
		if l.outer, err = kbsig.DecodeOuter(sig.Payload); err != nil {
			return nil, refuse(KindInput, "%w", err)
		}
	} else if len(inner) != 0 {
		return nil, refuse(KindMismatch, "inner link beside a v1 link")
	}
	return l, nil
}

// readInner reads the JSON frame and the sections of the type.
// client: go/libkb/chain_link.go:unpackPayloadJSON, go/libkb/kbsig.go:ToJSON2
func (l *Link) readInner() error {
	doc, err := kbsig.ParseSignedJSON(l.inner, true)
	if err != nil {
		return refuse(KindInput, "%w", err)
	}
	root := doc.Root()
	body := root.Object("body")
	typ := body.String("type")
	l.readFrame(&root, &body)
	if err := root.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if l.sig != nil && l.KID != l.sig.KID {
		return refuse(KindWrongKey, "signed by %s, not by %s as the link says", l.sig.KID, l.KID)
	}
	if err := checkClient(&root); err != nil {
		return err
	}
	l.Type = kbsig.LinkTypeOf(typ, body.Has("revoke"))
	read := sections[l.Type]
	if read == nil {
		return refuse(KindNotAvailable, "link of type %q is not available on this server yet", typ)
	}
	if err := read(l, &body); err != nil {
		return err
	}
	if err := l.checkIgnorable(); err != nil {
		return err
	}
	body.End()
	root.End()
	if err := root.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	return nil
}

// readFrame reads what all links have.
func (l *Link) readFrame(root, body *kbsig.JSONSection) {
	root.Const("tag", "signature")
	l.Seqno = kbsig.Seqno(root.Int("seqno", 1, seqnoMax))
	l.Ctime = root.Int("ctime", 1, timeMax)
	l.ExpireIn = root.Int("expire_in", expireInMin, expireInMax)
	if l.Seqno == 1 {
		readNull(root, "prev")
	} else {
		l.Prev = kbsig.Parsed(root, "prev", nonZeroLinkID)
	}
	if root.Has("seq_type") {
		root.Int("seq_type", kbsig.SeqTypePublic, kbsig.SeqTypePublic)
	}
	if root.Has("high_skip") {
		l.HighSkip = readHighSkip(root)
	}
	l.ignorable = root.True("ignore_if_unsupported")
	body.Int("version", int64(l.Version), int64(l.Version))

	key := body.Object("key")
	key.Const("host", canonicalHost)
	l.KID = kbsig.Parsed(&key, "kid", kbsig.ParseKID)
	l.UID = kbsig.Parsed(&key, "uid", kbsig.ParseUID)
	l.Username = kbsig.Parsed(&key, "username", parseNormalUsername)
	if key.Has("eldest_kid") {
		l.Eldest = kbsig.Parsed(&key, "eldest_kid", kbsig.ParseKID)
	}
	// Clients that have gpg sign do not say more than the key id.
	if pgp.IsKID(l.KID) && key.Has("fingerprint") {
		l.signer = readPGPNames(&key)
	}
	key.End()

	mr := body.Object("merkle_root")
	l.Root.Seqno = kbsig.Seqno(mr.Int("seqno", 1, seqnoMax))
	l.Root.Ctime = mr.Int("ctime", 1, timeMax)
	l.Root.NodeHash = kbsig.Parsed(&mr, "hash", kbsig.ParseNodeHash)
	l.Root.HashMeta = kbsig.Parsed(&mr, "hash_meta", kbsig.ParseHashMeta)
	mr.End()
}

func readNull(s *kbsig.JSONSection, name string) {
	if v := s.Value(name); v == nil || v.Kind != kbsig.JSONNull {
		s.Fail("%s is not null", name)
	}
}

func nonZeroLinkID(s string) (kbsig.LinkID, error) {
	l, err := kbsig.ParseLinkID(s)
	if err == nil && l.IsZero() {
		err = fmt.Errorf("link id of zeroes: %w", kbsig.ErrBadID)
	}
	return l, err
}

// parseNormalUsername takes names in the one spelling that all answers use.
func parseNormalUsername(s string) (kbsig.Username, error) {
	u, err := kbsig.ParseUsername(s)
	if err == nil && string(u) != s {
		err = fmt.Errorf("user name that is not lower-case: %w", kbsig.ErrBadID)
	}
	return u, err
}

// readHighSkip reads the optional pointer of newer clients.
// client: go/libkb/chain_link.go:parseHighSkipFromPayload
func readHighSkip(root *kbsig.JSONSection) *kbsig.HighSkip {
	hs := root.Object("high_skip")
	out := &kbsig.HighSkip{Seqno: kbsig.Seqno(hs.Int("seqno", 0, seqnoMax))}
	if out.Seqno == 0 {
		readNull(&hs, "hash")
	} else {
		out.Hash = kbsig.Parsed(&hs, "hash", nonZeroLinkID)
	}
	hs.End()
	return out
}

// checkClient reads the client section. It may hold more than a name and a
// version, but must not make a client believe that the link was signed by one of
// those old releases whose packets had no hash.
// client: go/sigid/sigid.go:isModernSigIDMaker
func checkClient(root *kbsig.JSONSection) error {
	c := root.Object("client")
	name, version := c.String("name"), c.String("version")
	if err := root.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if len(name) > clientTextMax || len(version) > clientTextMax {
		return refuse(KindInput, "client name or version of %d bytes", max(len(name), len(version)))
	}
	if name == goClientName && !newerThan(version, [3]int{1, 0, 16}) {
		return refuse(KindInput, "client version %q", version)
	}
	return nil
}

// newerThan compares the leading three numbers of a version; false if it has not
// got three.
func newerThan(version string, than [3]int) bool {
	core, _, _ := strings.Cut(version, "-")
	core, _, _ = strings.Cut(core, "+")
	parts := strings.Split(core, ".")
	if len(parts) != 3 {
		return false
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || strconv.Itoa(n) != p || n < 0 {
			return false
		}
		if n != than[i] {
			return n > than[i]
		}
	}
	return false
}

// ignorableTypes are younger than clients that are still about, or were. Clients let
// those skip them, and sign them only in a form of which others can be shown a stub.
// client: go/libkb/kbsig.go:StellarProof, WotVouchProof, go/libkb/sig_chain.go:verifySubchain
var ignorableTypes = map[kbsig.LinkType]bool{
	kbsig.LinkWalletStellar:  true,
	kbsig.LinkWotVouch:       true,
	kbsig.LinkWotVouchRevoke: true,
	kbsig.LinkWotReact:       true,
}

// checkIgnorable: a link says that old clients may skip it if its type is younger than
// they may be, and only then. client: go/libkb/chain_link.go:unpackStubbed
func (l *Link) checkIgnorable() error {
	if l.ignorable != ignorableTypes[l.Type] {
		return refuse(KindMismatch, "ignore_if_unsupported is %v in a link of type %s", l.ignorable, l.Type)
	}
	if l.ignorable && l.Version != 2 {
		return refuse(KindInput, "link of type %s in version %d", l.Type, l.Version)
	}
	return nil
}

// checkOuter compares the outer link with the inner one.
// client: go/libkb/chain_link_v2.go:AssertFields
func (l *Link) checkOuter() error {
	o := l.outer
	switch {
	case o.Seqno != l.Seqno:
		return refuse(KindMismatch, "outer seqno %d, inner %d", o.Seqno, l.Seqno)
	case o.Prev != l.Prev:
		return refuse(KindMismatch, "outer prev %s, inner %s", o.Prev, l.Prev)
	case o.Curr != sha256.Sum256(l.inner):
		return refuse(KindMismatch, "outer link is about another inner link")
	case o.Type != l.Type:
		return refuse(KindMismatch, "outer type %d, inner %d", o.Type, l.Type)
	case o.IgnoreIfUnsupported != l.ignorable:
		return refuse(KindMismatch, "ignore_if_unsupported in one of outer and inner link")
	case (o.HighSkip == nil) != (l.HighSkip == nil):
		return refuse(KindMismatch, "high_skip in one of outer and inner link")
	case o.HighSkip != nil && *o.HighSkip != *l.HighSkip:
		return refuse(KindMismatch, "outer high_skip differs from inner")
	}
	return nil
}

// checkEntry proves that clients will rebuild, from what sig/get serves, the very
// packet that was received.
func (l *Link) checkEntry() error {
	packet, err := l.Entry(false).Rebuild(l.KID, l.Seqno, l.Prev)
	if err != nil {
		return refuse(KindInput, "rebuild: %w", err)
	}
	if !bytes.Equal(packet, l.packet) {
		return refuse(KindSignature, "packet that clients cannot rebuild")
	}
	return nil
}

// checkReverseSig verifies that key signed the same JSON with null in place of
// the signature at rev. client: go/libkb/id_table.go:VerifyReverseSig
func (l *Link) checkReverseSig(rev *kbsig.JSONValue, key kbsig.KID) error {
	want := make([]byte, 0, len(l.inner))
	want = append(want, l.inner[:rev.Off]...)
	want = append(want, "null"...)
	want = append(want, l.inner[rev.End:]...)
	if pgp.IsKID(key) {
		return l.checkPGPReverseSig(rev.Str, want)
	}
	sig, err := kbsig.OpenSignature(rev.Str)
	if err != nil {
		return refuse(KindSignature, "reverse signature: %w", err)
	}
	if sig.KID != key {
		return refuse(KindSignature, "reverse signature by %s, not by %s", sig.KID, key)
	}
	if !bytes.Equal(sig.Payload, want) {
		return refuse(KindSignature, "reverse signature over another statement")
	}
	return nil
}
