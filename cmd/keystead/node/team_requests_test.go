package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/jobs"
)

// TestTeamRequestAfterReset proves that a reset takes back what the user had asked for
// until then, and nothing that the next incarnation asks for, however late the job comes
// by that does it.
func TestTeamRequestAfterReset(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := newRoomyLab(t)
	now := clock.NewFake(time.Now())
	l.clock, l.time = now.Now, now.Now
	r := l.mustStart(t)
	defer r.mustStop(t)
	alice, bob := r.signUp(t, "alice"), r.signUp(t, "bob")
	if _, err := alice.CreateTeam(ctx, "before"); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		after := fmt.Sprintf("after%d", i)
		if _, err := alice.CreateTeam(ctx, after); err != nil {
			t.Fatal(err)
		}
		if _, err := bob.AskToJoin(ctx, "before"); err != nil {
			t.Fatal(err)
		}
		now.Advance(time.Second)
		if err := bob.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		now.Advance(time.Second)
		if err := bob.ProvisionFirst(ctx, "desk"); err != nil {
			t.Fatal(err)
		}
		if _, err := bob.AskToJoin(ctx, after); err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ {
			v := r.store.View()
			n, err := jobs.Count(v, "team-user", "", 1)
			v.Close()
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			if i > 5000 {
				t.Fatal("a job never ends")
			}
			<-time.After(time.Millisecond)
		}
		names, err := bob.MyRequests(ctx)
		if err != nil || !slices.Equal(names, []string{after}) {
			t.Fatalf("bob asks to join %v, %v", names, err)
		}
	}
}
