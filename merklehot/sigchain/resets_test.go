package sigchain

import (
	"bytes"
	"crypto/sha512"
	"encoding/json"
	"strings"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
)

// A reset's text is what the stock client reads, its hash is that of the text, and nothing
// but that text is read back.
func TestResetLinkText(t *testing.T) {
	w := newWorld(t, "alice")
	if err := w.post(Extras{}, eldest("A", "home"), subkey("A")); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []ResetKind{KindReset, KindReset, KindDelete} {
		if err := w.reset(kind); err != nil {
			t.Fatal(err)
		}
	}
	for i, l := range w.resets {
		text := l.JSON()
		again := must[*ResetLink](t)(ParseResetLink(text))
		if !bytes.Equal(again.JSON(), text) {
			t.Fatalf("%s\nis read as\n%s", text, again.JSON())
		}
		if i > 0 && l.Prev != sha512.Sum512(w.resets[i-1].JSON()) {
			t.Fatal("not linked by hash")
		}
	}
	var v struct {
		Prev map[string]any `json:"prev"`
	}
	if err := json.Unmarshal(w.resets[0].JSON(), &v); err != nil {
		t.Fatal(err)
	}
	if before, ok := v.Prev["reset"]; !ok || before != nil || v.Prev["eldest_kid"] != signKID("A").String() {
		t.Fatalf("first reset: %v", v.Prev)
	}
	if bytes.Contains(w.resets[1].JSON(), []byte("eldest_kid")) {
		t.Fatal("the second reset names an eldest key, and there was none")
	}
	if w.st.Resets.Hash != sha512.Sum512(w.resets[2].JSON()) || w.st.Resets.Seqno != 3 || !w.st.Deleted {
		t.Fatalf("state: %+v", w.st.Resets)
	}
}

// A reset is refused whichever of its fields is not what it has to be.
func TestResetLinkRefusals(t *testing.T) {
	w := newWorld(t, "alice")
	if err := w.post(Extras{}, eldest("A", "home"), subkey("A")); err != nil {
		t.Fatal(err)
	}
	if err := w.reset(KindReset); err != nil {
		t.Fatal(err)
	}
	for name, bend := range map[string]func(*ResetLink){
		"kind":         func(l *ResetLink) { l.Kind = "nuke" },
		"another user": func(l *ResetLink) { l.UID = kbsig.UIDOf("bob") },
		"number":       func(l *ResetLink) { l.Seqno++ },
		"again":        func(l *ResetLink) { l.Seqno-- },
		"prev":         func(l *ResetLink) { l.Prev[7] ^= 1 },
		"tail":         func(l *ResetLink) { l.Tail-- },
		"eldest":       func(l *ResetLink) { l.Eldest = signKID("A") },
		"future root":  func(l *ResetLink) { l.Root.Seqno = w.LatestRoot() + 1 },
		"forged root":  func(l *ResetLink) { l.Root.HashMeta[0] ^= 1 },
		"no root":      func(l *ResetLink) { l.Root.Seqno = 0 },
		"time":         func(l *ResetLink) { l.Ctime = w.roots[len(w.roots)-1].Ctime - 1 },
	} {
		l := w.st.NextReset(KindReset, w.roots[len(w.roots)-1], w)
		bend(l)
		if _, err := w.st.ApplyReset(l, w); KindOf(err) == KindNone {
			t.Errorf("%s: not refused", name)
		}
	}
	for w.st.Resets.Seqno < resetsMax {
		if err := w.reset(KindReset); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.reset(KindReset); KindOf(err) != KindTooMany {
		t.Fatalf("reset %d: %v", resetsMax+1, err)
	}
	if err := w.reset(KindDelete); err != nil {
		t.Fatalf("the deletion found no place: %v", err)
	}
}

// Whatever bytes a store holds for a reset, they are refused or give themselves back.
func FuzzParseResetLink(f *testing.F) {
	w := newWorld(f, "alice")
	for _, kind := range []ResetKind{KindReset, KindDelete} {
		if err := w.reset(kind); err != nil {
			f.Fatal(err)
		}
	}
	for _, l := range w.resets {
		f.Add(l.JSON())
		f.Add([]byte(strings.Replace(string(l.JSON()), `"reset":null`, `"reset":""`, 1)))
		f.Add([]byte(strings.Replace(string(l.JSON()), `{`, `{ `, 1)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseResetLink(b)
		if err == nil && !bytes.Equal(l.JSON(), b) {
			t.Fatalf("%q is read as %q", b, l.JSON())
		}
		if err != nil && KindOf(err) != KindCorrupt {
			t.Fatalf("refused as %s: %v", KindOf(err), err)
		}
	})
}
