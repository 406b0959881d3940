package sigchain

import (
	"bytes"
	"fmt"
	"testing"
)

// A stock account's life is accepted: sign-up, paper key, second device, follow,
// unfollow, revocation; and replaying the records leads to the same state.
func TestOrdinaryLife(t *testing.T) {
	w := newWorld(t, "alice")
	step := func(what string, x Extras, ds ...*draft) {
		t.Helper()
		if err := w.post(x, ds...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	step("sign-up", Extras{PUK: boxes(1, "A", "A")}, eldest("A", "home computer"), subkey("A"), perUserKey("P1", "A", 1))
	step("paper key", Extras{PUK: boxes(1, "A", "B")}, sibkey("B", "A", "fancy word", "backup"), subkey("B"))
	step("second device", Extras{PUK: boxes(1, "A", "C")}, sibkey("C", "A", "phone", "mobile"), subkey("C"))
	step("follow", Extras{}, track("bob", "C"))
	step("follow again", Extras{}, track("bob", "A"))
	step("unfollow", Extras{}, untrack("bob", "C"))

	rev := revokeDevice("B", "C", "backup")
	puk := perUserKey("P2", "C", 2)
	links := must[[]*Link](t)(w.links(puk, rev))
	step("revoke", Extras{PUK: boxes(2, "C", "A", "C"), Lease: w.leaseFor(links[1])}, puk, rev)

	again, err := Replay(w.st.UID, w.st.Username, w.records, nil, w.replayEnv())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Encode(), w.st.Encode()) {
		t.Fatal("replay leads to another state")
	}
	if got := fmt.Sprint(len(again.ActiveDevices()), again.PUKGeneration(), again.Tail); got != "2 2 12" {
		t.Fatalf("devices, generation, tail: %s", got)
	}
}

// replayEnv is this world before anybody had keys.
func (w *world) replayEnv() Env {
	c := *w
	c.taken = nil
	return &c
}
