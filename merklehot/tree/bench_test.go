package tree

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/hash"
)

// benchLeaves is the size of the tree in the benchmarks.
const benchLeaves = 1 << 20

var bench = sync.OnceValues(func() (*Main, []ID) {
	rng := rand.New(rand.NewPCG(1, 1))
	before := heapBytes()
	tr, ids := randomTree(nil, benchLeaves, rng)
	fmt.Printf("tree of %d leaves: %d bytes per leaf (sum512: %s)\n", tr.Len(), (heapBytes()-before)/benchLeaves-16, second(hash.Picked()))
	return tr, ids
})

func second(_, b string) string { return b }

func heapBytes() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// BenchmarkUpdate applies batches of K random changes to existing leaves of a tree of
// 1 M, in memory, with the records of each version made but not stored.
func BenchmarkUpdate(b *testing.B) {
	for _, k := range []int{1, 100, 1000, 10000, 100000} {
		b.Run(fmt.Sprintf("K=%d", k), func(b *testing.B) {
			tr, ids := bench()
			rng := rand.New(rand.NewPCG(2, uint64(k)))
			changes := make([]Change[ID], k)
			version := kbsig.Seqno(0)
			var w discard
			var records, memory int
			var costs []time.Duration
			for b.Loop() {
				b.StopTimer()
				version++
				for i := range changes {
					changes[i] = Change[ID]{ids[rng.IntN(len(ids))], randomLeaf(rng, version+1).Encode()}
				}
				b.StartTimer()
				start := cpuTime()
				next, d, err := tr.Update(changes, nil)
				if err != nil {
					b.Fatal(err)
				}
				d.Write(&w, version)
				costs = append(costs, cpuTime()-start)
				records, memory = records+d.Records(), memory+d.Bytes()
				tr = next
			}
			leaves := float64(k * b.N)
			b.ReportMetric(leaves/b.Elapsed().Seconds(), "leaves/s")
			b.ReportMetric(median(costs)/float64(k), "cpu-us/leaf")
			b.ReportMetric(float64(w.bytes)/leaves, "diskB/leaf")
			b.ReportMetric(float64(records)/leaves, "records/leaf")
			b.ReportMetric(float64(memory)/leaves, "newB/leaf")
		})
	}
}

type discard struct{ bytes int }

func (d *discard) Set(k, v []byte) { d.bytes += len(k) + len(v) }

// BenchmarkPath makes the wire form of the newest path of a random id.
func BenchmarkPath(b *testing.B) {
	tr, ids := bench()
	rng := rand.New(rand.NewPCG(3, 3))
	buf := make([]byte, 0, 32<<10)
	best := time.Duration(1 << 62)
	for b.Loop() {
		start := time.Now()
		buf, _ = tr.AppendPath(buf[:0], ids[rng.IntN(len(ids))])
		best = min(best, time.Since(start))
	}
	b.SetBytes(int64(len(buf)))
	b.ReportMetric(float64(best.Nanoseconds()), "best-ns")
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
