package pgp

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/keybase/go-crypto/openpgp"
	"github.com/keybase/go-crypto/openpgp/armor"
	"github.com/keybase/go-crypto/openpgp/packet"

	"github.com/keystead/keystead/compat/kbsig"
)

// The files of testdata were made by GnuPG 2 for keys that were thrown away.
func file(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func key(t testing.TB, name string) *Key {
	t.Helper()
	k, err := ParseKey(file(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return k
}

func message(t testing.TB, name string) *Message {
	t.Helper()
	m, err := ParseMessage(file(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

const statement = `{"body":{"type":"test"}}`

// Messages of GnuPG, compressed in each way that it knows or not at all, signed by
// primary keys and by subkeys, verify with the key that made them, whether that has
// expired since or not, and with no other.
func TestVerify(t *testing.T) {
	keys := []string{"ed.asc", "rsa.asc", "dsa.asc", "expired.asc"}
	for name, by := range map[string]string{
		"ed-compressed.msg": "ed.asc", "ed-primary.msg": "ed.asc", "ed-bzip2.msg": "ed.asc",
		"rsa.msg": "rsa.asc", "dsa.msg": "dsa.asc", "expired.msg": "expired.asc",
	} {
		m := message(t, name)
		if string(m.Payload) != statement {
			t.Errorf("%s says %q", name, m.Payload)
		}
		for _, k := range keys {
			err := m.Verify(key(t, k))
			if k == by && err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if k != by && !errors.Is(err, kbsig.ErrSignature) {
				t.Errorf("%s verifies with %s: %v", name, k, err)
			}
		}
	}
}

// A later version of a key has its id and verifies for it; one that was revoked has the
// id too, and verifies nothing.
func TestVersions(t *testing.T) {
	first, second, revoked := key(t, "ed.asc"), key(t, "ed-second.asc"), key(t, "revoked.asc")
	if first.KID != second.KID || first.KID != revoked.KID || first.Fingerprint != revoked.Fingerprint {
		t.Error("versions of one key have different names")
	}
	if first.Hash == second.Hash || second.Hash == revoked.Hash {
		t.Error("versions of one key have the same hash")
	}
	m := message(t, "ed-primary.msg")
	if err := m.Verify(second); err != nil {
		t.Error(err)
	}
	if err := m.Verify(revoked); !errors.Is(err, kbsig.ErrSignature) {
		t.Errorf("a revoked key verifies: %v", err)
	}
}

// Names are what stock clients make of the same keys; they stand in links for ever.
func TestNames(t *testing.T) {
	for _, name := range []string{"ed.asc", "rsa.asc", "dsa.asc"} {
		k := key(t, name)
		want := file(t, name+".names")
		got := fmt.Sprintln(k.KID, k.Fingerprint, k.Fingerprint.KeyID(), k.Hash, len(k.Subkeys))
		if got != want {
			t.Errorf("%s:\ngot  %swant %s", name, got, want)
		}
		if !IsKID(k.KID) {
			t.Errorf("%s is no PGP key id", k.KID)
		}
		back, err := ParseFingerprint(k.Fingerprint.String())
		if err != nil || back != k.Fingerprint || back.Reversed().Reversed() != back {
			t.Errorf("fingerprint %s does not survive: %v", k.Fingerprint, err)
		}
	}
	if k := key(t, "ed.asc"); len(k.All()) != 3 || k.All()[0] != k.Fingerprint {
		t.Errorf("fingerprints %v", k.All())
	}
	if HashOf("x\n") != HashOf("  x") || HashOf("x") == HashOf("y") {
		t.Error("full hashes do not go by the text without space around it")
	}
}

// What is not one public key, or not sent alone, is refused, however close it comes.
func TestNotKeys(t *testing.T) {
	ed := file(t, "ed.asc")
	for what, bundle := range map[string]string{
		"nothing":          "",
		"two keys":         file(t, "two.asc"),
		"two blocks":       ed + ed,
		"text before":      "x\n" + ed,
		"space before":     "\n" + ed,
		"text behind":      ed + "x",
		"cut":              ed[:len(ed)/2],
		"no end":           strings.Replace(ed, "-----END", "", 1),
		"another checksum": changeChecksum(ed),
		"a message":        file(t, "ed-primary.msg"),
		"called secret":    strings.ReplaceAll(ed, "PUBLIC", "PRIVATE"),
		"secret inside":    secretAsPublic(t),
		"no user id":       armored(t, "PGP PUBLIC KEY BLOCK", primaryOnly(t, ed)),
		"junk in line one": strings.Replace(ed, "BLOCK-----", "BLOCK-----x", 1),
		"control":          strings.Replace(ed, "\n", "\n\x01", 1),
		"not UTF-8":        strings.Replace(ed, "\n", "\nComment: \xff", 1),
		"too large":        ed + strings.Repeat("\n", BundleBytesMax),
	} {
		if _, err := ParseKey(bundle); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := ParseKey(ed + "\n\n"); err != nil {
		t.Errorf("space behind: %v", err)
	}
}

// What is not one text under one signature is refused, and what would fill memory when
// it is unpacked.
func TestNotMessages(t *testing.T) {
	good := file(t, "ed-primary.msg")
	for what, text := range map[string]string{
		"nothing":        "",
		"a key":          file(t, "ed.asc"),
		"detached":       file(t, "detached.msg"),
		"unsigned":       file(t, "unsigned.msg"),
		"two signatures": file(t, "two-signatures.msg"),
		"bomb":           file(t, "bomb.msg"),
		"two blocks":     good + good,
		"cut":            good[:len(good)/2],
		"text before":    "x\n" + good,
		"twice inside":   armored(t, "PGP MESSAGE", bytes.Repeat(message(t, "ed-primary.msg").body, 2)),
		"without end":    armored(t, "PGP MESSAGE", message(t, "ed-primary.msg").body[:60]),
		"too large":      good + strings.Repeat("\n", MessageBytesMax),
	} {
		if _, err := ParseMessage(text); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// No bit of a message can change without another id, another payload or a signature that
// no longer verifies.
func TestMessageBits(t *testing.T) {
	m, k := message(t, "ed-primary.msg"), key(t, "ed.asc")
	for i := range m.body {
		b := bytes.Clone(m.body)
		b[i] ^= 1 << (i % 8)
		got, err := ParseMessage(armored(t, "PGP MESSAGE", b))
		if err != nil {
			continue
		}
		if got.ID == m.ID {
			t.Errorf("byte %d does not count for the id", i)
		}
		if !bytes.Equal(got.Payload, m.Payload) && got.Verify(k) == nil {
			t.Errorf("byte %d changes a payload that still verifies", i)
		}
	}
}

func changeChecksum(text string) string {
	at := strings.LastIndex(text, "\n=") + 2
	c := byte('A')
	if text[at] == c {
		c = 'B'
	}
	return text[:at] + string(c) + text[at+1:]
}

func armored(t testing.TB, kind string, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(raw)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// primaryOnly is a key without what is bound to it.
func primaryOnly(t testing.TB, bundle string) []byte {
	t.Helper()
	k, err := ParseKey(bundle)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := k.entity.PrimaryKey.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// secretAsPublic is a secret key in the armour of a public one.
func secretAsPublic(t testing.TB) string {
	t.Helper()
	e, err := openpgp.NewEntity("Test", "", "test@example.com", &packet.Config{RSABits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := e.SerializePrivate(&b, nil); err != nil {
		t.Fatal(err)
	}
	return armored(t, "PGP PUBLIC KEY BLOCK", b.Bytes())
}

// allocatedMax is what n bytes from outside may make a parser allocate: unpacking bzip2
// takes 4 MiB for a block, whatever it holds.
func allocatedMax(n int) uint64 { return 64*uint64(n) + 8<<20 }

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

// Whatever is taken for a key, clients can load: it parses again to the same names, and
// verifying with it ends in an answer.
func FuzzParseKey(f *testing.F) {
	for _, name := range []string{"ed.asc", "ed-second.asc", "rsa.asc", "dsa.asc", "expired.asc", "revoked.asc", "two.asc"} {
		f.Add(file(f, name))
	}
	m := message(f, "ed-primary.msg")
	f.Fuzz(func(t *testing.T, text string) {
		var k *Key
		var err error
		frugal(t, len(text), func() { k, err = ParseKey(text) })
		if err != nil {
			return
		}
		again, err := ParseKey(k.Bundle)
		if err != nil || again.KID != k.KID || again.Hash != k.Hash || again.Fingerprint != k.Fingerprint {
			t.Fatalf("parses another way the second time: %v", err)
		}
		if err := m.Verify(k); err != nil && !errors.Is(err, kbsig.ErrSignature) {
			t.Fatal(err)
		}
	})
}

// Whatever is taken for a message has one payload within the limits, and asking who
// signed it ends in an answer.
func FuzzParseMessage(f *testing.F) {
	for _, name := range []string{"ed-primary.msg", "ed-compressed.msg", "ed-bzip2.msg", "rsa.msg", "dsa.msg", "two-signatures.msg", "bomb.msg"} {
		f.Add(file(f, name))
	}
	k := key(f, "ed.asc")
	f.Fuzz(func(t *testing.T, text string) {
		var m *Message
		var err error
		frugal(t, len(text), func() { m, err = ParseMessage(text) })
		if err != nil {
			return
		}
		if len(m.Payload) == 0 || len(m.Payload) > kbsig.PayloadBytesMax {
			t.Fatalf("payload of %d bytes", len(m.Payload))
		}
		if err := m.Verify(k); err != nil && !errors.Is(err, kbsig.ErrSignature) {
			t.Fatal(err)
		}
	})
}
