package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/keystead/keystead/bench/proc"
)

// birthKillMax is the latest moment of a kill during a first start.
const birthKillMax = 250 * time.Millisecond

// births kills servers during the very first start on a folder, when store, key, record
// and genesis are made. Nobody has seen anything yet, so that the next start must
// simply succeed, and the one after that must find the same server.
func (t *trial) births(ctx context.Context, dir string) error {
	rng := rand.New(rand.NewPCG(t.o.seed, 1<<41))
	open := 0
	for i := range t.o.births {
		s := proc.Site{Bin: t.o.bin, Dir: filepath.Join(dir, fmt.Sprint(i), "data"), Log: io.Discard}
		if err := os.MkdirAll(filepath.Dir(s.Dir), 0o700); err != nil {
			return err
		}
		after := time.Duration(rng.Int64N(int64(birthKillMax)))
		p, stdout, err := s.Launch()
		if err != nil {
			return err
		}
		select {
		case <-time.After(after):
		case <-ctx.Done():
		}
		p.Kill()
		if stdout.String() != "" {
			open++
		}
		kid := ""
		for range 2 {
			p, err := s.Start(ctx)
			var not *proc.NotServing
			if errors.As(err, &not) {
				t.judge.found(wrong, "a first start killed after %s leaves a folder that does not start: %v", after, err)
				break
			}
			if err != nil {
				return err
			}
			p.Kill()
			if kid != "" && kid != p.KID {
				t.judge.found(forked, "a first start killed after %s: the next one signs with %s, the one after with %s", after, kid, p.KID)
			}
			kid = p.KID
		}
		if err := os.RemoveAll(filepath.Dir(s.Dir)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(t.out, "births: %d first starts killed, %d of them with open doors\n", t.o.births, open)
	return err
}
