package proofs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/fetch"
	"github.com/keystead/keystead/engine/known"
	"github.com/keystead/keystead/engine/observe"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/directory"
	"github.com/keystead/keystead/merklehot/pvl"
)

// Limits of checks.
const (
	// checkTimeout bounds one check of one proof, all its pages together.
	checkTimeout = 30 * time.Second
	// checkAgainMin is how long the answer of a check stands, whoever asks.
	checkAgainMin = time.Second
	// hardFailuresMax is how often in a row a proof that held may be missing before
	// it counts as gone.
	hardFailuresMax = 3
	// softGrace is how long a proof that cannot be looked at goes on to hold.
	softGrace = 7 * 24 * time.Hour
	// candidatesMax bounds the posts of a user that are looked at for a proof.
	candidatesMax = 5
	// reasonBytesMax bounds what is kept of why a check failed.
	reasonBytesMax = 200
	// followersToldMax bounds who is told that somebody's proofs have changed; the
	// others see it when they look.
	followersToldMax = 200
)

// Check looks for a proof now, unless that was done just before, and returns what is
// known then. Checks of one proof wait for each other. The error is ErrNoProof if there
// is none, or the store's.
func (b *Book) Check(ctx context.Context, u kbsig.UID, sig kbsig.SigIDBase) (*Proof, error) {
	leave, err := b.alone(ctx, string(u[:])+string(sig[:]))
	if err != nil {
		return nil, err
	}
	defer leave()
	v := b.o.Store.View()
	p, err := Get(v, u, sig)
	if err != nil {
		v.Close()
		return nil, err
	}
	if b.o.Clock().UnixMilli()-p.Checked < checkAgainMin.Milliseconds() {
		v.Close()
		return p, nil
	}
	seen, f, err := b.look(ctx, v, p)
	v.Close()
	if err != nil {
		return nil, err
	}
	return b.note(ctx, u, sig, seen, f)
}

// alone waits until nobody else checks the same proof.
func (b *Book) alone(ctx context.Context, key string) (leave func(), err error) {
	for {
		b.mu.Lock()
		busy := b.running[key]
		if busy == nil {
			done := make(chan struct{})
			b.running[key] = done
			b.mu.Unlock()
			return func() {
				b.mu.Lock()
				delete(b.running, key)
				b.mu.Unlock()
				close(done)
			}, nil
		}
		b.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another check: %w", ctx.Err())
		}
	}
}

// look runs the program of a proof's service. It returns where the proof was seen, or
// why it was not; the error is the store's.
func (b *Book) look(ctx context.Context, r store.Reader, p *Proof) (seen string, f *pvl.Failure, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	s := b.services[p.Service]
	if s == nil {
		return "", &pvl.Failure{Status: pvl.StatusUnknownType, Text: "this server does not know the service"}, nil
	}
	if s.check(p.Name) != nil {
		return "", &pvl.Failure{Status: pvl.StatusBadUsername, Text: "nobody can have that name there"}, nil
	}
	packet, user, err := statement(r, p)
	if err != nil {
		return "", nil, err
	}
	src := &source{b: b, r: r, operators: s.config != nil}
	if s.config != nil {
		seen, f = s.config.look(ctx, src, p, user)
		return seen, f, nil
	}
	hints, f := b.hints(ctx, src, s, p)
	if f != nil {
		return "", f, nil
	}
	for _, hint := range hints {
		pr := pvl.Proof{Username: user, Packet: packet, SigID: p.SigID, Hint: hint, Remote: p.Name}
		if s.site() {
			pr.Remote, pr.Hostname, pr.Protocol = "", p.Name, s.name
		}
		regs, fail := b.program.Run(ctx, src, s.program, pr)
		if fail == nil {
			if file := regs["file"]; file != "" {
				hint = file
			}
			return hint, nil, nil
		}
		if f == nil {
			f = fail
		}
	}
	if f == nil {
		f = &pvl.Failure{Status: pvl.StatusNotFound, Text: "nothing was found that could be the proof"}
	}
	return "", f, nil
}

// note writes what a check saw, and tells who is concerned if it changes anything.
func (b *Book) note(ctx context.Context, u kbsig.UID, sig kbsig.SigIDBase, seen string, f *pvl.Failure) (p *Proof, err error) {
	err = b.o.Store.Update(ctx, func(tx *store.Tx) error {
		p, err = Get(tx, u, sig)
		if err != nil {
			return err
		}
		before := *p
		p.outcome(tx.Now(), seen, f)
		if err := put(tx, p); err != nil {
			return err
		}
		if p.State == before.State && p.Hint == before.Hint {
			return nil
		}
		if p.State.Holds() != before.State.Holds() {
			err := known.Say(tx, known.Fact{UID: p.UID, Service: p.Service, Name: Normal(p.Name)})
			if err != nil {
				return err
			}
		}
		b.o.Logger.Info("a proof's state has changed", observe.FieldUID, u.String(), "service", p.Service, "state", int(p.State), "status", int(p.Status))
		return announce(tx, u)
	})
	if err != nil {
		return nil, fmt.Errorf("note the check of a proof of %s: %w", u, err)
	}
	return p, nil
}

// outcome is what a check makes of a proof.
func (p *Proof) outcome(now time.Time, seen string, f *pvl.Failure) {
	before := p.State
	p.Checked = now.UnixMilli()
	if f == nil {
		p.State, p.Status, p.Reason, p.Hard = StateOK, pvl.StatusOK, "", 0
		p.Seen, p.Hint = p.Checked, seen
		if p.Since == 0 {
			p.Since = p.Checked
		}
	} else {
		p.Status, p.Reason = f.Status, clip(f.Text)
		if !f.Status.Soft() {
			p.Hard++
		}
		switch {
		case p.Seen == 0:
			p.State = StateLooking
		case p.State == StatePermFailure, p.Hard >= hardFailuresMax:
			p.State, p.Since = StatePermFailure, 0
		case p.Hard > 0, now.UnixMilli()-p.Seen > softGrace.Milliseconds():
			p.State = StateTempFailure
		}
	}
	if p.Checks++; p.State != before {
		p.Checks = 1
	}
}

func clip(s string) string {
	if len(s) > reasonBytesMax {
		s = strings.ToValidUTF8(s[:reasonBytesMax], "")
	}
	return s
}

// announce moves the account's versions and tells the user and those who follow.
func announce(tx *store.Tx, u kbsig.UID) error {
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	acct.TouchIdentity(tx.Now())
	accounts.Put(tx, acct)
	body, err := json.Marshal(map[string]string{"uid": u.String(), "username": string(acct.Name)})
	if err != nil {
		return err
	}
	followers, _, err := directory.FollowList(tx, u, false)
	if err != nil {
		return err
	}
	told := []kbsig.UID{u}
	for _, f := range followers[:min(len(followers), followersToldMax)] {
		told = append(told, f.UID)
	}
	for _, to := range told {
		err := events.Add(tx, events.News{To: to, Category: "user.identity_change", Body: body})
		if errors.Is(err, events.ErrBacklog) {
			return nil // the fact counts more than the news of it
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// develServer is where the addresses of the networks for tests lead: clients put their
// own server in its place. client: go/libkb/constants.go:DevelServerURI
const develServer = "http://localhost:3000"

// source fetches for programs: from this server's own pages without a network, else
// from outside.
type source struct {
	b         *Book
	r         store.Reader
	operators bool // the address is one that the operator wrote
}

func (s *source) Page(ctx context.Context, address string) ([]byte, error) {
	if path, ok := strings.CutPrefix(address, develServer); ok && s.b.o.Local != nil {
		u, err := url.Parse(path)
		if err == nil {
			if page, ok := s.b.o.Local(s.r, u.Path); ok {
				return page, nil
			}
		}
		return nil, fetch.NotFound()
	}
	return s.b.o.Fetch.Page(ctx, fetch.Request{URL: address, AnyPort: s.operators})
}

func (s *source) TXT(ctx context.Context, name string) ([]string, error) {
	return s.b.o.Fetch.TXT(ctx, name)
}

// Site finds out how a web site is reached: "https:" or else "http:". The error is the
// fetcher's, of https, if neither answers.
func (b *Book) Site(ctx context.Context, host string) (protocol string, err error) {
	if !hostname(host) {
		return "", ErrBadName
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var first error
	for _, scheme := range []string{serviceHTTPS, serviceHTTP} {
		_, err := b.o.Fetch.Page(ctx, fetch.Request{URL: scheme + "://" + host + "/"})
		if kind := fetch.KindOf(err); err == nil || kind == fetch.Status || kind == fetch.TooLarge {
			return scheme + ":", nil
		}
		if first == nil {
			first = err
		}
	}
	return "", first
}
