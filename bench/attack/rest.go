//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Bounds of what the REST door promises; the attacks hold it to them.
const (
	memoryMax        = 1 << 30  // bytes of the whole server, under any attack
	perConnectionMax = 64 << 10 // bytes for each connection that sends slowly
	headersWithin    = 10 * time.Second
	bodyWithin       = 30 * time.Second
	cutSlack         = 3 * time.Second // of this machine
	bodyBytesMax     = 256 << 10       // of a sign-up
)

// descriptorsKept is what the attack needs besides its connections.
const descriptorsKept = 500

// connectionsAllowed is how many connections this process may hold, n at the most.
func connectionsAllowed(n int) int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return min(n, 1000)
	}
	return min(n, max(int(min(l.Cur, 1<<30))-descriptorsKept, 100))
}

// perAddress is how many connections one attacking address holds, silentPerAddress how
// many on the RPC door: less than the limits by address, so that the others are tried.
const (
	perAddress       = 400
	silentPerAddress = 100
)

// again is after how long a connection that was cut is opened again.
const again = 2 * time.Second

// crowd holds connections from many addresses.
type crowd struct {
	wg      sync.WaitGroup
	refused atomic.Int64
	oldest  atomic.Int64 // nanoseconds that a connection lasted, at the most
	open    atomic.Int64
	most    atomic.Int64 // of open
}

// hold opens n connections to an address of the server, so many per attacking address
// from the first on, and lets each do what do does until that returns or ctx ends; then
// it opens another in its place. It returns when all have been tried once.
func (c *crowd) hold(ctx context.Context, n, per, first int, to string, do func(context.Context, net.Conn) error) {
	var tried sync.WaitGroup
	slots := make(chan struct{}, 64) // dialled at once
	for i := range n {
		tried.Add(1)
		c.wg.Go(func() {
			once := sync.OnceFunc(tried.Done)
			defer once()
			for ctx.Err() == nil {
				slots <- struct{}{}
				nc, err := dialFrom(ctx, attacker(first+i/per), to)
				<-slots
				if err != nil {
					once()
					if ctx.Err() == nil {
						c.refused.Add(1)
					}
					sleep(ctx, again)
					continue
				}
				raise(&c.most, c.open.Add(1))
				once()
				begin := time.Now()
				err = do(ctx, nc)
				_ = nc.Close()
				c.open.Add(-1)
				if ctx.Err() == nil && err != nil {
					c.refused.Add(1)
					raise(&c.oldest, int64(time.Since(begin)))
				}
				sleep(ctx, again)
			}
		})
	}
	tried.Wait()
}

// raise makes a at least v.
func raise(a *atomic.Int64, v int64) {
	for old := a.Load(); v > old && !a.CompareAndSwap(old, v); old = a.Load() {
	}
}

// quiet waits until the other side ends the connection, reading what it says.
func quiet(ctx context.Context, nc net.Conn) error {
	defer context.AfterFunc(ctx, func() { _ = nc.SetReadDeadline(time.Unix(1, 0)) })()
	_, err := io.Copy(io.Discard, nc)
	if err == nil {
		err = io.EOF
	}
	return err
}

// drip sends the bytes of text one a second, over and over, until the other side ends
// the connection.
func drip(ctx context.Context, nc net.Conn, text string) error {
	ended := make(chan error, 1)
	go func() { ended <- quiet(ctx, nc) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			if _, err := nc.Write([]byte{text[i%len(text)]}); err != nil {
				<-ended
				return err
			}
		}
	}
}

// during holds a crowd for a time and returns what became of it.
func (a *arena) during(ctx context.Context, last time.Duration, hold func(context.Context, *crowd)) outcome {
	c := &crowd{}
	inside, stop := context.WithCancel(ctx)
	hold(inside, c)
	sleep(ctx, last)
	stop()
	c.wg.Wait()
	return outcome{
		Connections: int(c.most.Load()), Refused: int(c.refused.Load()),
		MemoryMax: memoryMax, CutAfter: time.Duration(c.oldest.Load()),
	}
}

// idle holds silent connections, half of them on each door.
func idle(ctx context.Context, a *arena) (outcome, error) {
	n := connectionsAllowed(a.Size.Connections)
	return a.during(ctx, a.Size.Last, func(ctx context.Context, c *crowd) {
		c.hold(ctx, n/2, perAddress, 0, a.REST, quiet)
		c.hold(ctx, n/2, silentPerAddress, 1000, a.RPC, quiet)
	}), nil
}

// slowly holds connections that each begin with a text and go on a byte a second.
func (a *arena) slowly(ctx context.Context, begin, then string, within time.Duration) outcome {
	n, last := connectionsAllowed(a.Size.Slow), a.Size.Last
	if a.Size.Full {
		last = within + cutSlack
	}
	o := a.during(ctx, last, func(ctx context.Context, c *crowd) {
		c.hold(ctx, n, perAddress, 0, a.REST, func(ctx context.Context, nc net.Conn) error {
			if _, err := io.WriteString(nc, begin); err != nil {
				return err
			}
			if then == "" {
				return quiet(ctx, nc)
			}
			return drip(ctx, nc, then)
		})
	})
	if a.Size.Full {
		o.PerConnectionMax, o.CutMax = perConnectionMax, within+cutSlack
	}
	return o
}

func slowHeaders(ctx context.Context, a *arena) (outcome, error) {
	return a.slowly(ctx, "GET /_/api/1.0/merkle/root.json HTTP/1.1\r\nHost: x\r\n", "X-Slow: abc\r\n", headersWithin), nil
}

// signUpHead begins a request with the largest body that anybody may send.
var signUpHead = fmt.Sprintf("POST /_/api/1.0/signup.json HTTP/1.1\r\nHost: x\r\n"+
	"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n", bodyBytesMax)

func slowBodies(ctx context.Context, a *arena) (outcome, error) {
	return a.slowly(ctx, signUpHead, "username=a&", bodyWithin), nil
}

func declaredLengths(ctx context.Context, a *arena) (outcome, error) {
	return a.slowly(ctx, signUpHead+strings.Repeat("a", 5000), "", bodyWithin), nil
}

// fatRequests sends one request as large as allowed on each connection and then
// nothing: what is kept for a connection between requests must not be what it sent.
func fatRequests(ctx context.Context, a *arena) (outcome, error) {
	long := strings.Repeat("a", 7<<10)
	request := fmt.Sprintf("POST /_/api/1.0/login.json?x=%s HTTP/1.1\r\nHost: x\r\nX-Fat: %s\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\nx=%s", long, long, bodyBytesMax/4, strings.Repeat("b", bodyBytesMax/4-2))
	n := connectionsAllowed(a.Size.Slow)
	o := a.during(ctx, a.Size.Last, func(ctx context.Context, c *crowd) {
		c.hold(ctx, n, perAddress, 0, a.REST, func(ctx context.Context, nc net.Conn) error {
			if _, err := io.WriteString(nc, request); err != nil {
				return err
			}
			return quiet(ctx, nc)
		})
	})
	o.MemoryMax = memoryMax / 2
	return o, nil
}

// slowReaders asks for the victim's chain again and again, on a fifth as many
// connections, and reads nothing.
func slowReaders(ctx context.Context, a *arena) (outcome, error) {
	ask := fmt.Sprintf("GET /_/api/1.0/sig/get.json?uid=%s HTTP/1.1\r\nHost: x\r\n\r\n", a.Victim)
	n := connectionsAllowed(a.Size.Slow / 5)
	o := a.during(ctx, a.Size.Last, func(ctx context.Context, c *crowd) {
		c.hold(ctx, n, perAddress, 0, a.REST, func(ctx context.Context, nc net.Conn) error {
			if t, ok := nc.(*net.TCPConn); ok {
				_ = t.SetReadBuffer(4 << 10)
			}
			for ctx.Err() == nil {
				_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
				if _, err := io.WriteString(nc, strings.Repeat(ask, 10)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					return err
				}
				sleep(ctx, 3*time.Second)
			}
			return nil
		})
	})
	o.PerConnectionMax = 2 * perConnectionMax
	if !a.Size.Full {
		o.PerConnectionMax = 0
	}
	return o, nil
}

// asker is an HTTP client at one address.
type asker struct {
	base string
	http *http.Client
}

func (a *arena) askerAt(from net.IP) *asker {
	return &asker{"http://" + a.REST + "/_/api/1.0/", &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 100,
			DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
				return dialFrom(ctx, from, to)
			},
		},
	}}
}

// status asks and returns the status code of the reply.
func (k *asker) status(ctx context.Context, method, endpoint, form string) (int, error) {
	url, body := k.base+endpoint+".json", io.Reader(nil)
	if method == http.MethodGet {
		url += "?" + form
	} else {
		body = strings.NewReader(form)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := k.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	return statusCode(bufio.NewReader(res.Body))
}

// statusCode reads the code at the beginning of a reply: every reply begins with its
// status object.
func statusCode(in *bufio.Reader) (int, error) {
	text, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), `"code":`)
	if !ok {
		return 0, fmt.Errorf("a reply without a status: %.60q", text)
	}
	code := 0
	for _, r := range rest {
		if r < '0' || r > '9' {
			break
		}
		code = 10*code + int(r-'0')
	}
	return code, nil
}
