package roots

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/tree"
)

// benchLeaves is the size of the tree in the benchmarks.
const benchLeaves = 1 << 20

// diskWorld is a store on the machine's disk with a real high-water record and a
// tree of n leaves.
func diskWorld(b *testing.B, n int) (*store.Store, *Sequencer, []tree.ID, []kbsig.Seqno) {
	dir := b.TempDir()
	rng := rand.NewChaCha8([32]byte{1})
	st, err := store.Open(store.Options{Dir: dir + "/data", Rand: rng, CacheBytes: 256 << 20})
	if err != nil {
		b.Fatal(err)
	}
	hw, err := highwater.Open(highwater.Options{FS: vfs.Default, Path: dir + "/highwater", StoreID: st.ID(), DataDir: dir + "/data", Create: true})
	if err != nil {
		b.Fatal(err)
	}
	seq, err := Start(context.Background(), st, Config{Key: testKey(1), HighWater: hw, Rand: rng})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := st.Close(); err != nil {
			b.Error(err)
		}
		if err := hw.Close(); err != nil {
			b.Error(err)
		}
		os.RemoveAll(dir)
	})
	ids, heights := make([]tree.ID, n), make([]kbsig.Seqno, n)
	pcg := rand.New(rand.NewPCG(1, 1))
	for at := 0; at < n; at += 1 << 16 {
		err := st.Update(context.Background(), func(tx *store.Tx) error {
			for i := at; i < min(n, at+1<<16); i++ {
				for j := range ids[i] {
					ids[i][j] = byte(pcg.Uint32())
				}
				heights[i] = 1
				tx.Note(LeafChange{ids[i], benchLeaf(pcg, 1)})
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	settle()
	return st, seq, ids, heights
}

// settle waits until the database has put the new leaves in order behind the scenes,
// which would otherwise be counted as the cost of what comes next.
func settle() {
	for {
		before := cpuTime()
		time.Sleep(100 * time.Millisecond)
		if cpuTime()-before < 5*time.Millisecond {
			return
		}
	}
}

func benchLeaf(rng *rand.Rand, n kbsig.Seqno) tree.UserLeaf {
	var raw [32]byte
	for i := range 4 {
		u := rng.Uint64()
		for j := range 8 {
			raw[8*i+j] = byte(u >> (8 * j))
		}
	}
	return tree.UserLeaf{Seqno: n, Link: raw, Sig: raw, Eldest: kbsig.NewKID(kbsig.KIDTypeEdDSA, raw)}
}

// BenchmarkDurable changes K random leaves of 1 M per transaction; an operation ends
// when the signed root is fsynced, its high-water mark too, and it is published.
// Writers is how many callers do so at once.
func BenchmarkDurable(b *testing.B) {
	st, _, ids, heights := diskWorld(b, benchLeaves)
	for _, k := range []int{1, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("K=%d", k), func(b *testing.B) {
			pcg := rand.New(rand.NewPCG(2, uint64(k)))
			notes := make([]any, k)
			var costs []time.Duration
			for b.Loop() {
				b.StopTimer()
				for i := range notes {
					at := pcg.IntN(len(ids))
					heights[at]++
					notes[i] = LeafChange{ids[at], benchLeaf(pcg, heights[at])}
				}
				b.StartTimer()
				start := cpuTime()
				err := st.Update(context.Background(), func(tx *store.Tx) error {
					for _, n := range notes {
						tx.Note(n)
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
				costs = append(costs, cpuTime()-start)
			}
			b.ReportMetric(float64(k*b.N)/b.Elapsed().Seconds(), "leaves/s")
			b.ReportMetric(median(costs)/float64(k), "cpu-us/leaf")
		})
	}
}

// BenchmarkOldPath serves paths of random ids in random old roots, from the store.
func BenchmarkOldPath(b *testing.B) {
	st, _, ids, heights := diskWorld(b, 1<<17)
	pcg := rand.New(rand.NewPCG(2, 2))
	const versions = 2000
	for range versions {
		err := st.Update(context.Background(), func(tx *store.Tx) error {
			for range 20 {
				at := pcg.IntN(len(ids))
				heights[at]++
				tx.Note(LeafChange{ids[at], benchLeaf(pcg, heights[at])})
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	v := st.View()
	defer v.Close()
	s := StateOf(v)
	for b.Loop() {
		n := s.Root().Seqno - kbsig.Seqno(recentTreesMax+pcg.IntN(versions-recentTreesMax))
		if _, _, err := s.Path(v, ids[pcg.IntN(len(ids))], n); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart opens a store of 1 M leaves: read, rebuild, compare.
func BenchmarkStart(b *testing.B) {
	st, seq, _, _ := diskWorld(b, benchLeaves)
	v := st.View()
	defer v.Close()
	for b.Loop() {
		s, err := newSequencer(st, seq.cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.recover(v); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime is what the process has used of all processors; unlike the clock it tells
// the cost of work on a machine that others use too.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// median is in microseconds.
func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Nanoseconds()) / 1000
}
