package client

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// A token is sent long until the server verified it, then short; it is renewed in
// the last half of its life, naming the one it replaces, and thrown away when the
// server says so.
func TestNISTCredential(t *testing.T) {
	now := time.Unix(worldStart, 0)
	s := newWorld(t).server(1)
	s.Now = func() time.Time { return now }
	c := s.NewNISTCredential(UIDOf("alice"), DeviceID{15: 0x18}, NewSigningKey(randomSeed()))
	send := func(answer string) []byte {
		t.Helper()
		sent, received := make(http.Header), make(http.Header)
		if err := c.apply(sent); err != nil {
			t.Fatal(err)
		}
		received.Set("X-Keybase-Auth-NIST", answer)
		c.observe(sent, received)
		b, err := base64.StdEncoding.DecodeString(sent.Get("X-Keybase-Session"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	long := send("")
	if again := send("verified"); string(again) != string(long) {
		t.Error("the long form should be repeated until it is verified")
	}
	sum := sha256.Sum256(long)
	short := send("verified")
	if len(short) != 5+19 || string(short[5:]) != string(sum[:19]) {
		t.Errorf("short form %x", short)
	}
	now = now.Add(nistLifetime - nistRenewBefore + time.Second)
	v, err := unpack(send("verified"))
	if err != nil {
		t.Fatal(err)
	}
	if old, _ := v.([]any)[3].([]any)[5].([]byte); string(old) != string(sum[:19]) {
		t.Errorf("the new token replaces %x", old)
	}
	before := send("failed")
	if after := send("verified"); len(after) < 100 || len(before) > 30 {
		t.Error("after a failure a new long token should be sent")
	}
}

// A name whose id is not its hash needs a proof in the legacy tree, and gets no
// further without.
func TestLegacyName(t *testing.T) {
	uid, _ := ParseUID("00112233445566778899aabbccddee00")
	key := hashMetaOf("old_user").String()
	node := mustJSON(map[string]any{"type": 2, "tab": map[string]any{key: uid.String()}})
	sum := sha256.Sum256([]byte(node))
	root := &Root{LegacyUIDRoot: hex.EncodeToString(sum[:])}
	proof := json.RawMessage(mustJSON([]any{map[string]any{"node": map[string]any{"val": node}}}))
	l := &Lookup{Root: root, UID: uid, Username: "old_user"}
	if err := l.verifyUsername("x", proof); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]func() error{
		"no proof":     func() error { return l.verifyUsername("x", nil) },
		"another id":   func() error { l := *l; l.UID[0]++; return l.verifyUsername("x", proof) },
		"another name": func() error { l := *l; l.Username = "new_user"; return l.verifyUsername("x", proof) },
		"no tree":      func() error { l := *l; l.Root = &Root{}; return l.verifyUsername("x", proof) },
	} {
		if err := bad(); ViolatedRule(err) != RuleUsername {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Links of the future: an unknown type that says it may be ignored is carried
// along, whole or as a stub, and high skips are followed when they are right.
func TestUnknownAndHighSkips(t *testing.T) {
	s := newScene(t)
	spec := s.spec("gossip", 2, nil)
	spec.Ignore = true
	spec.EditOuter = func(o *Outer) { o.Type = 90 }
	gossip := s.build(spec)
	s.inject(s.alice.UID, gossip)
	s.mu.Lock()
	entries := s.users[s.alice.UID].entries
	entries[len(entries)-1]["s2"] = b64(gossip.Outer)
	s.mu.Unlock()

	high := s.alice.Me.Chain[5] // the paper key's sibkey, the last high link
	if high.Type != "sibkey" {
		t.Fatalf("link 6 is %s", high.Type)
	}
	spec = s.spec("untrack", 2, UntrackBody(s.bob.Me, "AAAA"))
	spec.EditPayload = func(p map[string]any) {
		p["high_skip"] = map[string]any{"seqno": high.Seqno, "hash": high.ID.String()}
	}
	spec.EditOuter = func(o *Outer) {
		n := int64(high.Seqno)
		o.Fields, o.HighSkipSeqno, o.HighSkipHash = 9, &n, high.ID[:]
	}
	s.inject(s.alice.UID, s.build(spec))
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	for _, stubbed := range []bool{true, false} {
		u, err := NewVerifier(s.server(2), nil).LoadUser(t.Context(), s.alice.UID, LoadOptions{Stubbed: stubbed})
		if err != nil {
			t.Fatal(err)
		}
		if l := u.Link(gossip.Spec.Seqno); l.Stubbed != stubbed || l.ID != gossip.ID {
			t.Errorf("link %d: stub %v", l.Seqno, l.Stubbed)
		}
	}
	// What was loaded as stubs is asked for again when all is wanted.
	v := NewVerifier(s.server(3), nil)
	for _, stubbed := range []bool{true, false} {
		if _, err := v.LoadUser(t.Context(), s.alice.UID, LoadOptions{Stubbed: stubbed}); err != nil {
			t.Fatal(err)
		}
	}
}

// A server that cannot be reached, or answers no protocol at all, is neither a lie
// nor a refusal.
func TestTransportErrors(t *testing.T) {
	s := newScene(t)
	s.world.lie = func(_ string, _ url.Values, r map[string]any) { r["http"] = 500 }
	err := s.load()
	var h *HTTPError
	if !errors.As(err, &h) || h.Code != 500 || !Unknown(err) {
		t.Errorf("HTTP 500: %v", err)
	}
	s.srv.Close()
	if err := s.load(); err == nil || !Unknown(err) {
		t.Errorf("no server: %v", err)
	}
}
