package limits

import (
	"sync"
	"time"
)

// buckets keeps the counts of one limit. A count is one instant: when it will have
// recovered fully. An event moves it one step into the future, and may happen if it
// is then at most a burst of steps away. It has one lock; nothing in it blocks.
type buckets struct {
	step, room int64 // nanoseconds: of one event, of a whole burst
	max        int   // counts kept

	mu    sync.Mutex
	slots []slot
	free  []int32       // slots that hold no count
	at    map[Key]int32 // slots that do
	heap  []int32       // the same slots, the one that recovers soonest first
}

type slot struct {
	key  Key
	full int64 // when it has recovered, in nanoseconds of the clock
	pos  int32 // in heap
}

func newBuckets(r Rate, max int) *buckets {
	step := int64(r.step())
	return &buckets{step: step, room: step * int64(r.Burst), max: max, at: make(map[Key]int32)}
}

// take counts one event now, or says how long to wait until one may happen.
func (b *buckets) take(k Key, now int64) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	i, known := b.at[k]
	if !known {
		b.add(k, now+b.step)
		return 0, true
	}
	full := max(b.slots[i].full, now) + b.step
	if over := full - now - b.room; over > 0 {
		return time.Duration(over), false
	}
	b.slots[i].full = full
	b.down(b.slots[i].pos)
	return 0, true
}

// give takes one event back.
func (b *buckets) give(k Key, now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, known := b.at[k]
	if !known {
		return // recovered, or forgotten
	}
	b.slots[i].full -= b.step
	b.up(b.slots[i].pos)
	b.expire(now)
}

// untouched reports whether a key has its whole burst.
func (b *buckets) untouched(k Key, now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, known := b.at[k]
	return !known || b.slots[i].full <= now
}

func (b *buckets) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.heap)
}

// expire forgets at most two counts that have recovered: each event adds at most
// one, so that none stays for long and no event pays for many.
func (b *buckets) expire(now int64) {
	for range 2 {
		if len(b.heap) == 0 || b.slots[b.heap[0]].full > now {
			return
		}
		b.pop()
	}
}

// add makes a count, in place of the one that recovers soonest if there is no room.
func (b *buckets) add(k Key, full int64) {
	if len(b.heap) >= b.max {
		b.pop()
	}
	var i int32
	if n := len(b.free); n > 0 {
		i, b.free = b.free[n-1], b.free[:n-1]
	} else {
		i = int32(len(b.slots))
		b.slots = append(b.slots, slot{})
	}
	b.slots[i] = slot{key: k, full: full, pos: int32(len(b.heap))}
	b.at[k] = i
	b.heap = append(b.heap, i)
	b.up(b.slots[i].pos)
}

// pop forgets the count that recovers soonest.
func (b *buckets) pop() {
	top, last := b.heap[0], len(b.heap)-1
	b.place(0, b.heap[last])
	b.heap = b.heap[:last]
	if last > 0 {
		b.down(0)
	}
	delete(b.at, b.slots[top].key)
	b.free = append(b.free, top)
}

func (b *buckets) place(pos, i int32) {
	b.heap[pos] = i
	b.slots[i].pos = pos
}

func (b *buckets) up(pos int32) {
	i := b.heap[pos]
	for pos > 0 {
		parent := (pos - 1) / 2
		if b.slots[b.heap[parent]].full <= b.slots[i].full {
			break
		}
		b.place(pos, b.heap[parent])
		pos = parent
	}
	b.place(pos, i)
}

func (b *buckets) down(pos int32) {
	i, n := b.heap[pos], int32(len(b.heap))
	for {
		child := 2*pos + 1
		if child >= n {
			break
		}
		if child+1 < n && b.slots[b.heap[child+1]].full < b.slots[b.heap[child]].full {
			child++
		}
		if b.slots[b.heap[child]].full >= b.slots[i].full {
			break
		}
		b.place(pos, b.heap[child])
		pos = child
	}
	b.place(pos, i)
}
