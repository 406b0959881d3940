//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/keystead/keystead/bench/client"
)

// victimPause is the time between two beginnings of what the victim does: an open
// loop, so that a server which stalls is seen by all that should have begun.
const victimPause = 20 * time.Millisecond

// victimPatience ends a request of the victim.
const victimPatience = 5 * time.Second

// victim is a well-behaved client with an account.
type victim struct {
	server  *server
	account *client.Account
	friend  client.UID
	posts   sync.Mutex // one post of the account at a time

	mu  sync.Mutex
	saw latencies
}

// verifier is a strict client of the server that remembers nothing.
func (s *server) verifier() (*client.Verifier, error) {
	if s.tls == nil {
		return verifier(s.REST, s.KID)
	}
	k, err := client.ParseKID(s.KID)
	if err != nil {
		return nil, err
	}
	c := client.NewServer("https://"+s.REST, []client.KID{k}, time.Now, rand.Reader)
	c.HTTP.Transport.(*http.Transport).TLSClientConfig = s.tls
	return client.NewVerifier(c, nil), nil
}

// verifier is one of a server at host:port that speaks plainly.
func verifier(address, kid string) (*client.Verifier, error) {
	k, err := client.ParseKID(kid)
	if err != nil {
		return nil, err
	}
	return client.NewVerifier(client.NewServer("http://"+address, []client.KID{k}, time.Now, rand.Reader), nil), nil
}

// password is the victim's.
var password = []byte("correct horse")

func newVictim(ctx context.Context, s *server) (*victim, error) {
	v := &victim{server: s}
	for _, name := range []string{"friend", "victim"} {
		ver, err := s.verifier()
		if err != nil {
			return nil, err
		}
		a, err := client.Signup(ctx, ver, client.SignupOptions{Name: name, Stream: client.CheapStream(password), DeviceName: "desk of " + name})
		if err != nil {
			return nil, fmt.Errorf("sign up %s: %w", name, err)
		}
		if name == "friend" {
			v.friend = a.UID
		} else {
			v.account = a
		}
	}
	return v, nil
}

// live does what a client does until ctx ends, and waits for what has begun.
func (v *victim) live(ctx context.Context) {
	tick := time.NewTicker(victimPause)
	defer tick.Stop()
	var begun sync.WaitGroup
	defer begun.Wait()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		begun.Go(func() { v.act(i) })
	}
}

// act does one thing and measures it.
func (v *victim) act(i int) {
	ctx, cancel := context.WithTimeout(context.Background(), victimPatience)
	defer cancel()
	begin := time.Now()
	var err error
	switch {
	case i%50 == 7:
		v.posts.Lock()
		defer v.posts.Unlock()
		begin = time.Now() // one post waits for the other by itself
		_, err = v.account.PostDeviceEK(ctx, v.account.Device)
	case i%4 == 1:
		err = v.pingRPC(ctx)
	case i%4 == 3:
		_, err = v.account.Verifier.LoadUser(ctx, v.friend, client.LoadOptions{})
	default:
		err = v.account.Server().CheckSession(ctx, v.account.NIST(v.account.Device))
	}
	took := time.Since(begin)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.saw.all = append(v.saw.all, took)
	if err != nil {
		v.saw.errors = append(v.saw.errors, fmt.Sprintf("%d: %v", i, err))
	}
}

func (v *victim) seen() latencies {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.saw
}

// pingRPC connects to the RPC door, asks one ping and closes.
func (v *victim) pingRPC(ctx context.Context) error {
	nc, err := v.server.dial(ctx, v.server.RPC)
	if err != nil {
		return err
	}
	defer nc.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = nc.SetDeadline(deadline)
	}
	if _, err := nc.Write(pingFrame); err != nil {
		return fmt.Errorf("rpc: %w", err)
	}
	in := bufio.NewReader(nc)
	n, err := in.ReadByte()
	if err != nil {
		return fmt.Errorf("rpc: %w", err)
	}
	if n == 0 || n > 0x7f {
		return fmt.Errorf("rpc: an answer that begins with %#x", n)
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(in, answer); err != nil {
		return fmt.Errorf("rpc: %w", err)
	}
	// [1, seqno, error, result]: no error.
	if len(answer) < 4 || answer[0] != 0x94 || answer[1] != 1 || answer[3] != 0xc0 {
		return fmt.Errorf("rpc: the answer is % x", answer)
	}
	return nil
}
