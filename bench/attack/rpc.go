//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybase/msgpackzip"
)

// authWithin is by when a connection of the RPC door has to say who it is.
const authWithin = 15 * time.Second

// frame puts the length before a message, as the RPC door reads it.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xce}, uint32(len(message))), message...)
}

// call is a message that calls a method with raw msgpack as its list of arguments.
func call(method string, args []byte) []byte {
	m := append([]byte{0x94, 0x00, 0x01}, text(method)...)
	return append(m, args...)
}

// compressed is a message that calls a method with a compressed argument; kind 1 is
// gzip, 2 is msgpackzip.
func compressed(kind byte, method string, arg []byte) []byte {
	m := append([]byte{0x95, 0x04, 0x01, kind}, text(method)...)
	m = binary.BigEndian.AppendUint32(append(m, 0xc6), uint32(len(arg)))
	return append(m, arg...)
}

// text is a msgpack string of at most 255 bytes.
func text(s string) []byte {
	if len(s) < 32 {
		return append([]byte{0xa0 | byte(len(s))}, s...)
	}
	return append([]byte{0xd9, byte(len(s))}, s...)
}

// pingFrame asks gregor.1.incoming.ping with an empty argument.
var pingFrame = func() []byte {
	m := call("gregor.1.incoming.ping", []byte{0x91, 0x80})
	return append([]byte{byte(len(m))}, m...)
}()

// frameLies holds connections that declare frames and send nothing of them.
func frameLies(ctx context.Context, a *arena) (outcome, error) {
	lies := [][]byte{
		{0xce, 0, 0, 0xff, 0xff, 0x94},                // as much as is allowed
		{0xce, 0xff, 0xff, 0xff, 0xff},                // 4 GiB
		{0xcf, 0x7f, 255, 255, 255, 255, 255, 255, 1}, // 2^63
		{0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0},             // less than nothing
		{0xce}, {0x94}, {0x00}, {0xc1},
	}
	n, last := connectionsAllowed(a.Size.Slow), a.Size.Last
	if a.Size.Full {
		last = authWithin + cutSlack
	}
	var next atomic.Int64
	o := a.during(ctx, last, func(ctx context.Context, c *crowd) {
		c.hold(ctx, n, silentPerAddress, 0, a.RPC, func(ctx context.Context, nc net.Conn) error {
			if _, err := nc.Write(lies[int(next.Add(1))%len(lies)]); err != nil {
				return err
			}
			return quiet(ctx, nc)
		})
	})
	if a.Size.Full {
		o.PerConnectionMax, o.CutMax = perConnectionMax, authWithin+cutSlack
	}
	return o, nil
}

// deep nests empty arrays.
func deep(n int) []byte { return append(bytes.Repeat([]byte{0x91}, n), 0x90) }

// counts declares 2^31 and more of everything.
func counts() (out [][]byte) {
	for _, head := range []byte{0xdd, 0xdf, 0xdb, 0xc6, 0xc9} {
		for _, n := range []uint32{1 << 31, 1<<32 - 1, 1 << 30} {
			out = append(out, append(binary.BigEndian.AppendUint32([]byte{head}, n), 0, 0, 0))
		}
	}
	return out
}

// gzipped compresses n zero bytes behind a head: a thousand to one.
func gzipped(head []byte, n int) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(head)
	_, _ = z.Write(make([]byte, n))
	_ = z.Close()
	return b.Bytes()
}

// zipped is a list of copies of one long string, as msgpackzip sends it: once, and a
// pointer for each further one.
func zipped(copies int) []byte {
	long := append([]byte{0xda, 0xea, 0x60}, bytes.Repeat([]byte{'a'}, 60000)...)
	list := binary.BigEndian.AppendUint32([]byte{0xdd}, uint32(copies))
	b, err := msgpackzip.Compress(append(list, bytes.Repeat(long, copies)...))
	if err != nil {
		panic(err) // the list is well formed
	}
	return b
}

// rpcBombs are frames that want far more than they are.
func rpcBombs() (out [][]byte) {
	const method, other = "chat.1.remote.syncAll", "gregor.1.auth.authenticateSessionToken"
	for _, arg := range append(counts(), deep(60000)) {
		out = append(out, frame(call(method, append([]byte{0x91}, arg...))), frame(call(other, arg)), frame(arg))
		out = append(out, frame(compressed(1, method, gzipped(arg, 0))), frame(compressed(2, method, arg)))
	}
	for _, head := range [][]byte{{0xdd, 0xff, 0xff, 0xff, 0xff}, {0xc6, 1, 0, 0, 0}, nil} {
		out = append(out, frame(compressed(1, method, gzipped(head, 32<<20))), frame(compressed(1, other, gzipped(head, 32<<20))))
	}
	return append(out, frame(compressed(2, method, zipped(200))), frame(compressed(2, other, zipped(200))))
}

// restBombs are bodies that want far more than they are.
func restBombs() []string {
	const most = bodyBytesMax - 64
	json := func(s string) string { return `{"user_configs":` + s }
	return []string{
		json(strings.Repeat("[", most)), json(strings.Repeat(`{"a":`, most/5)),
		json("[" + strings.Repeat("{},", most/3) + "{}]}"), json("[" + strings.Repeat("1,", most/2) + "1]}"),
		json(`"` + strings.Repeat(`\u0000`, most/6) + `"}`), json("1" + strings.Repeat("0", most-20) + "}"),
		json("2147483648}"), strings.Repeat("a&", most/2), strings.Repeat("%", most),
		string(gzipped(nil, 64<<20)[:min(most, 60000)]),
	}
}

// bombWorkers throw at the same time.
const bombWorkers = 16

// bombs throws bombs at both doors, as fast as they are taken.
func bombs(ctx context.Context, a *arena) (outcome, error) {
	frames, bodies := rpcBombs(), restBombs()
	types := []string{"application/json", "application/x-www-form-urlencoded", "application/json\r\nContent-Encoding: gzip"}
	var thrown, refused atomic.Int64
	inside, stop := context.WithTimeout(ctx, a.Size.Last)
	defer stop()
	var wg sync.WaitGroup
	for w := range bombWorkers {
		wg.Go(func() {
			for i := w; inside.Err() == nil; i++ {
				to, bomb := a.RPC, frames[i%len(frames)]
				if i%3 == 0 {
					body := bodies[i/3%len(bodies)]
					to = a.REST
					bomb = []byte("POST /_/api/1.0/device/for_users.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: " +
						types[i/3%len(types)] + "\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body)
				}
				if throw(inside, network(i%2000), to, bomb) {
					refused.Add(1)
				}
				thrown.Add(1)
			}
		})
	}
	wg.Wait()
	return outcome{
		Requests: int(thrown.Load()), Refused: int(refused.Load()),
		MemoryMax: memoryMax / 4, CPUMax: 5 * time.Millisecond,
	}, nil
}

// throw sends bytes on a connection of their own and waits for an answer of any kind
// or the end. It reports whether there was no good answer.
func throw(ctx context.Context, from net.IP, to string, b []byte) bool {
	nc, err := dialFrom(ctx, from, to)
	if err != nil {
		return true
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := nc.Write(b); err != nil {
		return true
	}
	answer := make([]byte, 512)
	n, err := nc.Read(answer)
	return err != nil || n == 0 || !strings.Contains(string(answer[:n]), `"code":0`)
}

// garbage sends noise, and right beginnings that end in noise.
func garbage(ctx context.Context, a *arena) (outcome, error) {
	var sent, refused atomic.Int64
	inside, stop := context.WithTimeout(ctx, a.Size.Last)
	defer stop()
	starts := [][]byte{
		nil, []byte("GET /_/api/1.0/"), []byte("POST /_/api/1.0/login.json HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n"),
		[]byte("GET / HTTP/1.1\r\n"), {0x16, 0x03, 0x01, 0x02, 0x00}, pingFrame, frame([]byte{0x94, 0x00})[:6], []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	}
	var wg sync.WaitGroup
	for w := range bombWorkers {
		wg.Go(func() {
			random := rand.NewChaCha8([32]byte{byte(w)})
			for i := w; inside.Err() == nil; i++ {
				noise := make([]byte, 1+i%3000)
				_, _ = random.Read(noise)
				if i%2 == 0 { // so that some of it is lines
					noise = []byte(strings.ToValidUTF8(string(noise), "\r\n"))
				}
				to := a.REST
				if i%3 == 0 {
					to = a.RPC
				}
				nc, err := dialFrom(inside, network(i%2000), to)
				sent.Add(1)
				if err != nil {
					refused.Add(1)
					continue
				}
				_ = nc.SetDeadline(time.Now().Add(200 * time.Millisecond))
				_, _ = nc.Write(append(append([]byte(nil), starts[i%len(starts)]...), noise...))
				if t, ok := nc.(*net.TCPConn); ok {
					_ = t.CloseWrite()
				}
				if answer, err := io.ReadAll(nc); err != nil || !strings.Contains(string(answer), `"code":0`) {
					refused.Add(1)
				}
				_ = nc.Close()
			}
		})
	}
	wg.Wait()
	return outcome{Requests: int(sent.Load()), Refused: int(refused.Load()), MemoryMax: memoryMax / 4}, nil
}
