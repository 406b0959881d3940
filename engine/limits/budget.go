package limits

import "sync/atomic"

// Budget bounds a sum of bytes over all that use them at once. It is safe for
// concurrent use.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget makes a budget of max bytes.
func NewBudget(max int64) *Budget { return &Budget{max: max} }

// Take takes n bytes if they are there.
func (b *Budget) Take(n int) bool {
	if b.used.Add(int64(n)) > b.max {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

// Give gives n taken bytes back.
func (b *Budget) Give(n int) { b.used.Add(-int64(n)) }

// Used is how many bytes are taken.
func (b *Budget) Used() int64 { return b.used.Load() }
