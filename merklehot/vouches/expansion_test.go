package vouches

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/sigchain"
)

const (
	aliceVouch = `{"confidence":{"other":"x","proofs":[{"name":"reddit","proof_type":4,"username":"b"}],"username_verified_via":"proofs"},` +
		`"user":{"eldest":{"kid":"0120759cb0fb2af733bcf3bf2f4e10dbaf2621444781420b89821a3fdb7590b0468f0a","seqno":1},` +
		`"seq_tail":null,"uid":"2bd806c97f0e00af1a1fc3328fa76319","username":"alice"},"vouch_text":"a \u003cfine\u003e one\n"}`
	acceptance = `{"reaction":"accept","sig_id":"` + "6a03b4755624b0b37fb396bce6b28f2271fcf57ca3e8cc4df98456e2f83612590f" + `"}`
)

// expand wraps a statement as clients do, whatever it is.
func expand(statement string) []byte {
	key := bytes.Repeat([]byte{5}, expansionKeyBytes)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(statement))
	return []byte(`{"` + hex.EncodeToString(mac.Sum(nil)) + `":{"key":"` + hex.EncodeToString(key) + `","obj":` + statement + `}}`)
}

// clientOpens does what a client does with what it is given: it must come to the same.
// client: go/libkb/id_table.go:ExtractExpansionObj
func clientOpens(t *testing.T, e *Expansion) string {
	t.Helper()
	var all map[string]struct {
		Key string `json:"key"`
		Obj any    `json:"obj"`
	}
	if err := json.Unmarshal(e.Text, &all); err != nil {
		t.Fatal(err)
	}
	x, ok := all[e.ID.String()]
	obj, err := json.Marshal(x.Obj)
	key, err2 := hex.DecodeString(x.Key)
	mac := hmac.New(sha256.New, key)
	mac.Write(obj)
	if !ok || err != nil || err2 != nil || hex.EncodeToString(mac.Sum(nil)) != e.ID.String() {
		t.Fatalf("a client cannot open %s", e.Text)
	}
	return string(obj)
}

// What clients say is taken, opens for other clients, and says what it said.
func TestExpansionsOfClients(t *testing.T) {
	e, err := ParseExpansion(expand(aliceVouch))
	if err != nil {
		t.Fatal(err)
	}
	if clientOpens(t, e) != aliceVouch {
		t.Fatal("the statement is written otherwise")
	}
	about, err := e.Vouch()
	if err != nil || about.Username != "alice" || about.UID != kbsig.UIDOf("alice") || about.EldestSeqno != 1 {
		t.Fatalf("%+v, %v", about, err)
	}
	if _, _, err := e.Reaction(); err == nil {
		t.Error("a vouch is taken for a reaction")
	}
	if e, err = ParseExpansion(expand(acceptance)); err != nil {
		t.Fatal(err)
	}
	sig, accepts, err := e.Reaction()
	if err != nil || !accepts || !strings.HasPrefix(sig.String(), "6a03b475") {
		t.Fatalf("%s %v %v", sig, accepts, err)
	}
	if _, err := e.Vouch(); err == nil {
		t.Error("a reaction is taken for a vouch")
	}
}

// What a client could not open, or not show, is refused; the HMAC fits in all of these.
func TestExpansionsThatSpoil(t *testing.T) {
	swap := func(old, with string) string { return strings.Replace(aliceVouch, old, with, 1) }
	for name, statement := range map[string]string{
		"order":           `{"user":{},"confidence":{}}`,
		"space":           swap(`"seqno":1`, `"seqno": 1`),
		"float":           swap(`"seqno":1`, `"seqno":1.0`),
		"letters":         swap(`\u003c`, `<`),
		"bell":            swap(`x`, `\u0008`),
		"proof type":      swap(`"proof_type":4`, `"proof_type":7`),
		"proof as text":   swap(`"proof_type":4`, `"proof_type":"4"`),
		"via":             swap(`"proofs"}`, `"hearsay"}`),
		"no user":         `{"confidence":{"username_verified_via":"video"},"vouch_text":"x"}`,
		"upper-case name": swap(`"alice"`, `"Alice"`),
		"eldest":          swap(`{"kid":"0120`, `{"kid":"0320`),
		"eldest as list":  swap(`"eldest":{`, `"eldest":[{`),
		"text as number":  swap(`"a \u003cfine\u003e one\n"`, `7`),
		"list":            `[]`,
		"null":            `null`,
	} {
		e, err := ParseExpansion(expand(statement))
		if err == nil {
			_, err = e.Vouch()
		}
		if sigchain.KindOf(err) != sigchain.KindInput {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, statement := range map[string]string{
		"reaction": strings.Replace(acceptance, "accept", "maybe", 1), "short": `{"reaction":"accept","sig_id":"6a03"}`,
		"nothing": `{"reaction":"accept"}`, "number": `{"reaction":1,"sig_id":"x"}`,
	} {
		e, err := ParseExpansion(expand(statement))
		if err == nil {
			_, _, err = e.Reaction()
		}
		if sigchain.KindOf(err) != sigchain.KindInput {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := string(expand(aliceVouch))
	for name, text := range map[string]string{
		"empty": "", "none": "{}", "list": "[]", "other text": strings.Replace(good, "fine", "mean", 1),
		"two": good[:len(good)-1] + "," + good[1:len(good)-1] + `,"x":{}}`, "short key": strings.Replace(good, `"key":"0505`, `"key":"`, 1),
		"no key": strings.Replace(good, `"key"`, `"kex"`, 1), "long": `{"` + strings.Repeat("x", expansionBytesMax) + `":{}}`,
	} {
		if _, err := ParseExpansion([]byte(text)); sigchain.KindOf(err) != sigchain.KindInput {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever is taken, clients can open.
func FuzzParseExpansion(f *testing.F) {
	f.Add(aliceVouch)
	f.Add(acceptance)
	f.Add(`{"a":1e5,"b":[null,true,"\u2028"],"A":{}}`)
	f.Fuzz(func(t *testing.T, statement string) {
		e, err := ParseExpansion(expand(statement))
		if err != nil {
			return
		}
		clientOpens(t, e)
		again, err := ParseExpansion(e.Text)
		if err != nil || again.ID != e.ID || !bytes.Equal(again.Text, e.Text) {
			t.Fatalf("%s does not read back: %v", e.Text, err)
		}
		_, _ = e.Vouch()
		_, _, _ = e.Reaction()
	})
}
