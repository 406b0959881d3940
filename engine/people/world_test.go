package people

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/store"
)

// scene is a store in memory with a clock of its own.
type scene struct {
	t     testing.TB
	store *store.Store
	clock *clock.Fake
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{t: t, clock: clock.NewFake(time.Unix(1_800_000_000, 0))}
	var err error
	s.store, err = store.Open(store.Options{
		Dir: "data", FS: vfs.NewMem(), Rand: rand.NewChaCha8([32]byte{2}), Clock: s.clock.Now, CacheBytes: 1 << 20,
		Fatal: func(err error) { t.Errorf("unexpected fatal: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// people makes bare accounts.
func (s *scene) people(names ...string) []kbsig.UID {
	s.t.Helper()
	var out []kbsig.UID
	s.do(func(tx *store.Tx) error {
		var errs []error
		for _, n := range names {
			u := kbsig.UIDOf(kbsig.Username(n))
			out = append(out, u)
			errs = append(errs, accounts.Create(tx, &accounts.Account{UID: u, Name: kbsig.Username(n)}))
		}
		return errors.Join(errs...)
	})
	return out
}

func (s *scene) do(fn func(*store.Tx) error) {
	s.t.Helper()
	if err := s.store.Update(context.Background(), fn); err != nil {
		s.t.Fatal(err)
	}
}
