package proofs

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// TestWhoIsKnownNoMore proves that a proof which counted and was taken back is passed on,
// once for a name, and that one which never counted is not.
func TestWhoIsKnownNoMore(t *testing.T) {
	st, err := store.Open(store.Options{Dir: "s", FS: vfs.NewMem(), Rand: rand.NewChaCha8([32]byte{})})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	bob := kbsig.UIDOf("bob")
	for _, row := range []struct {
		state State
		want  int
	}{{StateOK, 1}, {StateLooking, 0}} {
		err := st.Update(t.Context(), func(tx *store.Tx) error {
			p := &Proof{UID: bob, SigID: kbsig.SigIDBase{1}, Service: "rooter", Name: "Bobby", State: row.state, Since: 1}
			if err := put(tx, p); err != nil {
				return err
			}
			if err := jobs.DropAll(tx, "known", ""); err != nil {
				return err
			}
			if err := Sync(tx, sigchain.NewState(bob, "bob")); err != nil {
				return err
			}
			n, err := jobs.Count(tx, "known", bob.String()+"/", 10)
			if n != row.want {
				t.Errorf("a proof in state %d: passed on %d times", row.state, n)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
