//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"net"
	"sync/atomic"
	"time"
)

// The figures of the limits that calls of strangers run into; `keystead limits` prints
// them.
const (
	callBurst     = 2000 // call-by-address
	callPerSecond = 100
	tokenBurst    = 120 // token-by-address
	tokenPerMin   = 60
)

// tokensAtOnce is how many bad tokens a stranger tries on one connection: what the door
// looks at before it hangs up.
const tokensAtOnce = 3

// badSessionAnswer and pongAnswer are in the answers to a token that was looked at and
// found bad, and to a ping.
var (
	badSessionAnswer = append(text("code"), 0xcc, 202)
	pongAnswer       = append([]byte{0xc0}, text("pong")...)
)

// callFlood calls from four addresses as fast as it can without ever saying who it is:
// it pings, and tries tokens of the right shape that nobody has signed. A win is a
// token that the server looked at.
func callFlood(ctx context.Context, a *arena) (outcome, error) {
	const addresses, each = 4, 16
	inside, stop := context.WithTimeout(ctx, a.Size.Last)
	defer stop()
	var tried, refused, looked atomic.Int64
	begin := time.Now()
	parallel(addresses*each, func(w int) {
		for inside.Err() == nil {
			n, pongs, bad := strangerCalls(inside, network(w%addresses), a.RPC)
			tried.Add(int64(n))
			refused.Add(int64(n - pongs - bad))
			looked.Add(int64(bad))
		}
	})
	seconds := int(time.Since(begin)/time.Second) + 1
	return outcome{
		Connections: addresses * each, Requests: int(tried.Load()), Refused: int(refused.Load()), MemoryMax: memoryMax / 2,
		Wins: int(looked.Load()), Won: "tokens looked at", WinsMax: addresses * (tokenBurst + tokenPerMin*seconds/60 + callsSlack),
	}, nil
}

// callsSlack is how many tokens more than the limit's figure may be under way.
const callsSlack = 16

// strangerCalls sends a connection's worth of calls in one go and counts the answers.
func strangerCalls(ctx context.Context, from net.IP, to string) (sent, pongs, bad int) {
	nc, err := dialFrom(ctx, from, to)
	if err != nil {
		return 1, 0, 0
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(2 * time.Second))
	var out []byte
	for range tokensAtOnce {
		out = append(out, pingFrame...)
		out = append(out, frame(call("chat.1.remote.syncAll", unsignedSession()))...)
	}
	if _, err := nc.Write(out); err != nil {
		return 1, 0, 0
	}
	answers, buf := []byte{}, make([]byte, 4096)
	for {
		n, err := nc.Read(buf)
		answers = append(answers, buf[:n]...)
		pongs, bad = bytes.Count(answers, pongAnswer), bytes.Count(answers, badSessionAnswer)
		if err != nil || bytes.Count(answers, text("code"))+pongs == 2*tokensAtOnce {
			return 2 * tokensAtOnce, pongs, bad
		}
	}
}

// unsignedSession is the argument of syncAll with a token of the long form: a user, a
// device and a signature that are random bytes.
func unsignedSession() []byte {
	random := func(n int) []byte {
		b := append([]byte{0xc4, byte(n)}, make([]byte, n)...)
		_, _ = rand.Read(b[2:])
		return b
	}
	token := append([]byte{0x94, 34, 1}, random(64)...)
	token = append(token, 0x96)
	token = append(append(token, random(16)...), random(16)...)
	token = append(token, 0xce, 0x6a, 0, 0, 0, 0xcd, 0x0e, 0x10) // when, and for how many seconds
	token = append(append(token, random(16)...), 0xc0)
	arg := append([]byte{0x91, 0x81}, text("session")...)
	return append(arg, text(base64.StdEncoding.EncodeToString(token))...)
}
