package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// lineBytesMax bounds one line of the ledger; the longest carry one request's links.
const lineBytesMax = 1 << 20

// outcome is what a line of the ledger says.
type outcome string

const (
	wasSent    outcome = "sent"    // about to leave; the same number follows with what came of it
	wasAcked   outcome = "acked"   // the server said that it is done
	wasRefused outcome = "refused" // the server said that it is not done
	wasUnknown outcome = "unknown" // no answer, or one that does not tell
	wasUnsent  outcome = "unsent"  // nobody listened: it cannot have been done
	wasToken   outcome = "token"   // the server said that it knows a device's token from now on
)

// line is one line of the ledger, a JSON object. Request numbers count from 1.
type line struct {
	N        int64   `json:"n,omitempty"`
	What     outcome `json:"what"`
	Cycle    int     `json:"cycle"`
	Worker   int     `json:"worker"`
	User     string  `json:"user"`
	Endpoint string  `json:"endpoint,omitempty"`
	Facts    *facts  `json:"facts,omitempty"` // of a request
	Code     int     `json:"code,omitempty"`  // of a refusal
	Why      string  `json:"why,omitempty"`   // of an unknown outcome
	Session  string  `json:"session,omitempty"`
	CSRF     string  `json:"csrf,omitempty"`
	Token    string  `json:"token,omitempty"`
	Device   string  `json:"device,omitempty"`

	at int64 // position in the file, from 1: the order of everything
}

// facts is what a request asks to be kept.
type facts struct {
	Salt      string     `json:"salt,omitempty"`      // signup: tells one attempt at a name from another
	Links     []linkFact `json:"links,omitempty"`     // key/multi, follow
	Device    string     `json:"device,omitempty"`    // user/device_ek
	Statement string     `json:"statement,omitempty"` // user/device_ek, user/user_ek
	KID       string     `json:"kid,omitempty"`       // device/update
	Half      string     `json:"half,omitempty"`      // device/update
	Team      []teamFact `json:"team,omitempty"`      // sig/multi
}

// teamFact is one link of a team that a request posts.
type teamFact struct {
	linkFact
	Team   string `json:"team"`
	Hidden bool   `json:"hidden,omitempty"`
}

// linkFact is one link that a request posts.
type linkFact struct {
	Seqno int64  `json:"seqno"`
	ID    string `json:"id"` // hex
	Type  string `json:"type"`
}

// ledger is the file in which every request that changes something is written down
// before it leaves, and again with what came of it. Positions in it are the order
// of events: what was answered before something else was sent stands above it.
type ledger struct {
	mu      sync.Mutex
	file    *os.File
	lines   int64
	numbers int64
	acked   int64
	unknown int64
	err     error
}

func newLedger(path string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the ledger: %w", err)
	}
	return &ledger{file: f}, nil
}

// sent writes a request down and gives it its number.
func (l *ledger) sent(e line) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.numbers++
	e.N, e.What = l.numbers, wasSent
	l.write(e)
	return e.N
}

// came writes down what came of a request, or what else the server promised.
func (l *ledger) came(e line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.What {
	case wasAcked:
		l.acked++
	case wasUnknown:
		l.unknown++
	}
	l.write(e)
}

func (l *ledger) write(e line) {
	b, err := json.Marshal(e)
	if err == nil {
		_, err = l.file.Write(append(b, '\n'))
	}
	l.err = errors.Join(l.err, err)
	l.lines++
}

// position is how many lines there are.
func (l *ledger) position() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines
}

// counts are how many requests were acknowledged and how many have no known outcome.
func (l *ledger) counts() (acked, unknown int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked, l.unknown
}

func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.file.Close())
}

// ledgerReader reads a ledger while it is being written, from where it stopped last.
type ledgerReader struct {
	path   string
	offset int64
	lines  int64
}

// read calls fn for each line that was added since the last call.
func (r *ledgerReader) read(fn func(line) error) error {
	f, err := os.Open(r.path)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(r.offset, io.SeekStart); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	s := bufio.NewScanner(f)
	s.Buffer(nil, lineBytesMax)
	for s.Scan() {
		r.offset += int64(len(s.Bytes())) + 1
		r.lines++
		var e line
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			return fmt.Errorf("line %d of the ledger: %w", r.lines, err)
		}
		e.at = r.lines
		if err := fn(e); err != nil {
			return fmt.Errorf("line %d of the ledger: %w", r.lines, err)
		}
	}
	return s.Err()
}
