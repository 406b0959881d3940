package rpc

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/keybase/go-codec/codec"
	"github.com/keybase/msgpackzip"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/compat/wire/chat1"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/compat/wire/keybase1"
	"github.com/keystead/keystead/engine/store"
)

// The tests' own client. It speaks frames with the codec and the compression
// libraries that stock clients use, and shares no framing code with the server.

// users of the tests: a token is "<name>" for a good session of that user's first
// device and "<name>/<n>" for the n-th.
type fakeAuth struct {
	mu    sync.Mutex
	calls int
	block chan struct{} // non-nil: tokens wait for it
}

func (a *fakeAuth) AuthenticateNIST(ctx context.Context, token string) (u kbsig.UID, n kbsig.Username, d kbsig.DeviceID, sid string, err error) {
	a.mu.Lock()
	a.calls++
	block := a.block
	a.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return u, n, d, "", ctx.Err()
		}
	}
	name, device, _ := bytes.Cut([]byte(token), []byte("/"))
	switch string(name) {
	case "alice", "bob":
	case "panic":
		panic("as the test wants")
	case "down":
		return u, n, d, "", errors.New("store is away: secret detail")
	default:
		return u, n, d, "", fmt.Errorf("token: %w", status.New(status.BadSession, "BAD_SESSION", "bad session"))
	}
	n = kbsig.Username(name)
	return kbsig.UIDOf(n), n, deviceOf(token, device), "sid-" + token, nil
}

func deviceOf(name string, device []byte) (d kbsig.DeviceID) {
	h := sha256.Sum256(append([]byte(name), device...))
	copy(d[:], h[:])
	d[15] = 0x18
	return d
}

// memLog is gregor's log in a store in memory.
func memLog(t testing.TB) gregor.Log {
	t.Helper()
	st, err := store.Open(store.Options{Dir: "d", FS: vfs.NewMem(), Rand: &counter{}, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return gregor.StoreLog(st)
}

// counter is a source of bytes that never repeats a message id.
type counter struct{ n byte }

func (c *counter) Read(b []byte) (int, error) {
	c.n++
	for i := range b {
		b[i] = c.n
	}
	return len(b), nil
}

// door is a running server and what it was made of.
type door struct {
	*Server
	gregor *gregor.Service
	auth   *fakeAuth
	addr   string
	served chan error
}

func openDoor(t *testing.T, l Limits, change ...func(*Options)) *door {
	t.Helper()
	auth := &fakeAuth{}
	g := gregor.New(gregor.Options{Log: memLog(t), Clock: time.Now, Rand: &counter{}})
	o := Options{Auth: auth, Gregor: g, Clock: time.Now, Limits: l, Version: "test"}
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{s, g, auth, ln.Addr().String(), make(chan error, 1)}
	go func() { d.served <- s.Serve(ln, nil) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-d.served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		if n := s.budget.used.Load(); n != 0 {
			t.Errorf("%d buffered bytes were never given back", n)
		}
	})
	return d
}

// testClient is one connection of the tests.
type testClient struct {
	t     testing.TB
	nc    net.Conn
	in    *bufio.Reader
	seqid int64
	// broadcasts that were read while waiting for answers
	pushed []gregor1.Message
}

func (d *door) dial(t testing.TB) *testClient {
	t.Helper()
	nc, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &testClient{t: t, nc: nc, in: bufio.NewReader(nc)}
}

var testHandle = &codec.MsgpackHandle{WriteExt: true, RawToString: true}

func pack(v any) []byte {
	var b []byte
	if err := codec.NewEncoderBytes(&b, testHandle).Encode(v); err != nil {
		panic(err)
	}
	return b
}

// unpack decodes b; the codec hands out a nil element as no bytes at all.
func unpack(b []byte, v any) error {
	if len(b) == 0 {
		b = []byte{0xc0}
	}
	return codec.NewDecoderBytes(b, testHandle).Decode(v)
}

func gzipBytes(b []byte) []byte {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	z.Write(b)
	z.Close()
	return buf.Bytes()
}

func zipBytes(b []byte) []byte {
	z, err := msgpackzip.Compress(b)
	if err != nil {
		panic(err)
	}
	return z
}

// write sends raw bytes.
func (c *testClient) write(b []byte) {
	c.t.Helper()
	c.nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// frame sends an array as a frame.
func (c *testClient) frame(elements ...any) {
	c.t.Helper()
	content := pack(elements)
	c.write(append(pack(len(content)), content...))
}

// start sends a call and returns its number.
func (c *testClient) start(ctype int, method string, arg any) int64 {
	c.t.Helper()
	n := c.seqid
	c.seqid++
	args := []any{arg}
	switch ctype {
	case 0:
		c.frame(0, n, method, args)
	case 1:
		c.frame(4, n, 1, method, gzipBytes(pack(args)))
	case 2:
		c.frame(4, n, 2, method, zipBytes(pack(args)))
	}
	return n
}

// readFrame returns the elements of the next frame.
func (c *testClient) readFrame() ([]codec.Raw, error) {
	c.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	n := 0
	if err := codec.NewDecoder(c.in, testHandle).Decode(&n); err != nil {
		return nil, err
	}
	content := make([]byte, n)
	if _, err := io.ReadFull(c.in, content); err != nil {
		return nil, err
	}
	if content[0] < 0x91 || content[0] > 0x9f {
		return nil, fmt.Errorf("content begins with %x", content[0])
	}
	var elements []codec.Raw
	h := *testHandle
	h.Raw = true
	return elements, codec.NewDecoderBytes(content, &h).Decode(&elements)
}

// next returns the next response's number, status and raw result; broadcasts on the
// way are acknowledged and kept.
func (c *testClient) next() (seqid int64, st *keybase1.Status, result codec.Raw, err error) {
	for {
		el, err := c.readFrame()
		if err != nil {
			return 0, nil, nil, err
		}
		var kind int
		if err := unpack(el[0], &kind); err != nil {
			return 0, nil, nil, err
		}
		if err := unpack(el[1], &seqid); err != nil {
			return 0, nil, nil, err
		}
		if kind == 0 {
			if err := c.keepBroadcast(seqid, el); err != nil {
				return 0, nil, nil, err
			}
			continue
		}
		if kind != 1 || len(el) != 4 {
			return 0, nil, nil, fmt.Errorf("frame of kind %d with %d elements", kind, len(el))
		}
		return seqid, statusIn(el[2]), el[3], nil
	}
}

func statusIn(b []byte) *keybase1.Status {
	var st *keybase1.Status
	if err := unpack(b, &st); err != nil {
		panic(err)
	}
	return st
}

func (c *testClient) keepBroadcast(seqid int64, el []codec.Raw) error {
	var method string
	if err := unpack(el[2], &method); err != nil || method != "gregor.1.outgoing.broadcastMessage" {
		return fmt.Errorf("server called %q: %v", method, err)
	}
	var args []gregor1.BroadcastMessageArg
	if err := unpack(el[3], &args); err != nil || len(args) != 1 {
		return fmt.Errorf("broadcast with %d arguments: %v", len(args), err)
	}
	c.pushed = append(c.pushed, args[0].Message)
	c.frame(1, seqid, nil, nil)
	return nil
}

// broadcast returns the next broadcast.
func (c *testClient) broadcast() gregor1.Message {
	c.t.Helper()
	for len(c.pushed) == 0 {
		el, err := c.readFrame()
		if err != nil {
			c.t.Fatalf("waiting for a broadcast: %v", err)
		}
		var kind, seqid int64
		if unpack(el[0], &kind) != nil || unpack(el[1], &seqid) != nil || kind != 0 {
			c.t.Fatalf("waiting for a broadcast, got a frame of kind %d", kind)
		}
		if err := c.keepBroadcast(seqid, el); err != nil {
			c.t.Fatal(err)
		}
	}
	m := c.pushed[0]
	c.pushed = c.pushed[1:]
	return m
}

// call makes a call and waits for its answer, which must be the next. res may be
// nil. It returns the status, nil for success.
func (c *testClient) call(ctype int, method string, arg, res any) *keybase1.Status {
	c.t.Helper()
	want := c.start(ctype, method, arg)
	seqid, st, raw, err := c.next()
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	if seqid != want {
		c.t.Fatalf("%s: answer to call %d, want %d", method, seqid, want)
	}
	plain, err := plainResult(ctype, raw)
	if err != nil {
		c.t.Fatalf("%s: result: %v", method, err)
	}
	if st == nil && res != nil {
		if err := unpack(plain, res); err != nil {
			c.t.Fatalf("%s: result: %v", method, err)
		}
	}
	return st
}

// plainResult undoes the compression as a client does; an empty result is what makes
// clients drop the connection.
func plainResult(ctype int, raw []byte) ([]byte, error) {
	if ctype == 0 {
		return raw, nil
	}
	var packed []byte
	if err := unpack(raw, &packed); err != nil {
		return nil, err
	}
	if len(packed) == 0 {
		return nil, errors.New("empty compressed result")
	}
	if ctype == 2 {
		return msgpackzip.Inflate(packed)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// syncAllArg is what a stock client's first call says.
func syncAllArg(token string, vers chat1.InboxVers) chat1.SyncAllArg {
	name, device, _ := bytes.Cut([]byte(token), []byte("/"))
	uid := kbsig.UIDOf(kbsig.Username(name))
	dev := deviceOf(token, device)
	return chat1.SyncAllArg{
		UID: uid[:], DeviceID: dev[:], Session: token, InboxVers: vers, Fresh: true,
		ProtVers: 1, HostName: "localhost", SummarizeMaxMsgs: true, ParticipantsMode: 1,
	}
}

// login makes a connection that has synced.
func (d *door) login(t testing.TB, token string) *testClient {
	t.Helper()
	c := d.dial(t)
	var res chat1.SyncAllResult
	if st := c.call(2, "chat.1.remote.syncAll", syncAllArg(token, 0), &res); st != nil {
		t.Fatalf("syncAll: %+v", st)
	}
	return c
}

// closed waits for the server to close the connection.
func (c *testClient) closed() error {
	for {
		if _, _, _, err := c.next(); err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return errors.New("still open")
			}
			return nil
		}
	}
}
