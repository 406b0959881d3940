package client

import (
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"testing"
	"time"
)

// An honest server passes: every flow of the client works against the world and
// no rule is reported as broken.
func TestHonestWorld(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	if err := s.loadFresh(); err != nil {
		t.Fatal(err)
	}
	u := s.alice.Me
	if n := len(u.Family.ActiveDevices()); n != 3 {
		t.Errorf("%d devices, not 3", n)
	}
	if _, ok := u.Family.Followees[s.bob.UID]; !ok {
		t.Error("alice does not follow bob")
	}

	// A second computer by paper key, a revocation from there, and its effects.
	other, err := LoginPaperKey(ctx, NewVerifier(s.server(3), nil), "", CheapStream([]byte("paper")), "office")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.RevokeDevice(ctx, s.laptop.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.alice.FetchPUKs(ctx, s.alice.Device); err != nil {
		t.Fatal(err)
	}
	if len(s.alice.PUKs) != 2 || s.alice.PUKs[1].Seed != other.PUKs[1].Seed {
		t.Error("both computers should hold the same second per-user key")
	}
	if d := s.alice.Me.Family.Device(s.laptop.ID); d == nil || !d.Revoked {
		t.Error("the laptop should be revoked")
	}
	if err := other.RollPUK(ctx); err != nil {
		t.Fatal(err)
	}
	third, err := LoginPaperKey(ctx, NewVerifier(s.server(4), nil), "", CheapStream([]byte("paper")), "third")
	if err != nil {
		t.Fatal(err)
	}
	if len(third.PUKs) != 3 {
		t.Errorf("a new device opens %d generations, not 3", len(third.PUKs))
	}

	// Statements and their revocation.
	if err := s.alice.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	_, sigID, err := s.alice.Prove(ctx, "twitter", "alice_t")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.alice.RevokeSigs(ctx, sigID); err != nil {
		t.Fatal(err)
	}
	if err := s.alice.Unfollow(ctx, s.bob.UID); err != nil {
		t.Fatal(err)
	}
	if len(s.alice.Me.Family.Followees) != 0 {
		t.Error("alice should follow nobody")
	}
	stubbed, err := NewVerifier(s.server(5), nil).LoadUser(ctx, s.alice.UID, LoadOptions{Stubbed: true, Quoted: true})
	if err != nil || !stubbed.Family.HasStubs {
		t.Fatalf("stubbed load: %v", err)
	}
}

// A reset begins a new incarnation and the old one still verifies.
func TestReset(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	if err := s.alice.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if s.alice.Me.Family != nil {
		t.Error("just reset: there should be no keys")
	}
	if err := s.alice.ProvisionFirst(ctx, "new home"); err != nil {
		t.Fatal(err)
	}
	if err := s.loadFresh(); err != nil {
		t.Fatal(err)
	}
	if len(s.alice.Me.Past) != 1 || s.alice.Me.Family.PUKs[0].Generation != 1 {
		t.Error("one past incarnation, generations from 1")
	}
}

// Ephemeral keys, sessions, kits, roots of the past and the relay work.
func TestHonestExtras(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	for _, d := range []*Device{s.alice.Device, s.laptop} {
		if _, err := s.alice.PostDeviceEK(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	ek, err := s.alice.PostUserEK(ctx)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := s.alice.OpenUserEK(ctx, s.laptop, 1)
	if err != nil || opened.Seed != ek.Seed {
		t.Fatalf("user ephemeral key: %v", err)
	}
	if st, err := s.alice.UserEK(ctx, s.alice.UID); err != nil || st.Generation != 1 {
		t.Fatalf("statement %v: %v", st, err)
	}
	for kit := range kitFields {
		if _, err := s.v.Kit(ctx, kit); err != nil {
			t.Fatal(err)
		}
	}
	for seqno := Seqno(1); seqno <= s.v.LastRoot().Seqno; seqno++ {
		root, leaf, err := s.v.UserLeafAt(ctx, s.alice.UID, At{Seqno: seqno})
		if err != nil {
			t.Fatal(err)
		}
		if leaf.Exists != (seqno > 2) || root.Seqno != seqno {
			t.Errorf("root %d: leaf %v", seqno, leaf)
		}
		if _, _, _, err := s.v.LookupAt(ctx, s.bob.UID.String(), At{HashMeta: root.HashMeta}, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.v.Witness.Dump()); n != int(s.v.LastRoot().Seqno) {
		t.Errorf("witness knows %d roots", n)
	}
	var i RelaySession
	if err := s.v.srv.RelaySend(ctx, i, s.laptop.ID, 1, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	if msgs, err := s.v.srv.RelayReceive(ctx, i, s.paper.ID, 1, time.Second); err != nil || string(msgs[0]) != "hi" {
		t.Fatalf("relay: %q, %v", msgs, err)
	}
	if names, err := s.v.srv.Names(ctx, s.bob.UID); err != nil || names[s.bob.UID] != "bob" {
		t.Fatalf("names: %v, %v", names, err)
	}
	if _, err := Login(ctx, s.v, "alice", "", s.alice.Stream); err != nil {
		t.Fatal(err)
	}
	if !s.alice.NIST(s.alice.Device).IsShort() {
		t.Error("a verified token should be sent in its short form")
	}
}

// A post whose answer is lost is sent again, bytes for bytes, as long as Retry
// says so, and then stands in the chain once; a refusal is not sent again.
func TestRetry(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	lost := 0
	s.on("key/multi", func(_ url.Values, reply map[string]any) {
		if lost++; lost < 3 { // taken by the world only when it is answered
			reply["http"] = 502
		}
	})
	asked := 0
	s.alice.Retry = func(attempt int, err error) bool {
		asked++
		var h *HTTPError
		if !errors.As(err, &h) || !Unknown(err) || attempt != asked {
			t.Errorf("attempt %d: %v", attempt, err)
		}
		s.mu.Lock() // the world is no model of repeats: forget the first
		u := s.users[s.alice.UID]
		u.entries, u.bundles = u.entries[:len(u.entries)-2], u.bundles[:len(u.bundles)-2]
		s.mu.Unlock()
		return true
	}
	if _, err := s.alice.AddDevice(ctx, "third", DeviceDesktop); err != nil {
		t.Fatal(err)
	}
	if asked != 2 || len(s.alice.Sent) != 2 {
		t.Errorf("asked %d times, sent %d links", asked, len(s.alice.Sent))
	}
	if _, err := s.alice.Server().Get(ctx, "nowhere", nil, s.alice.NIST(s.laptop)); Unknown(err) {
		t.Errorf("a refusal is an answer: %v", err)
	}
}

// A witness survives in a file: what it knew binds the next one.
func TestWitnessFile(t *testing.T) {
	s := newScene(t)
	b, err := json.Marshal(s.v.Witness.Dump())
	if err != nil {
		t.Fatal(err)
	}
	var known []SeenRoot
	if err := json.Unmarshal(b, &known); err != nil {
		t.Fatal(err)
	}
	next := NewWitness()
	if err := next.Merge(known); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(next.Dump(), s.v.Witness.Dump()) {
		t.Error("the file says something else")
	}
	if _, err := NewVerifier(s.server(2), next).RefreshRoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.rewrite(s.v.LastRoot().Seqno)
	if _, err := NewVerifier(s.server(2), next).RefreshRoot(t.Context()); ViolatedRule(err) != RuleFork {
		t.Errorf("a fork after a restart: %v", err)
	}
}
