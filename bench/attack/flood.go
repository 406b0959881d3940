//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keystead/keystead/bench/client"
)

// Status codes that the attacks look for. client: go/protocol/keybase1/constants.go:StatusCode
const (
	codeOK            = 0
	codeNoUser        = 203
	codeWrongPassword = 204
	codeRateLimit     = 602
)

// The figures of the limits that the floods run into; `keystead limits` prints them.
const (
	loginNameBurst    = 50  // login-by-name
	loginAddressBurst = 60  // login-by-address
	loginPrefixBurst  = 200 // login-by-prefix
	signUpBurst       = 20  // signup-by-address
	signUpPrefixBurst = 100 // signup-by-prefix
	requestBurst      = 4000
	requestPerSecond  = 200
)

func itoa(n int) string { return strconv.Itoa(n) }

// parallel runs n workers until ctx ends or each has done its part.
func parallel(n int, work func(w int)) {
	var wg sync.WaitGroup
	for w := range n {
		wg.Go(func() { work(w) })
	}
	wg.Wait()
}

// loginGuess tries passwords: one name from many networks, many names from one
// address, and many names from all over one network. A win is a guess that the server
// looked at. Meanwhile the owner logs in, time and again.
func loginGuess(ctx context.Context, a *arena) (outcome, error) {
	const networks, hosts = 30, 20
	inside, stop := context.WithTimeout(ctx, a.Size.Last)
	defer stop()
	var tried, refused, looked [3]atomic.Int64
	guess := func(kind int, k *asker, name string) error {
		code, err := k.status(inside, http.MethodPost, "login", url.Values{
			"email_or_username": {name}, "pdpka4": {"guess"}, "pdpka5": {"guess"},
		}.Encode())
		if inside.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		tried[kind].Add(1)
		switch code {
		case codeWrongPassword, codeNoUser:
			looked[kind].Add(1)
		case codeRateLimit:
			refused[kind].Add(1)
		default:
			return fmt.Errorf("a guess got the status %d", code)
		}
		return nil
	}
	faults := make(chan error, 100)
	note := func(err error) {
		if err != nil {
			select {
			case faults <- err:
			default:
			}
		}
	}
	owner := make(chan int, 1)
	go func() { owner <- ownerLogsIn(inside, a, note) }()
	begin := time.Now()
	parallel(networks+1+hosts, func(w int) {
		switch {
		case w < networks:
			for k := a.askerAt(network(w)); inside.Err() == nil; {
				note(guess(0, k, "victim"))
			}
		case w == networks:
			k := a.askerAt(network(100))
			for i := 0; inside.Err() == nil; i++ {
				note(guess(1, k, fmt.Sprintf("somebody%d", i)))
			}
		default:
			k := a.askerAt(attacker(w)) // one network: its hosts follow each other
			for i := 0; inside.Err() == nil; i++ {
				note(guess(2, k, fmt.Sprintf("other%dx%d", w, i)))
			}
		}
	})
	minutes := int(time.Since(begin)/time.Minute) + 1
	logins := <-owner
	select {
	case err := <-faults:
		return outcome{}, err
	default:
	}
	if logins == 0 {
		return outcome{}, fmt.Errorf("the owner did not get in")
	}
	o := outcome{MemoryMax: memoryMax / 4, Won: "guesses looked at"}
	for kind := range 3 {
		o.Requests += int(tried[kind].Load())
		o.Refused += int(refused[kind].Load())
		o.Wins += int(looked[kind].Load())
	}
	// Each network's first guess of a minute, and the bursts with what comes back.
	o.WinsMax = loginNameBurst + (networks+1)*minutes + loginAddressBurst + 6*minutes + loginPrefixBurst + 30*minutes
	return o, nil
}

// ownerLogsIn logs the victim in with the right password until ctx ends and returns
// how often that went well.
func ownerLogsIn(ctx context.Context, a *arena, note func(error)) (times int) {
	for ctx.Err() == nil {
		ver, err := verifier(a.REST, a.KID)
		if err == nil {
			_, err = client.Login(ctx, ver, "victim", "", client.CheapStream(password))
		}
		if ctx.Err() != nil {
			return times
		}
		if err != nil {
			note(fmt.Errorf("the owner is kept out: %w", err))
			return times
		}
		times++
		sleep(ctx, 100*time.Millisecond)
	}
	return times
}

// signUpFlood makes accounts from ten addresses of one network and from ten networks.
// A win is an account.
func signUpFlood(ctx context.Context, a *arena) (outcome, error) {
	const hosts, networks = 10, 10
	inside, stop := context.WithTimeout(ctx, a.Size.Last)
	defer stop()
	kid := a.LoginKID
	var tried, refused, made atomic.Int64
	var fault atomic.Pointer[string]
	begin := time.Now()
	parallel(hosts+networks, func(w int) {
		from := attacker(w)
		if w >= hosts {
			from = network(w)
		}
		k := a.askerAt(from)
		for i := 0; inside.Err() == nil; i++ {
			name := fmt.Sprintf("f%dx%d", w, i)
			code, err := k.status(inside, http.MethodPost, "signup", url.Values{
				"username": {name}, "email": {name + "@example.org"}, "salt": {strings.Repeat("00", 16)}, "pwh": {strings.Repeat("11", 32)},
				"pwh_version": {"3"}, "pdpka5_kid": {kid}, "invitation_id": {"000000000000000000000000"},
			}.Encode())
			if inside.Err() != nil {
				return
			}
			tried.Add(1)
			switch {
			case err == nil && code == codeOK:
				made.Add(1)
			case err == nil && code == codeRateLimit:
				refused.Add(1)
			default:
				text := fmt.Sprintf("a sign-up got the status %d, %v", code, err)
				fault.Store(&text)
				return
			}
		}
	})
	if text := fault.Load(); text != nil {
		return outcome{}, fmt.Errorf("%s", *text)
	}
	hours := int(time.Since(begin)/time.Hour) + 1
	return outcome{
		Requests: int(tried.Load()), Refused: int(refused.Load()), MemoryMax: memoryMax / 4,
		Wins: int(made.Load()), Won: "accounts made", WinsMax: signUpPrefixBurst*hours + networks*signUpBurst*hours,
	}, nil
}

// requestFlood asks for Merkle paths from four addresses as fast as it can. A win is
// an answer.
func requestFlood(ctx context.Context, a *arena) (outcome, error) {
	const addresses, each = 4, 16
	inside, stop := context.WithTimeout(ctx, a.Size.Last)
	defer stop()
	var tried, refused, answered atomic.Int64
	begin := time.Now()
	askers := make([]*asker, addresses)
	for i := range askers {
		askers[i] = a.askerAt(network(i))
	}
	parallel(addresses*each, func(w int) {
		k := askers[w%addresses]
		for inside.Err() == nil {
			code, err := k.status(inside, http.MethodGet, "merkle/path", "uid="+a.Victim)
			if inside.Err() != nil {
				return
			}
			tried.Add(1)
			if err == nil && code == codeOK {
				answered.Add(1)
			} else {
				refused.Add(1)
			}
		}
	})
	seconds := int(time.Since(begin)/time.Second) + 1
	return outcome{
		Connections: addresses * each, Requests: int(tried.Load()), Refused: int(refused.Load()), MemoryMax: memoryMax / 2,
		Wins: int(answered.Load()), Won: "answers", WinsMax: addresses * (requestBurst + requestPerSecond*seconds),
	}, nil
}
