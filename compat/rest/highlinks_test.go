package rest

import (
	"context"
	"encoding/json"
	"net/url"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestHighLinks proves that a client which wants the important links only gets a chain
// that links up: by what the links themselves name as the important one before them, and
// where they name none, by the links that they follow.
func TestHighLinks(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bobby")
	must := mustOf(t)
	high := func(a *client.Account) (n int) {
		t.Helper()
		reply, err := a.Server().Get(ctx, "sig/get_high", url.Values{"uid": {a.UID.String()}, "c3": {"1"}}, nil)
		must(err)
		var sigs []map[string]any
		must(json.Unmarshal(reply.Field("sigs"), &sigs))
		return len(sigs)
	}
	all := func(a *client.Account) int { return len(load(t, d, a.UID).Chain) }
	must(bob.Follow(ctx, alice.UID))
	if got, want := high(bob), all(bob); got != want {
		t.Errorf("%d links, want all %d of somebody who writes no high_skip", got, want)
	}

	// From now on alice's client writes high_skip, as newer ones do.
	skip, hash := client.Seqno(1), load(t, d, alice.UID).Chain[0].ID
	var last *client.LinkSpec
	alice.EditLink = func(s *client.LinkSpec) {
		if last != nil && (last.Type == "sibkey" || last.Type == "revoke") {
			skip, hash = last.Seqno, s.Prev
		}
		last = s
		n, h := int64(skip), hash
		s.EditPayload = func(p map[string]any) { p["high_skip"] = map[string]any{"seqno": n, "hash": h.String()} }
		s.EditOuter = func(o *client.Outer) { o.Fields, o.HighSkipSeqno, o.HighSkipHash = 9, &n, h[:] }
	}
	must(alice.Follow(ctx, bob.UID))
	if got := high(alice); got != 2 { // the first link, and the newest
		t.Errorf("%d links after a follow", got)
	}
	_, _, err := alice.AddPaperKey(ctx, client.CheapStream([]byte("paper of alice")))
	must(err)
	must(alice.Unfollow(ctx, bob.UID))
	if got := high(alice); got != 3 { // the first link, the paper key, and the newest
		t.Errorf("%d links after a paper key", got)
	}
	if all(alice) < 6 {
		t.Error("the chain is too short to tell")
	}
}
