//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/keybase/go-codec/codec"

	"github.com/keystead/keystead/compat/wire/chat1"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// Kinds of frames. client: github.com/keybase/go-framed-msgpack-rpc/rpc/protocol.go
const (
	kindCall     = 0
	kindResponse = 1
)

// answerMax bounds a frame that a device takes, in bytes.
const answerMax = 64 << 20

// handle is the clients' dialect; rawHandle leaves the elements of a frame undecoded.
var handle, rawHandle = dialect(false), dialect(true)

func dialect(raw bool) *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true, RawToString: true}
	h.Raw = raw
	return h
}

// device is one connection that comes back when it is cut off.
type device struct {
	crowd  *crowd
	person *person
	stalls bool
	since  gregor1.Time // of the newest message that it knows
	fresh  bool

	mu    sync.Mutex
	nc    net.Conn
	seqid int64
	calls map[int64]chan answer
	over  bool
}

type answer struct {
	err    error
	result codec.Raw
}

// enter dials and authenticates; only one goroutine reads at a time.
func (d *device) enter(ctx context.Context) error {
	d.crowd.dialled.Add(1)
	dialer := net.Dialer{LocalAddr: source(d.crowd.serial.Add(1)), Timeout: dialPatience}
	nc, err := dialer.DialContext(ctx, "tcp", d.crowd.rpc)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	if trust := d.crowd.trust; trust != nil {
		if nc, err = secured(nc, trust); err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
	}
	d.mu.Lock()
	d.nc, d.calls = nc, make(map[int64]chan answer)
	over := d.over
	d.mu.Unlock()
	if over {
		nc.Close()
		return net.ErrClosed
	}
	arg := chat1.SyncAllArg{
		UID: d.person.uid[:], DeviceID: d.person.device[:], Session: d.person.token,
		CTime: d.since, Fresh: !d.fresh, ProtVers: 1, SummarizeMaxMsgs: true, ParticipantsMode: 1,
	}
	id, wait, err := d.begin("chat.1.remote.syncAll", arg)
	if err != nil {
		nc.Close()
		return fmt.Errorf("syncAll: %w", err)
	}
	_ = nc.SetReadDeadline(time.Now().Add(callPatience))
	in := bufio.NewReaderSize(nc, 512)
	for {
		if err := d.frame(in); err != nil {
			nc.Close()
			return fmt.Errorf("syncAll: %w", err)
		}
		select {
		case a := <-wait:
			_ = nc.SetReadDeadline(time.Time{})
			return d.synced(a, id)
		default:
		}
	}
}

// secured makes a connection one of TLS. As with the stock client no session is resumed,
// and a handshake that takes too long is left alone, not closed.
// client: github.com/keybase/go-framed-msgpack-rpc/rpc/connection.go:ConnectionTransportTLS.Dial
func secured(nc net.Conn, trust *tls.Config) (net.Conn, error) {
	s := tls.Client(nc, trust)
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	patience := time.NewTimer(handshakePatience)
	defer patience.Stop()
	select {
	case err := <-done:
		if err != nil {
			nc.Close()
		}
		return s, err
	case <-patience.C:
		go func() {
			<-done
			nc.Close()
		}()
		return nil, os.ErrDeadlineExceeded
	}
}

func (d *device) synced(a answer, _ int64) error {
	if a.err != nil {
		return a.err
	}
	var res chat1.SyncAllResult
	if err := codec.NewDecoderBytes(a.result, handle).Decode(&res); err != nil {
		return fmt.Errorf("syncAll: %w", err)
	}
	n := res.Notification
	if n.State != nil {
		for _, it := range n.State.Items {
			d.since = max(d.since, it.Metadata.CTime)
		}
	}
	if n.Incremental != nil {
		for _, m := range n.Incremental.Msgs {
			d.since = max(d.since, m.StateUpdate.Metadata.CTime)
		}
	}
	d.fresh = true
	d.crowd.cameBack(n.Incremental != nil)
	return nil
}

// live reads until the device is closed, pings, and comes back when it is cut off.
// One that stalls does nothing.
func (d *device) live() {
	for !d.stalls {
		in := bufio.NewReaderSize(d.conn(), 512)
		ticker := time.AfterFunc(pingEvery, d.ping)
		for d.frame(in) == nil {
		}
		ticker.Stop()
		d.conn().Close()
		d.fail(io.ErrUnexpectedEOF)
		for {
			if d.isOver() {
				return
			}
			time.Sleep(retryAfter)
			err := d.enter(context.Background())
			if err == nil {
				break
			}
			d.crowd.failed(err)
		}
	}
}

func (d *device) ping() {
	if _, _, err := d.begin("gregor.1.incoming.ping", gregor1.PingArg{}); err == nil {
		time.AfterFunc(pingEvery, d.ping)
	}
}

func (d *device) conn() net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nc
}

func (d *device) isOver() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

func (d *device) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.nc != nil {
		d.nc.Close()
	}
}

// fail ends the calls that wait.
func (d *device) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, c := range d.calls {
		c <- answer{err: err}
		delete(d.calls, id)
	}
}

// begin sends a call.
func (d *device) begin(method string, arg any) (int64, chan answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seqid++
	wait := make(chan answer, 1)
	d.calls[d.seqid] = wait
	if err := d.write([]any{kindCall, d.seqid, method, []any{arg}}); err != nil {
		delete(d.calls, d.seqid)
		return 0, nil, err
	}
	return d.seqid, wait, nil
}

// call waits for the answer.
func (d *device) call(ctx context.Context, method string, arg, res any) error {
	_, wait, err := d.begin(method, arg)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case a := <-wait:
		if a.err != nil || res == nil {
			return a.err
		}
		return codec.NewDecoderBytes(a.result, handle).Decode(res)
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(callPatience):
		return fmt.Errorf("%s: no answer in %s", method, callPatience)
	}
}

// write sends one frame; d is locked.
func (d *device) write(content []any) error {
	var body, head []byte
	if err := codec.NewEncoderBytes(&body, handle).Encode(content); err != nil {
		return err
	}
	if err := codec.NewEncoderBytes(&head, handle).Encode(len(body)); err != nil {
		return err
	}
	_ = d.nc.SetWriteDeadline(time.Now().Add(callPatience))
	_, err := d.nc.Write(append(head, body...))
	return err
}

// frame reads one frame and deals with it.
func (d *device) frame(in *bufio.Reader) error {
	n, err := frameLength(in)
	if err != nil {
		return err
	}
	if n <= 0 || n > answerMax {
		return fmt.Errorf("frame of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(in, body); err != nil {
		return err
	}
	var el []codec.Raw
	if err := codec.NewDecoderBytes(body, rawHandle).Decode(&el); err != nil || len(el) < 4 {
		return errors.Join(errors.New("malformed frame"), err)
	}
	var kind, seqid int64
	if err := errors.Join(codec.NewDecoderBytes(el[0], handle).Decode(&kind), codec.NewDecoderBytes(el[1], handle).Decode(&seqid)); err != nil {
		return err
	}
	if kind == kindResponse {
		d.answered(seqid, el[2], el[3])
		return nil
	}
	return d.told(seqid, el[3])
}

// frameLength reads the length before a frame: a msgpack integer of any width.
func frameLength(in *bufio.Reader) (int, error) {
	head, err := in.ReadByte()
	if err != nil {
		return 0, err
	}
	if head < 0x80 {
		return int(head), nil
	}
	width := map[byte]int{0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8, 0xd1: 2, 0xd2: 4, 0xd3: 8}[head]
	if width == 0 {
		return 0, fmt.Errorf("a frame begins with %#x", head)
	}
	n := 0
	for range width {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		n = n<<8 | int(b)
	}
	return n, nil
}

func (d *device) answered(seqid int64, status, result codec.Raw) {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait := d.calls[seqid]
	if wait == nil {
		return
	}
	delete(d.calls, seqid)
	a := answer{result: result}
	if len(status) > 0 && status[0] != 0xc0 { // nil is also handed out as no bytes
		var st struct {
			Code int    `codec:"code"`
			Desc string `codec:"desc"`
		}
		a.err = codec.NewDecoderBytes(status, handle).Decode(&st)
		if a.err == nil {
			a.err = fmt.Errorf("status %d: %s", st.Code, st.Desc)
		}
	}
	wait <- a
}

// told takes a broadcast and acknowledges it.
func (d *device) told(seqid int64, raw codec.Raw) error {
	var arg []gregor1.BroadcastMessageArg
	if err := codec.NewDecoderBytes(raw, handle).Decode(&arg); err != nil || len(arg) != 1 {
		return errors.Join(errors.New("malformed broadcast"), err)
	}
	if m := arg[0].Message.InBand; m != nil && m.StateUpdate != nil {
		d.since = max(d.since, m.StateUpdate.Metadata.CTime)
		d.crowd.heard(string(m.StateUpdate.Metadata.MsgID))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.write([]any{kindResponse, seqid, nil, nil})
}

// drain reads what a device that stalled was sent until it was cut off, and counts it.
func (d *device) drain() (n int64) {
	nc := d.conn()
	_ = nc.SetReadDeadline(time.Now().Add(callPatience))
	n, _ = io.Copy(io.Discard, nc)
	return n
}
