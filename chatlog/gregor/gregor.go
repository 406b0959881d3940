// Package gregor keeps each user's in-band messages and hands every message to the
// user's connected devices.
//
// It owns the key families "q", 0x05 and 0x06 of engine/keys and the jobs of kinds
// "gregor.remind" and "gregor.forget", and promises:
//   - A message is on stable storage before Consume or Inject returns and before any
//     device sees it. One message is one transaction.
//   - The stamped times (ctime) of a user's messages strictly increase, also when
//     the clock stands still or goes back.
//   - A message id counts once: sending it again succeeds and changes nothing. Ids
//     are remembered for deadKeptFor after their item is gone.
//   - All connections of a user, the sender's included, get messages in ctime order.
//   - A message costs what it touches, however much its user has.
//   - A subscription and the state it returns are one moment: the sink gets exactly
//     the messages that are not in that state.
//
// Creation, dismissal by id and by range, and expiry (dtime) mean what they mean to
// clients, which run the same rules over the same messages; when the two disagree,
// badges and notifications go wrong silently. Offsets are turned into absolute times
// when a message is stamped, so that every holder of an item has equal bytes.
//
// client: go/gregor/storage/mem_sm.go, go/gregor/client/client.go
package gregor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/observe"
	"github.com/keystead/keystead/engine/store"
)

// Limits of one message.
const (
	msgIDBytesMax       = 64      // clients make 16 bytes
	categoryBytesMax    = 256     // bytes
	bodyBytesMax        = 128_000 // bytes
	dismissedIDsMax     = 1024    // message ids in one dismissal
	dismissedRangesMax  = 32      // ranges in one dismissal
	skippedIDsMax       = 64      // message ids that one range skips
	deviceIDBytes       = 16
	msgIDBytesGenerated = 16
	remindersMax        = 8   // times at which one item is told again
	systemBytesMax      = 256 // of an out-of-band message
)

// Limits of one user.
const (
	// itemsMax and itemBytesMax bound the live items, which every fresh client is
	// sent in one answer. Beyond them the oldest items are dismissed: refusing
	// instead would block the client's outbox for good, dismissals included.
	itemsMax     = 2048
	itemBytesMax = 4 << 20
	// deadKeptFor and deadMax bound how long and how many ended messages are
	// remembered, for sending twice and for sync since a ctime.
	deadKeptFor = 7 * 24 * time.Hour
	deadMax     = 2048
	// subscriptionsMax bounds a user's connections; the oldest makes room.
	subscriptionsMax = 64
)

// ErrRefused reports a message that is not kept because of its shape.
var ErrRefused = errors.New("message refused")

// Log keeps the records of users.
type Log interface {
	// View is the newest moment of what is on stable storage. It must be closed.
	View(ctx context.Context) (View, error)
	// Commit is atomic and returns once the change is on stable storage and in the
	// next View. It refuses with ErrMoved what was computed over another sum than the
	// user has. It also sees to it that Service.Remind is called for each Wake, at its
	// time or later, at least once.
	Commit(ctx context.Context, u kbsig.UID, c Change) error
}

// View reads one moment of a Log.
type View interface {
	store.Reader
	Close()
}

// ErrMoved reports that somebody else changed a user's records meanwhile: the package
// never runs two Commits for one user at the same time, but there may be two Services.
var ErrMoved = errors.New("the messages of the user have changed")

// Change is what one message does to a user's records.
type Change struct {
	Put    []Record // new or replaced, by message id
	Delete [][]byte // message ids
	Wake   []Wake   // new or replaced, by message id
	// Sum is what the user has then; nil: as before.
	Sum *Sum

	was    Sum
	places map[string][]byte // and the sum if it goes; by key, nil: taken away
}

// Wake is when a message's next reminder is due.
type Wake struct {
	MsgID []byte
	At    gregor1.Time
}

// Options is what a Service is given from outside. Log, Clock and Rand are needed.
type Options struct {
	Log    Log
	Clock  func() time.Time
	Rand   io.Reader    // for the ids of injected messages
	Logger *slog.Logger // default: discards
	// Metrics is where they are registered; nil: nowhere.
	Metrics prometheus.Registerer
	// Gone reports accounts that were deleted: nothing is kept for them any more. Nil:
	// nobody is gone.
	Gone func(u kbsig.UID) (bool, error)
	// Notify is told of what a person should hear of even if no device is connected:
	// items whose reminder is due. It must be quick. Nil: nobody is told.
	Notify func(ctx context.Context, u kbsig.UID, it gregor1.ItemAndMetadata)
	// Arrived is told of each connection of a user, after it gets messages. Nil: nobody is
	// told.
	Arrived func(ctx context.Context, u kbsig.UID)
}

// Service is the state machine of all users. It is safe for concurrent use.
type Service struct {
	opts    Options
	rooms   rooms
	metrics *metrics
	cutoffs cutoffs
}

// New makes a Service.
func New(o Options) *Service {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{opts: o, rooms: rooms{byUID: make(map[kbsig.UID]*room)}}
	s.metrics = newMetrics(o.Metrics, func() float64 { return float64(s.rooms.count()) })
	return s
}

// Consume takes a message from one of the user's own clients. A state update is
// stamped, kept and handed to all of the user's connections; an out-of-band message
// is handed to them and not kept. Whatever user the message names, it is u's. The
// error wraps ErrRefused when the message's shape is at fault.
// client: go/service/gregor.go:gregorHandler.InjectOutOfBandMessage
func (s *Service) Consume(ctx context.Context, u kbsig.UID, m gregor1.Message) error {
	err := s.consume(ctx, u, m)
	if errors.Is(err, ErrRefused) {
		s.metrics.count(outcome{}, err)
	}
	return err
}

func (s *Service) consume(ctx context.Context, u kbsig.UID, m gregor1.Message) error {
	if o := m.OutOfBand; o != nil && m.InBand == nil {
		if o.System == "" || len(o.System) > systemBytesMax || strings.HasPrefix(o.System, localSystems) || len(o.Body) > bodyBytesMax {
			return fmt.Errorf("consume for %s: out-of-band message %q of %d bytes: %w", u, o.System[:min(len(o.System), systemBytesMax)], len(o.Body), ErrRefused)
		}
		return s.Push(ctx, u, o.System, append([]byte{}, o.Body...))
	}
	if m.InBand == nil || m.InBand.StateUpdate == nil {
		return fmt.Errorf("consume for %s: neither a state update nor out of band: %w", u, ErrRefused)
	}
	up := *m.InBand.StateUpdate
	if err := checkUpdate(up); err != nil {
		return fmt.Errorf("consume for %s: %w", u, err)
	}
	return s.commit(ctx, u, up, kbsig.DeviceID{})
}

// localSystems begins the systems that clients make up for themselves.
// client: go/service/gregor.go:gregorHandler.makeReconnectOobm
const localSystems = "internal."

// Injection is an item that the server creates.
type Injection struct {
	UID      kbsig.UID
	Category string
	Body     []byte // JSON for almost all categories; must not be empty
	// DTime is when the item ends by itself, absolute or after creation. Categories
	// that clients only hide locally need one, or states grow without bound.
	DTime gregor1.TimeOrOffset
	// MsgID makes the injection repeatable: an id that was used before changes
	// nothing. Nil draws a random one.
	MsgID []byte
	// Device restricts the item to one device; zero means all.
	Device kbsig.DeviceID
	// Skip is a device that the item is not for; zero means none.
	Skip kbsig.DeviceID
	// Replace dismisses all other items of the category in the same message.
	Replace bool
	// Ends are the ids of items that are dismissed in the same message.
	Ends [][]byte
}

// Inject creates an item and returns its message id.
func (s *Service) Inject(ctx context.Context, in Injection) ([]byte, error) {
	up := gregor1.StateUpdateMessage{
		Metadata: gregor1.Metadata{MsgID: in.MsgID},
		Creation: &gregor1.Item{Category: in.Category, Body: in.Body, DTime: in.DTime},
	}
	if err := s.fillID(&up.Metadata); err != nil {
		return nil, err
	}
	if !in.Device.IsZero() {
		up.Metadata.DeviceID = in.Device[:]
	}
	if in.Replace {
		up.Dismissal = &gregor1.Dismissal{Ranges: []gregor1.MsgRange{{
			Category: in.Category, SkipMsgIDs: [][]byte{up.Metadata.MsgID},
		}}}
	}
	if len(in.Ends) > 0 {
		if up.Dismissal == nil {
			up.Dismissal = &gregor1.Dismissal{}
		}
		up.Dismissal.MsgIDs = in.Ends
	}
	if err := checkUpdate(up); err != nil {
		return nil, fmt.Errorf("inject %s for %s: %w", in.Category, in.UID, err)
	}
	return up.Metadata.MsgID, s.commit(ctx, in.UID, up, in.Skip)
}

// Dismiss removes the items with these message ids and all items of these
// categories. What is not there is no error.
func (s *Service) Dismiss(ctx context.Context, u kbsig.UID, msgIDs [][]byte, categories ...string) error {
	return s.dismiss(ctx, u, nil, msgIDs, categories...)
}

// dismiss is Dismiss in a message whose id, if it is given, makes it repeatable.
func (s *Service) dismiss(ctx context.Context, u kbsig.UID, id []byte, msgIDs [][]byte, categories ...string) error {
	up := gregor1.StateUpdateMessage{Metadata: gregor1.Metadata{MsgID: id}, Dismissal: &gregor1.Dismissal{MsgIDs: msgIDs}}
	for _, c := range categories {
		up.Dismissal.Ranges = append(up.Dismissal.Ranges, gregor1.MsgRange{Category: c})
	}
	if err := s.fillID(&up.Metadata); err != nil {
		return err
	}
	if err := checkUpdate(up); err != nil {
		return fmt.Errorf("dismiss for %s: %w", u, err)
	}
	return s.commit(ctx, u, up, kbsig.DeviceID{})
}

func (s *Service) fillID(md *gregor1.Metadata) error {
	if len(md.MsgID) != 0 {
		return nil
	}
	md.MsgID = make([]byte, msgIDBytesGenerated)
	if _, err := io.ReadFull(s.opts.Rand, md.MsgID); err != nil {
		return fmt.Errorf("draw a message id: %w", err)
	}
	return nil
}

// commit runs one checked update for u and broadcasts it.
func (s *Service) commit(ctx context.Context, u kbsig.UID, up gregor1.StateUpdateMessage, skip kbsig.DeviceID) error {
	r, err := s.rooms.enter(ctx, u)
	if err != nil {
		return err
	}
	defer s.rooms.leave(u, r)
	if s.opts.Gone != nil {
		// In the room: Forget comes before or after, not between.
		if gone, err := s.opts.Gone(u); err != nil || gone {
			return err
		}
	}
	next, err := s.keep(ctx, r, u, up, skip)
	s.metrics.count(next, err)
	if err != nil || next.repeated {
		return err
	}
	if next.evicted > 0 {
		s.opts.Logger.Warn("gregor: a user's oldest items made room", observe.FieldUID, u.String(), "items", next.evicted)
	}
	s.tell(r, next)
	return nil
}

// Forget deletes all that is kept of u, whose account was deleted before.
func (s *Service) Forget(ctx context.Context, u kbsig.UID) error {
	r, err := s.rooms.enter(ctx, u)
	if err != nil {
		return err
	}
	defer s.rooms.leave(u, r)
	b, end, err := s.open(ctx, u)
	if err != nil {
		return err
	}
	defer end()
	c, err := b.nothing()
	if err != nil || len(c.Delete) == 0 {
		return err
	}
	if err := s.opts.Log.Commit(ctx, u, c); err != nil {
		return fmt.Errorf("forget %s: %w", u, err)
	}
	return nil
}

// movedMax is how often a message is computed again because another Service was faster.
const movedMax = 8

// keep computes what an update does and keeps it. News of teams does not make room without
// a word: what takes its place is kept and told before. The caller has the user's turn.
func (s *Service) keep(ctx context.Context, r *room, u kbsig.UID, up gregor1.StateUpdateMessage, skip kbsig.DeviceID) (o outcome, err error) {
	repolled := false
	for range movedMax {
		o, err = s.compute(ctx, u, up, skip)
		if err == nil && !repolled && s.crowded(u, up, o) {
			if err = s.repoll(ctx, r, u); err == nil {
				repolled = true
				continue
			}
		}
		if err == nil && !o.repeated {
			err = s.opts.Log.Commit(ctx, u, o.change)
		}
		if !errors.Is(err, ErrMoved) {
			break
		}
	}
	if err != nil {
		return o, fmt.Errorf("keep a message of %s: %w", u, err)
	}
	return o, nil
}

func (s *Service) compute(ctx context.Context, u kbsig.UID, up gregor1.StateUpdateMessage, skip kbsig.DeviceID) (o outcome, err error) {
	b, end, err := s.open(ctx, u)
	if err != nil {
		return o, err
	}
	defer end()
	sum, known, err := b.sum()
	if err != nil {
		return o, err
	}
	if !known {
		e, some, err := b.recount()
		if err != nil {
			return o, err
		}
		if some { // in a store from before there were sums
			return o, errors.Join(s.opts.Log.Commit(ctx, u, e.change()), ErrMoved)
		}
	}
	return apply(newEdit(b, sum), up, skip, milliseconds(s.opts.Clock()))
}

// open reads a user's records; end must be called.
func (s *Service) open(ctx context.Context, u kbsig.UID) (b book, end func(), err error) {
	v, err := s.opts.Log.View(ctx)
	if err != nil {
		return b, nil, fmt.Errorf("read messages of %s: %w", u, err)
	}
	return book{v, u}, v.Close, nil
}

// tell broadcasts an outcome. What is not for a device is told to it without its
// creation, or not at all.
func (s *Service) tell(r *room, o outcome) {
	message := func(up gregor1.StateUpdateMessage) *gregor1.Message {
		return &gregor1.Message{InBand: &gregor1.InBandMessage{StateUpdate: &up}}
	}
	full := message(o.out)
	var others *gregor1.Message
	if o.out.Dismissal != nil {
		up := o.out
		up.Creation = nil
		others = message(up)
	}
	s.rooms.broadcast(r, func(d kbsig.DeviceID) *gregor1.Message {
		if !o.record.HasItem || o.record.visibleTo(d) {
			return full
		}
		return others
	})
}

// State returns the items of u that are alive at a moment (zero: now) and visible
// to the device (zero: any), whose category starts with the prefix.
func (s *Service) State(ctx context.Context, u kbsig.UID, d kbsig.DeviceID, at gregor1.TimeOrOffset, prefix string) (gregor1.State, error) {
	b, end, err := s.open(ctx, u)
	if err != nil {
		return gregor1.State{}, err
	}
	defer end()
	cur, err := b.all()
	if err != nil {
		return gregor1.State{}, err
	}
	return stateOf(u, cur, d, milliseconds(s.opts.Clock()), at, prefix), nil
}

// Since returns the messages of u stamped at or after t that still matter to the
// device, and the hash of the state that a client has after them. A client that
// lacks older messages sees another hash and asks for the State.
func (s *Service) Since(ctx context.Context, u kbsig.UID, d kbsig.DeviceID, t gregor1.Time) (gregor1.SyncResult, error) {
	b, end, err := s.open(ctx, u)
	if err != nil {
		return gregor1.SyncResult{}, err
	}
	defer end()
	cur, err := b.all()
	if err != nil {
		return gregor1.SyncResult{}, err
	}
	now := milliseconds(s.opts.Clock())
	hash, err := hashState(stateOf(u, cur, d, now, gregor1.TimeOrOffset{}, ""))
	if err != nil {
		return gregor1.SyncResult{}, fmt.Errorf("hash the state of %s: %w", u, err)
	}
	return gregor1.SyncResult{Msgs: since(u, cur, d, t), Hash: hash}, nil
}

// Push hands an out-of-band message to the connections of u that are there now; it
// is not kept. The body must not be nil.
func (s *Service) Push(ctx context.Context, u kbsig.UID, system string, body []byte) error {
	return s.push(ctx, u, kbsig.DeviceID{}, system, body)
}

// push is Push to all devices but one, if that is not zero.
func (s *Service) push(ctx context.Context, u kbsig.UID, skip kbsig.DeviceID, system string, body []byte) error {
	r, err := s.rooms.enter(ctx, u)
	if err != nil {
		return err
	}
	defer s.rooms.leave(u, r)
	s.metrics.messages.WithLabelValues("out of band").Inc()
	m := &gregor1.Message{OutOfBand: &gregor1.OutOfBandMessage{UID: u[:], System: system, Body: body}}
	s.rooms.broadcast(r, func(d kbsig.DeviceID) *gregor1.Message {
		if !skip.IsZero() && d == skip {
			return nil
		}
		return m
	})
	return nil
}

// Subscribe adds a connection and returns the state as of that moment. The sink
// gets every later message until the subscription is cancelled.
func (s *Service) Subscribe(ctx context.Context, u kbsig.UID, d kbsig.DeviceID, sink Sink) (gregor1.State, *Subscription, error) {
	w, sub, err := s.SubscribeSince(ctx, u, d, 0, sink)
	if err != nil {
		return gregor1.State{}, nil, err
	}
	return *w.State, sub, nil
}

// Welcome brings a client up to date: by the whole state, or by what happened since.
// One of the two is there.
type Welcome struct {
	State *gregor1.State
	Sync  *gregor1.SyncResult
}

// SubscribeSince is Subscribe for a client that has everything up to and including
// the messages stamped at t; 0 if it has nothing. It is told what happened since if
// that is remembered for certain, and else the whole state.
func (s *Service) SubscribeSince(ctx context.Context, u kbsig.UID, d kbsig.DeviceID, t gregor1.Time, sink Sink) (Welcome, *Subscription, error) {
	w, sub, err := s.subscribe(ctx, u, d, t, sink)
	if err == nil && s.opts.Arrived != nil {
		s.opts.Arrived(ctx, u)
	}
	return w, sub, err
}

func (s *Service) subscribe(ctx context.Context, u kbsig.UID, d kbsig.DeviceID, t gregor1.Time, sink Sink) (Welcome, *Subscription, error) {
	r, err := s.rooms.enter(ctx, u)
	if err != nil {
		return Welcome{}, nil, err
	}
	defer s.rooms.leave(u, r)
	w, err := s.welcome(ctx, u, d, t)
	if err != nil {
		return w, nil, err
	}
	s.metrics.welcomed(w)
	return w, s.rooms.subscribe(u, r, d, sink), nil
}

func (s *Service) welcome(ctx context.Context, u kbsig.UID, d kbsig.DeviceID, t gregor1.Time) (Welcome, error) {
	b, end, err := s.open(ctx, u)
	if err != nil {
		return Welcome{}, err
	}
	defer end()
	cur, err := b.all()
	if err != nil {
		return Welcome{}, err
	}
	sum, _, err := b.sum()
	if err != nil {
		return Welcome{}, err
	}
	now := milliseconds(s.opts.Clock())
	st := stateOf(u, cur, d, now, gregor1.TimeOrOffset{}, "")
	if t == 0 || !remembered(cur, sum, now, t) {
		return Welcome{State: &st}, nil
	}
	hash, err := hashState(st)
	if err != nil {
		return Welcome{}, fmt.Errorf("hash the state of %s: %w", u, err)
	}
	return Welcome{Sync: &gregor1.SyncResult{Msgs: since(u, cur, d, t), Hash: hash}}, nil
}

// Connected returns the devices of u that are subscribed now, each once.
func (s *Service) Connected(u kbsig.UID) []kbsig.DeviceID { return s.rooms.devices(u) }

func milliseconds(t time.Time) gregor1.Time { return gregor1.Time(t.UnixMilli()) }
