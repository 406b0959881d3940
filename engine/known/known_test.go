package known

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/store"
)

// A fact is passed on once its transaction stands, again after a failure, and not at all
// if the transaction was refused.
func TestFactsArePassedOn(t *testing.T) {
	fs := vfs.NewMem()
	now := time.Unix(1_700_000_000, 0)
	clk := clock.Clock(func() time.Time { return now })
	st, err := store.Open(store.Options{Dir: "s", FS: fs, Clock: clk, Rand: zeros{}})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	r := jobs.NewRunner(jobs.Options{Store: st, Clock: clk, Logger: slog.New(slog.DiscardHandler)})
	var heard []Fact
	fail := true
	Listen(r, func(_ context.Context, f Fact) error {
		if fail {
			fail = false
			return errors.New("not now")
		}
		heard = append(heard, f)
		return nil
	})
	fact := Fact{UID: kbsig.UIDOf("alice"), Service: Mail, Name: "a@example.org"}
	refusal := errors.New("refused")
	for _, step := range []struct{ err error }{{nil}, {refusal}, {nil}} {
		f := fact
		if step.err != nil {
			f.Name = "never@example.org"
		}
		err := st.Update(t.Context(), func(tx *store.Tx) error { return errors.Join(Say(tx, f), step.err) })
		if !errors.Is(err, step.err) {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := r.RunDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
	}
	if len(heard) != 1 || heard[0] != fact {
		t.Errorf("heard %+v", heard)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
