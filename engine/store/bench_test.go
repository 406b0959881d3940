package store_test

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keystead/keystead/engine/store"
)

// BenchmarkUpdate writes small durable records from 1, 16 and 256 goroutines at once,
// through the store and beside it straight into Pebble with a sync each. Both run on
// the same disk in the same run: their ratio is what the seam costs or gains.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("store/writers=%d", writers), func(b *testing.B) {
			s := open(b, diskOptions(b, filepath.Join(b.TempDir(), "data")))
			defer closeStore(b, s)
			spread(b, writers, func(k, v []byte) error {
				return s.Update(ctx, func(tx *store.Tx) error { tx.Set(k, v); return nil })
			})
		})
		b.Run(fmt.Sprintf("pebble/writers=%d", writers), func(b *testing.B) {
			db, err := pebble.Open(filepath.Join(b.TempDir(), "data"), &pebble.Options{
				FormatMajorVersion: pebble.FormatValueSeparation, MemTableSize: 64 << 20, Logger: quiet{},
			})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			spread(b, writers, func(k, v []byte) error { return db.Set(k, v, pebble.Sync) })
		})
	}
}

// BenchmarkView takes and gives back views, as each read of the server does.
func BenchmarkView(b *testing.B) {
	s := openMem(b)
	update(b, s, set("a", "1"))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			v := s.View()
			if _, err := v.Get(key("a")); err != nil {
				b.Error(err)
			}
			v.Close()
		}
	})
}

// spread shares b.N writes of 100 bytes among writers.
func spread(b *testing.B, writers int, write func(k, v []byte) error) {
	var next atomic.Int64
	done := make(chan error, writers)
	b.ReportAllocs()
	b.ResetTimer()
	for range writers {
		go func() {
			var err error
			for n := next.Add(1); err == nil && n <= int64(b.N); n = next.Add(1) {
				k := binary.BigEndian.AppendUint64(key(""), uint64(n)*0x9e3779b97f4a7c15)
				err = write(k, make([]byte, 100))
			}
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

// quiet is a Pebble logger that says nothing.
type quiet struct{}

func (quiet) Infof(string, ...any)         {}
func (quiet) Errorf(string, ...any)        {}
func (quiet) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
