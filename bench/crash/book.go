package main

import (
	"fmt"
	"maps"
	"slices"
)

// book is what the ledger says must be, may be and must not be at the server. After
// each restart the checker tells it what became of requests of unknown outcome; from
// then on they are as good as acknowledged, or must never turn up.
type book struct {
	reader  ledgerReader
	open    map[int64]line // sent, and nothing came of it yet
	users   map[string]*userBook
	touched map[string]bool // since the last check

	teams        map[string]*teamBook // by id
	touchedTeams map[string]bool
}

// userBook is one name's part of the book.
type userBook struct {
	name     string
	signups  []*attempt
	posts    []*attempt // of links, in the order of sending
	links    map[string]*linkBook
	halves   map[string]*register // by KID: device/update
	ekOf     map[string]*register // by device: user/device_ek
	userEK   register
	sessions []session
	tokens   map[string]string // by device: short token that the server knows
}

// attempt is one request.
type attempt struct {
	n          int64
	sent, done int64 // positions in the ledger
	outcome    outcome
	endpoint   string
	facts      *facts
}

// linkBook is one link, that may have been posted several times.
type linkBook struct {
	fact linkFact
	must bool // acknowledged, or seen after a restart
	may  bool // of unknown outcome since the last check
	// root is the one in which a link of a team first stands, once it was looked for.
	root int64
}

// register is a value that is written again and again: what may be read from it.
type register struct {
	must  string   // last acknowledged or seen; "" for none
	maybe []string // of unknown outcome, after it
}

type session struct {
	token, csrf string
	cycle       int
}

func newBook(path string) *book {
	return &book{
		reader: ledgerReader{path: path}, open: make(map[int64]line),
		users: make(map[string]*userBook), touched: make(map[string]bool),
		teams: make(map[string]*teamBook), touchedTeams: make(map[string]bool),
	}
}

func (b *book) user(name string) *userBook {
	u := b.users[name]
	if u == nil {
		u = &userBook{
			name: name, links: make(map[string]*linkBook), halves: make(map[string]*register),
			ekOf: make(map[string]*register), tokens: make(map[string]string),
		}
		b.users[name] = u
	}
	return u
}

// readOn takes in what was written to the ledger since the last time.
func (b *book) readOn() error {
	if err := b.reader.read(b.take); err != nil {
		return err
	}
	for n, e := range b.open {
		return fmt.Errorf("request %d (%s of %s) has no outcome in the ledger", n, e.Endpoint, e.User)
	}
	return nil
}

func (b *book) take(e line) error {
	u := b.user(e.User)
	b.touched[e.User] = true
	switch e.What {
	case wasSent:
		b.open[e.N] = e
	case wasToken:
		u.tokens[e.Device] = e.Token
	case wasAcked, wasRefused, wasUnknown, wasUnsent:
		s, ok := b.open[e.N]
		if !ok {
			return fmt.Errorf("an outcome of request %d, which was not sent", e.N)
		}
		delete(b.open, e.N)
		a := &attempt{n: e.N, sent: s.at, done: e.at, outcome: e.What, endpoint: s.Endpoint, facts: s.Facts}
		u.settle(a, e)
		b.settleTeams(a, e)
	default:
		return fmt.Errorf("a line that says %q", e.What)
	}
	return nil
}

// settle files a request with its outcome.
func (u *userBook) settle(a *attempt, e line) {
	f := a.facts
	if e.What == wasAcked && e.Session != "" {
		u.sessions = append(u.sessions, session{e.Session, e.CSRF, e.Cycle})
	}
	switch {
	case a.endpoint == "signup":
		u.signups = append(u.signups, a)
	case len(f.Links) > 0:
		u.posts = append(u.posts, a)
		for _, l := range f.Links {
			lb := u.links[l.ID]
			if lb == nil {
				lb = &linkBook{fact: l}
				u.links[l.ID] = lb
			}
			lb.must = lb.must || e.What == wasAcked
			lb.may = lb.may || e.What == wasUnknown
		}
	case a.endpoint == "device/update":
		at(u.halves, f.KID).write(f.Half, e.What)
	case a.endpoint == "user/device_ek":
		at(u.ekOf, f.Device).write(f.Statement, e.What)
	case a.endpoint == "user/user_ek":
		u.userEK.write(f.Statement, e.What)
	}
}

func at(m map[string]*register, key string) *register {
	if m[key] == nil {
		m[key] = new(register)
	}
	return m[key]
}

func (r *register) write(value string, o outcome) {
	switch o {
	case wasAcked:
		r.must, r.maybe = value, nil
	case wasUnknown:
		r.maybe = append(r.maybe, value)
	}
}

// read judges a value that was read, "" for none, and from then on wants to see it.
func (r *register) read(value string) (ok bool) {
	ok = value == r.must || slices.Contains(r.maybe, value)
	if ok {
		r.must, r.maybe = value, nil
	}
	return ok
}

// takeTouched lists the users that the ledger spoke of since the last time.
func (b *book) takeTouched() []*userBook {
	out := b.named(slices.Sorted(maps.Keys(b.touched)))
	clear(b.touched)
	return out
}

// all lists every user.
func (b *book) all() []*userBook { return b.named(slices.Sorted(maps.Keys(b.users))) }

func (b *book) named(names []string) []*userBook {
	out := make([]*userBook, len(names))
	for i, n := range names {
		out[i] = b.users[n]
	}
	return out
}
