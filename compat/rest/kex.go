package rest

import (
	"container/list"
	"encoding/base64"
	"encoding/hex"
	"sync"
	"time"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/clock"
)

// Limits of the key-exchange relay. It lives in memory: an exchange takes a minute,
// both sides start anew if the server went away, and the server sees ciphertext only.
const (
	kexMessageBytesMax     = 64 << 10
	kexMessagesMax         = 200 // in one exchange
	kexSessionBytesMax     = 512 << 10
	kexSessionsMax         = 10000
	kexBytesMax            = 64 << 20 // in all exchanges; the one untouched longest makes room
	kexSessionLifetime     = time.Hour
	kexPollMax             = 10 * time.Second
	kexReceiversWaitingMax = 2000
)

type (
	kexID     [32]byte // derived from a secret that both devices know
	kexSender [16]byte
)

type kexMessage struct {
	sender kexSender
	seqno  int64
	body   string // base64, as sent
}

type kexSession struct {
	id       kexID
	place    *list.Element
	messages []kexMessage
	bytes    int
	touched  time.Time
	changed  chan struct{} // closed and replaced at each message
}

// kexRelay passes messages between two devices of which one is being provisioned.
// client: go/libkb/kex2_router.go
type kexRelay struct {
	clock    clock.Clock
	mu       sync.Mutex
	sessions map[kexID]*kexSession
	order    list.List // of *kexSession, the one untouched longest first
	bytes    int       // of all messages
	waiting  int
	closing  chan struct{}
	once     sync.Once
}

func newKexRelay(c clock.Clock) *kexRelay {
	return &kexRelay{clock: c, sessions: make(map[kexID]*kexSession), closing: make(chan struct{})}
}

// close lets all waiting receivers go.
func (k *kexRelay) close() { k.once.Do(func() { close(k.closing) }) }

// session finds or makes a session; the relay is locked. Those that are too old go,
// and the one untouched longest if there are too many: a flood of new exchanges ends
// idle ones first.
func (k *kexRelay) session(id kexID) *kexSession {
	now := k.clock()
	for e := k.order.Front(); e != nil && now.Sub(e.Value.(*kexSession).touched) > kexSessionLifetime; e = k.order.Front() {
		k.drop(e.Value.(*kexSession))
	}
	if s := k.sessions[id]; s != nil {
		s.touched = now
		k.order.MoveToBack(s.place)
		return s
	}
	if len(k.sessions) >= kexSessionsMax {
		k.drop(k.order.Front().Value.(*kexSession))
	}
	s := &kexSession{id: id, touched: now, changed: make(chan struct{})}
	s.place = k.order.PushBack(s)
	k.sessions[id] = s
	return s
}

// drop forgets a session; the relay is locked. Who waits in it finds nothing.
func (k *kexRelay) drop(s *kexSession) {
	k.order.Remove(s.place)
	delete(k.sessions, s.id)
	k.bytes -= s.bytes
}

// send stores a message. Sending the same again is fine; another body under a
// seqno that is taken is not.
func (k *kexRelay) send(id kexID, m kexMessage) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.session(id)
	for _, old := range s.messages {
		if old.sender == m.sender && old.seqno == m.seqno {
			if old.body == m.body {
				return nil
			}
			return status.Input("another message has that seqno")
		}
	}
	if len(s.messages) >= kexMessagesMax || s.bytes+len(m.body) > kexSessionBytesMax {
		return status.Input("too many messages in this exchange")
	}
	for k.bytes+len(m.body) > kexBytesMax && k.order.Front() != s.place {
		k.drop(k.order.Front().Value.(*kexSession))
	}
	s.messages = append(s.messages, m)
	s.bytes += len(m.body)
	k.bytes += len(m.body)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// receive returns what others than receiver have sent from seqno low on, without
// gaps, and waits up to poll for the first of it.
func (k *kexRelay) receive(id kexID, receiver kexSender, low int64, poll time.Duration) []string {
	timer := time.NewTimer(min(poll, kexPollMax))
	defer timer.Stop()
	for {
		k.mu.Lock()
		s := k.session(id)
		got := s.since(receiver, low)
		changed := s.changed
		if len(got) == 0 && k.waiting >= kexReceiversWaitingMax {
			poll = 0
		}
		if len(got) > 0 || poll <= 0 {
			k.mu.Unlock()
			return got
		}
		k.waiting++
		k.mu.Unlock()
		done := false
		select {
		case <-changed:
		case <-timer.C:
			done = true
		case <-k.closing:
			done = true
		}
		k.mu.Lock()
		k.waiting--
		k.mu.Unlock()
		if done {
			return nil
		}
	}
}

// since lists the other side's messages low, low+1, ... as far as they are there.
func (s *kexSession) since(receiver kexSender, low int64) []string {
	var out []string
	for want := max(low, 1); ; want++ {
		found := false
		for _, m := range s.messages {
			if m.sender != receiver && m.seqno == want {
				out, found = append(out, m.body), true
			}
		}
		if !found {
			return out
		}
	}
}

func kexArgs(c *call, device string) (id kexID, dev kexSender, err error) {
	b, err := c.hexBytes("I", len(id))
	if err != nil {
		return id, dev, err
	}
	copy(id[:], b)
	if b, err = c.hexBytes(device, len(dev)); err != nil {
		return id, dev, err
	}
	copy(dev[:], b)
	return id, dev, nil
}

// kexSend: POST kex2/send.
func kexSend(c *call) (any, error) {
	id, sender, err := kexArgs(c, "sender")
	if err != nil {
		return nil, err
	}
	seqno, err := c.integer("seqno", 0)
	if err != nil {
		return nil, err
	}
	if seqno < 1 || seqno > kexMessagesMax {
		return nil, status.InputField("seqno", "seqno out of range")
	}
	// The last message of an exchange is empty: it closes the connection inside.
	msg := c.raw("msg")
	if raw, err := base64.StdEncoding.DecodeString(msg); err != nil || len(raw) > kexMessageBytesMax {
		return nil, status.InputField("msg", "not base64 of an acceptable length")
	}
	return none{}, c.s.kex.send(id, kexMessage{sender: sender, seqno: seqno, body: msg})
}

// kexReceive: GET kex2/receive.
func kexReceive(c *call) (any, error) {
	id, receiver, err := kexArgs(c, "receiver")
	if err != nil {
		return nil, err
	}
	low, err := c.integer("low", 1)
	if err != nil {
		return nil, err
	}
	poll, err := c.integer("poll", 0)
	if err != nil {
		return nil, err
	}
	bodies := c.s.kex.receive(id, receiver, low, time.Duration(poll)*time.Millisecond)
	type message struct {
		Msg string `json:"msg"`
	}
	reply := struct {
		Msgs []message `json:"msgs"`
	}{Msgs: []message{}}
	for _, b := range bodies {
		reply.Msgs = append(reply.Msgs, message{b})
	}
	return reply, nil
}

// String names a session in logs by its first bytes only.
func (id kexID) String() string { return hex.EncodeToString(id[:4]) + "…" }
