package sigchain

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/keybase/go-crypto/openpgp"
	"github.com/keybase/go-crypto/openpgp/armor"
	"github.com/keybase/go-crypto/openpgp/packet"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
)

// testPGP is a PGP key with its secret, in one version.
type testPGP struct {
	entity *openpgp.Entity
	kid    kbsig.KID
	bundle string
	parsed *pgp.Key
}

var (
	testKeysLock sync.Mutex
	testKeys     = map[string]*testPGP{}
)

// testKey makes a key once for each label: small, since nobody relies on it.
func testKey(label string) *testPGP {
	testKeysLock.Lock()
	defer testKeysLock.Unlock()
	if k := testKeys[label]; k != nil {
		return k
	}
	e, err := openpgp.NewEntity("Test "+label, "", label+"@example.com", &packet.Config{RSABits: 1024})
	if err != nil {
		panic(err)
	}
	// Self-signatures are made when the secret key is written.
	if err := e.SerializePrivate(&bytes.Buffer{}, nil); err != nil {
		panic(err)
	}
	k := (&testPGP{entity: e}).version(1)
	testKeys[label] = k
	return k
}

// version is the same key in other words: versions go by the text of the armour.
func (k *testPGP) version(n int) *testPGP {
	var b bytes.Buffer
	w, err := armor.Encode(&b, "PGP PUBLIC KEY BLOCK", map[string]string{"Comment": fmt.Sprintf("version %d", n)})
	if err == nil {
		err = errors.Join(k.entity.Serialize(w), w.Close())
	}
	if err != nil {
		panic(err)
	}
	parsed, err := pgp.ParseKey(b.String())
	if err != nil {
		panic(err)
	}
	return &testPGP{k.entity, parsed.KID, b.String(), parsed}
}

type noClose struct{ *bytes.Buffer }

func (noClose) Close() error { return nil }

// sign makes a signed message, as stock clients do.
func (k *testPGP) sign(payload []byte) string {
	var b bytes.Buffer
	out, err := armor.Encode(noClose{&b}, "PGP MESSAGE", nil)
	if err != nil {
		panic(err)
	}
	in, err := openpgp.AttachedSign(out, *k.entity, nil, nil)
	if err == nil {
		_, err = in.Write(payload)
	}
	if err := errors.Join(err, in.Close()); err != nil {
		panic(err)
	}
	return b.String()
}

// name fills a section about the key.
func (k *testPGP) name(section obj, whole bool) obj {
	section["kid"] = k.kid.String()
	section["fingerprint"] = k.parsed.Fingerprint.String()
	section["key_id"] = k.parsed.Fingerprint.KeyID()
	if whole {
		section["full_hash"] = k.parsed.Hash.String()
	}
	return section
}

func pgpEldest(k *testPGP) *draft { return &draft{typ: "eldest", v: 1, gpg: k, bundle: k.bundle} }

func pgpSibkey(k *testPGP, by string) *draft {
	d := &draft{typ: "sibkey", by: by, v: 1, bundle: k.bundle, revAt: []string{"sibkey", "reverse_sig"}}
	d.body = obj{"sibkey": k.name(obj{"reverse_sig": nil}, true)}
	d.reseal = func(inner obj) string { return k.sign(marshal(inner)) }
	return d
}

func pgpUpdate(k *testPGP, by string) *draft {
	return &draft{typ: "pgp_update", by: by, v: 1, bundle: k.bundle, body: obj{"pgp_update": k.name(obj{}, true)}}
}

func revokePGP(k *testPGP, by string) *draft {
	return &draft{typ: "revoke", by: by, v: 1, body: obj{"revoke": obj{"kids": []any{k.kid.String()}}}}
}

// signedBy makes a PGP key sign the draft.
func (d *draft) signedBy(k *testPGP) *draft {
	d.gpg = k
	return d
}

// newKeySigns is how the key that a draft adds makes its reverse signature.
func (d *draft) newKeySigns() func([]byte) string {
	switch {
	case d.typ == "sibkey" && d.bundle != "":
		return testKey("G").sign
	case d.typ == "sibkey":
		return func(b []byte) string { return kbsig.Armor(kbsig.SignPacket(signer("B"), b)) }
	case d.typ == "per_user_key":
		return func(b []byte) string { return kbsig.Armor(kbsig.SignPacket(signer(d.puk), b)) }
	case d.typ == "wallet.stellar":
		return func(b []byte) string { return kbsig.Armor(kbsig.SignPacket(signer("W"), b)) }
	}
	return nil
}

func withPGP(t testing.TB) *world {
	w := signUp(t)
	if err := w.post(Extras{}, pgpSibkey(testKey("G"), "A")); err != nil {
		t.Fatal(err)
	}
	return w
}

// A PGP key is added, signs, is updated, is revoked by its id or by the signature that
// added it, and comes back; the records alone lead to the same state.
func TestLifeOfPGPKey(t *testing.T) {
	w, g := withPGP(t), testKey("G")
	newPUK := func(n int64) Extras {
		return Extras{PUK: boxes(n, "A", "A"), Lease: &Lease{Root: 1, KIDs: []kbsig.KID{g.kid}}}
	}
	steps := []struct {
		what   string
		x      Extras
		drafts []*draft
	}{
		{"follow", Extras{}, []*draft{version(1, track("bob", "").signedBy(g))[0]}},
		{"update", Extras{}, []*draft{pgpUpdate(g.version(2), "A")}},
		{"update by itself", Extras{}, []*draft{pgpUpdate(g.version(3), "").signedBy(g.version(3))}},
		{"unfollow", Extras{}, []*draft{version(1, untrack("bob", "").signedBy(g))[0]}},
		{"revoke", newPUK(2), []*draft{perUserKey("P2", "A", 2), revokePGP(g, "A")}},
		{"add again", Extras{}, []*draft{pgpSibkey(g.version(2), "A")}},
		{"another", Extras{}, []*draft{pgpSibkey(testKey("H"), "").signedBy(g)}},
	}
	for _, s := range steps {
		if err := w.post(s.x, s.drafts...); err != nil {
			t.Fatalf("%s: %v", s.what, err)
		}
	}
	k, _ := w.st.Key(g.kid)
	if err := w.post(Extras{Lease: &Lease{Root: 1, SigIDs: []kbsig.SigIDBase{k.AddedSig}}}, revokeSig("A", k.AddedSig)); err != nil {
		t.Fatal(err)
	}
	if w.st.ActiveSibkey(g.kid) || len(w.st.ActivePGP()) != 1 || len(w.st.PGP) != 5 {
		t.Fatalf("%d active of %d versions", len(w.st.ActivePGP()), len(w.st.PGP))
	}
	again, err := Replay(w.st.UID, w.st.Username, w.records, nil, w.replayEnv())
	if err != nil || !bytes.Equal(again.Encode(), w.st.Encode()) {
		t.Fatalf("replay leads elsewhere: %v", err)
	}
	for i, r := range w.records {
		back, err := DecodeRecord(r.Encode())
		if err != nil || !bytes.Equal(back.Bundle, r.Bundle) {
			t.Fatalf("record %d: %v", i+1, err)
		}
		e, err := r.Entry(false)
		if err != nil || pgp.IsMessage(string(r.Packet)) != (e.Sig != "") {
			t.Fatalf("entry %d: %v", i+1, err)
		}
	}
}

// An account whose eldest key is a PGP key adds a device with it, which can then do
// without: so did the first accounts, and so do those who were reset to one.
func TestPGPEldest(t *testing.T) {
	w, g := newWorld(t, "alice"), testKey("G")
	if err := w.post(Extras{}, pgpEldest(g)); err != nil {
		t.Fatal(err)
	}
	device := sibkey("A", "", "home computer", "desktop").signedBy(g)
	sub := subkey("A")
	if err := w.post(Extras{}, device, sub); err != nil {
		t.Fatal(err)
	}
	if err := w.post(Extras{PUK: boxes(1, "A", "A")}, perUserKey("P1", "A", 1)); err != nil {
		t.Fatal(err)
	}
	x := Extras{PUK: boxes(2, "A", "A"), Lease: &Lease{Root: 1, KIDs: []kbsig.KID{g.kid}}}
	if err := w.post(x, perUserKey("P2", "A", 2), revokePGP(g, "A")); err != nil {
		t.Fatal(err)
	}
	if w.st.Eldest != g.kid || w.st.ActiveSibkey(g.kid) || !w.st.ActiveSibkey(signKID("A")) {
		t.Fatal("the account has other keys than it should")
	}
	if err := w.reset(KindReset); err != nil {
		t.Fatal(err)
	}
	if err := w.post(Extras{}, pgpEldest(g)); err != nil {
		t.Fatalf("the same key after a reset: %v", err)
	}
}

// What a client could not load, or would load in another version than it was signed for,
// is refused with the status that clients know.
func TestPGPRefused(t *testing.T) {
	g, h := testKey("G"), testKey("H")
	revoked := func(t testing.TB) *world {
		w := withPGP(t)
		x := Extras{PUK: boxes(2, "A", "A"), Lease: &Lease{Root: 1, KIDs: []kbsig.KID{g.kid}}}
		if err := w.post(x, perUserKey("P2", "A", 2), revokePGP(g, "A")); err != nil {
			t.Fatal(err)
		}
		return w
	}
	bent := func(d *draft, bend func(*draft)) *draft { bend(d); return d }
	for _, c := range []struct {
		what  string
		setup func(testing.TB) *world
		draft *draft
		kind  Kind
	}{
		{"no key", signUp, bent(pgpSibkey(g, "A"), func(d *draft) { d.bundle = "" }), KindMismatch},
		{"another key", signUp, bent(pgpSibkey(g, "A"), func(d *draft) { d.bundle = h.bundle }), KindMismatch},
		{"another version", signUp, bent(pgpSibkey(g, "A"), func(d *draft) { d.bundle = g.version(2).bundle }), KindMismatch},
		{"broken key", signUp, bent(pgpSibkey(g, "A"), func(d *draft) { d.bundle = strings.Replace(g.bundle, "\n\n", "\n\nx", 1) }), KindBadKey},
		{"secret key", signUp, bent(pgpSibkey(g, "A"), func(d *draft) { d.bundle = strings.ReplaceAll(g.bundle, "PUBLIC", "PRIVATE") }), KindBadKey},
		{"reverse signature of another", signUp, bent(pgpSibkey(g, "A"), func(d *draft) {
			d.reseal = func(inner obj) string { return h.sign(marshal(inner)) }
		}), KindSignature},
		{"reverse signature over another statement", signUp, bent(pgpSibkey(g, "A"), func(d *draft) {
			d.reseal = func(obj) string { return g.sign([]byte("{}")) }
		}), KindSignature},
		{"with a device", signUp, bent(pgpSibkey(g, "A"), func(d *draft) {
			d.body["device"] = obj{"id": deviceID("G").String(), "kid": g.kid.String(), "name": "gpg", "status": 1, "type": "desktop"}
		}), KindDeviceOther},
		{"no hash", signUp, bent(pgpSibkey(g, "A"), func(d *draft) { delete(d.body["sibkey"].(obj), "full_hash") }), KindMismatch},
		{"twice", withPGP, pgpSibkey(g, "A"), KindSibkeyExists},
		{"signs itself in", signUp, pgpSibkey(g, "").signedBy(g), KindWrongKey},
		{"a stranger signs", withPGP, version(1, track("bob", "").signedBy(h))[0], KindWrongKey},
		{"signs after its end", revoked, version(1, track("bob", "").signedBy(g))[0], KindKeyRevoked},
		{"v2", withPGP, version(2, track("bob", "").signedBy(g))[0], KindInput},
		{"same version", withPGP, pgpUpdate(g, "A"), KindSameVersion},
		{"updates a stranger", withPGP, pgpUpdate(h, "A"), KindKeyNotFound},
		{"updates after its end", revoked, pgpUpdate(g.version(2), "A"), KindKeyRevoked},
		{"key beside a follow", withPGP, bent(track("bob", "A"), func(d *draft) { d.bundle = h.bundle }), KindMismatch},
		{"second eldest", withPGP, pgpEldest(h), KindEldest},
		{"device key called PGP", signUp, bent(sibkey("B", "A", "phone", "mobile"), func(d *draft) { d.key, d.bundle = kbsig.KID{}, g.bundle }), KindMismatch},
	} {
		w := c.setup(t)
		if err := w.post(Extras{}, c.draft); KindOf(err) != c.kind {
			t.Errorf("%s: %v (%v), want %v", c.what, KindOf(err), err, c.kind)
		}
	}
}

// Clients that have gpg sign name the key by its id alone, and take the payload's hash
// for the signature's id; any other wrong id is still one.
func TestSignedByGPG(t *testing.T) {
	w, g := withPGP(t), testKey("G")
	d := version(1, track("bob", "").signedBy(g))[0]
	d.edit = func(inner obj) {
		key := inner["body"].(obj)["key"].(obj)
		delete(key, "fingerprint")
		delete(key, "key_id")
	}
	p := w.sign(d, w.st.Tail+1, w.st.TailLink, w.st.Eldest)
	m, err := pgp.ParseMessage(p.Sig)
	if err != nil {
		t.Fatal(err)
	}
	payload := kbsig.SigIDBase(kbsig.LinkIDOf(m.Payload))
	p.SigIDBase, p.SigIDShort = payload.String(), payload.Short()
	l, err := Parse(p)
	if err != nil {
		t.Fatal(err)
	}
	if l.SigID != m.ID {
		t.Fatal("the signature goes by the wrong id")
	}
	if _, err := CheckBatch(w.st, []*Link{l}, Extras{}, w); err != nil {
		t.Fatal(err)
	}
	p.SigIDBase = signKID("x").String()[:64]
	if _, err := Parse(p); KindOf(err) != KindMismatch {
		t.Fatalf("any id is taken: %v", err)
	}
}

// pgpStep draws one request about PGP keys: keys of three labels come, change, sign and
// go; nil if there is nothing to do.
func (h *history) pgpStep(t *rapid.T, by string) *draft {
	k := testKey(rapid.SampledFrom([]string{"G", "H", "I"}).Draw(t, "pgp key"))
	k = k.version(rapid.IntRange(1, 3).Draw(t, "pgp version"))
	switch rapid.IntRange(0, 5).Draw(t, "pgp request") {
	case 0:
		return pgpSibkey(k, by)
	case 1:
		return pgpUpdate(k, by)
	case 2:
		if h.st.PUKGeneration() > 0 && rapid.Bool().Draw(t, "by signature") {
			if added, ok := h.st.Key(k.kid); ok {
				return revokeSig(by, added.AddedSig)
			}
		}
		return revokePGP(k, by)
	case 3:
		return pgpUpdate(k, "").signedBy(k)
	case 4:
		return track("bob", "").signedBy(k)
	}
	if h.st.Eldest.IsZero() {
		return pgpEldest(k)
	}
	return pgpSibkey(testKey("G"), "").signedBy(k)
}

// pgpScenes cover the links of PGP keys.
var pgpScenes = []scene{
	{"PGP key", signUp, func(v int) []*draft { return version(v, pgpSibkey(testKey("G"), "A")) }, noExtras},
	{"PGP eldest key", func(t testing.TB) *world { return newWorld(t, "alice") },
		ancient(func() *draft { return pgpEldest(testKey("G")) }), noExtras},
	{"PGP update", withPGP, func(v int) []*draft { return version(v, pgpUpdate(testKey("G").version(2), "A")) }, noExtras},
	{"PGP key updates itself", withPGP, ancient(func() *draft {
		return pgpUpdate(testKey("G").version(2), "").signedBy(testKey("G").version(2))
	}), noExtras},
	{"PGP key signs", withPGP, ancient(func() *draft { return track("bob", "").signedBy(testKey("G")) }), noExtras},
	{"revoke PGP key", withPGP,
		func(v int) []*draft { return version(v, perUserKey("P2", "A", 2), revokePGP(testKey("G"), "A")) },
		func(w *world, links []*Link) Extras {
			return Extras{PUK: boxes(2, "A", "A"), Lease: w.leaseFor(links[1])}
		}},
}

func init() { scenes = append(scenes, pgpScenes...) }

// ancient is a batch of links that PGP signs, of which there is version 1 only.
func ancient(d func() *draft) func(int) []*draft {
	return func(v int) []*draft {
		if v == 2 {
			return nil
		}
		return version(1, d())
	}
}
