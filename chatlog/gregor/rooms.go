package gregor

import (
	"context"
	"sync"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// Sink is one connection's end of a subscription.
type Sink interface {
	// Deliver queues a message. It must not block and must not call the Service.
	// The message is shared and must not be changed.
	Deliver(m *gregor1.Message)
	// Drop says that the subscription was ended to make room for another.
	Drop(reason string)
}

// Subscription is one connection's place among a user's.
type Subscription struct {
	rooms  *rooms
	uid    kbsig.UID
	device kbsig.DeviceID
	sink   Sink
}

// room is the meeting place of one user's writers and connections. It exists while
// somebody is inside or subscribed.
type room struct {
	// turn holds one token. Whoever has it may change the user's records and
	// broadcast; that is what puts both into one order.
	turn chan struct{}
	refs int             // guarded by rooms.mu
	subs []*Subscription // guarded by rooms.mu; oldest first
}

// rooms finds the room of a user. Lock order: a room's turn, then mu; nothing is
// called with mu held.
type rooms struct {
	mu    sync.Mutex
	byUID map[kbsig.UID]*room
}

// enter waits for the user's turn.
func (rs *rooms) enter(ctx context.Context, u kbsig.UID) (*room, error) {
	rs.mu.Lock()
	r := rs.byUID[u]
	if r == nil {
		r = &room{turn: make(chan struct{}, 1)}
		rs.byUID[u] = r
	}
	r.refs++
	rs.mu.Unlock()
	select {
	case r.turn <- struct{}{}:
		return r, nil
	case <-ctx.Done():
		rs.release(u, r)
		return nil, ctx.Err()
	}
}

// leave gives the turn back.
func (rs *rooms) leave(u kbsig.UID, r *room) {
	<-r.turn
	rs.release(u, r)
}

func (rs *rooms) release(u kbsig.UID, r *room) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r.refs--; r.refs == 0 {
		delete(rs.byUID, u)
	}
}

// subscribe adds a connection. The caller has the turn.
func (rs *rooms) subscribe(u kbsig.UID, r *room, d kbsig.DeviceID, sink Sink) *Subscription {
	sub := &Subscription{rooms: rs, uid: u, device: d, sink: sink}
	var oldest *Subscription
	rs.mu.Lock()
	if len(r.subs) >= subscriptionsMax {
		oldest = r.subs[0]
		r.subs = append([]*Subscription(nil), r.subs[1:]...)
		r.refs--
	}
	r.subs = append(r.subs, sub)
	r.refs++
	rs.mu.Unlock()
	if oldest != nil {
		oldest.sink.Drop("another connection of the user took its place")
	}
	return sub
}

// Cancel ends the subscription; the sink may still get a message that is under
// way. It may be called more than once.
func (sub *Subscription) Cancel() {
	rs := sub.rooms
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.byUID[sub.uid]
	if r == nil {
		return
	}
	for i, s := range r.subs {
		if s == sub {
			r.subs = append(append([]*Subscription(nil), r.subs[:i]...), r.subs[i+1:]...)
			if r.refs--; r.refs == 0 {
				delete(rs.byUID, sub.uid)
			}
			return
		}
	}
}

// broadcast hands each of the user's connections the message that is for its
// device, if any. The caller has the turn. Slices of subscriptions are never changed
// in place, so the one taken here stays as it is.
func (rs *rooms) broadcast(r *room, messageFor func(kbsig.DeviceID) *gregor1.Message) {
	rs.mu.Lock()
	subs := r.subs[:len(r.subs):len(r.subs)]
	rs.mu.Unlock()
	for _, s := range subs {
		if m := messageFor(s.device); m != nil {
			s.sink.Deliver(m)
		}
	}
}

func (rs *rooms) devices(u kbsig.UID) (ds []kbsig.DeviceID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.byUID[u]
	if r == nil {
		return nil
	}
	seen := make(map[kbsig.DeviceID]bool)
	for _, s := range r.subs {
		if !seen[s.device] {
			seen[s.device] = true
			ds = append(ds, s.device)
		}
	}
	return ds
}

func (rs *rooms) count() int {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return len(rs.byUID)
}
