package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// limitOf is a limit of teamchain, by its name.
func limitOf(t *testing.T, name string) int {
	t.Helper()
	for _, r := range teamchain.LimitRows() {
		if r.Name == name {
			n, err := strconv.Atoi(strings.ReplaceAll(r.Value, ",", ""))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("there is no limit %s", name)
	return 0
}

// strangers puts n users into the store who have keys and nothing else: of those whom somebody
// adds to a team, a server looks at no more.
func (d *door) strangers(t *testing.T, n int) map[client.UserVersion]client.PUKInfo {
	t.Helper()
	out := make(map[client.UserVersion]client.PUKInfo, n)
	err := d.store.Update(context.Background(), func(tx *store.Tx) error {
		for i := range n {
			name := kbsig.Username(fmt.Sprintf("crowd%d", i))
			dh := client.NewDHKey(client.Seed{byte(i), byte(i >> 8), 1}).KID()
			st := sigchain.NewState(kbsig.UIDOf(name), name)
			st.Tail, st.EldestSeqno, st.Incarnation = 3, 1, 1
			st.Eldest = kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{byte(i), byte(i >> 8)})
			st.PUKs = []sigchain.PUK{{Generation: 1, Incarnation: 1, Signing: st.Eldest, Encryption: kbsig.KID(dh), SignedBy: st.Eldest, AddedAt: 3}}
			tx.Set(keys.Chain(st.UID), st.Encode())
			out[client.UserVersion{UID: client.UID(st.UID), Eldest: 1}] = client.PUKInfo{Generation: 1, DH: dh, Seqno: 3}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCrowd proves that one link which adds as many members as a link may (membersMax, which
// bounds it before the bytes of the link or of the request do), with a box for each, is taken
// in one request over HTTP; that somebody who was added with all these loads and verifies
// the team from nothing and opens its key; and that one more is refused with a sentence that
// names the limit, and changes nothing.
func TestCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("some ten thousand boxes")
	}
	ctx := context.Background()
	d := openDoor(t)
	most := limitOf(t, "membersMax")
	if most < 5000 {
		t.Errorf("a link adds %d members at most, and clients bound it nowhere", most)
	}
	alice, last := d.signUp(t, "alice"), d.signUp(t, "latecomer")
	people := d.strangers(t, most)
	acme, err := alice.CreateTeam(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	people[last.Version()] = *last.Me.Family.LatestPUK()
	var body int
	alice.EditPost = func(_ string, b map[string]any) {
		text, err := json.Marshal(b)
		if err != nil {
			t.Error(err)
		}
		body = len(text)
	}
	_, err = alice.AddCrowd(ctx, acme, people)
	if client.StatusCode(err) != 100 || !strings.Contains(err.Error(), fmt.Sprintf("more than %d members", most)) {
		t.Fatalf("%d members at once: %v", len(people), err)
	}
	if now, err := alice.LoadTeam(ctx, acme.ID, client.TeamOptions{Fresh: true}); err != nil || len(now.Links) != 1 {
		t.Fatalf("after a refusal: %v, %v", now, err)
	}

	for uv := range people {
		if uv != last.Version() {
			delete(people, uv)
			break
		}
	}
	if acme, err = alice.AddCrowd(ctx, acme, people); err != nil {
		t.Fatalf("%d members at once: %v", len(people), err)
	}
	inner := len(alice.Sent[0].Inner)
	t.Logf("a link of %d of %d bytes, in a request of %d of %d", inner, kbsig.TeamInnerBytesMax, body, sigMultiBodyMax)
	if inner > kbsig.TeamInnerBytesMax/2 || body > sigMultiBodyMax/2 {
		t.Errorf("a link of %d bytes in a request of %d: the limits of bytes are near", inner, body)
	}
	seen, err := last.LoadTeam(ctx, acme.ID, client.TeamOptions{Fresh: true})
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	if len(seen.Members()) != most+1 || seen.Key() == nil || seen.Key().Seed != acme.Key().Seed {
		t.Errorf("%d members, with key %v", len(seen.Members()), seen.Key())
	}
}
