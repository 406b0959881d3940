package client

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/keybase/go-codec/codec"

	"github.com/keystead/keystead/compat/wire/chat1"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// pushFrameMax bounds a frame that a client takes, in bytes.
// client: github.com/keybase/go-framed-msgpack-rpc/rpc/transport.go:NewTransport
const pushFrameMax = 100 << 20

// Dialects: what arguments and results are in, and one that leaves the elements of a
// frame as they are.
var pushHandle, pushRawHandle = pushDialect(false), pushDialect(true)

func pushDialect(raw bool) *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true, RawToString: true}
	h.Raw = raw
	return h
}

// PushConn is a device's connection to the push door: calls, and what is broadcast
// meanwhile. One goroutine at a time.
// client: go/service/gregor.go:gregorHandler
type PushConn struct {
	nc     net.Conn
	in     *bufio.Reader
	seqid  int64
	Heard  []gregor1.Message // broadcasts that nobody has asked for yet
	Within time.Duration     // for each frame; 0: 30 s
}

// DialPush connects to a push door at host:port.
func DialPush(ctx context.Context, address string) (*PushConn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &PushConn{nc: nc, in: bufio.NewReader(nc)}, nil
}

// Close ends the connection.
func (p *PushConn) Close() error { return p.nc.Close() }

// SyncAll authenticates the connection by a token, long or short, and brings the device
// up to date: with everything if it is fresh, and else with what happened since.
func (p *PushConn) SyncAll(uid UID, device DeviceID, token []byte, since gregor1.Time, fresh bool) (res chat1.SyncAllResult, err error) {
	err = p.Call("chat.1.remote.syncAll", chat1.SyncAllArg{
		UID: uid[:], DeviceID: device[:], Session: base64.StdEncoding.EncodeToString(token),
		CTime: since, Fresh: fresh, ProtVers: 1, SummarizeMaxMsgs: true, ParticipantsMode: 1,
	}, &res)
	if err == nil && string(res.Auth.UID) != string(uid[:]) {
		err = fmt.Errorf("syncAll names another user")
	}
	return res, err
}

// Call calls a method and decodes its result; a refusal is a *StatusError.
func (p *PushConn) Call(method string, arg, res any) error {
	p.seqid++
	id := p.seqid
	if err := p.write([]any{0, id, method, []any{arg}}); err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	for {
		el, err := p.frame()
		if err != nil {
			return fmt.Errorf("call %s: %w", method, err)
		}
		var kind, seqid int64
		if err := errors.Join(unpackPush(el[0], &kind), unpackPush(el[1], &seqid)); err != nil {
			return err
		}
		if kind == 0 {
			if err := p.keep(seqid, el); err != nil {
				return err
			}
			continue
		}
		if kind != 1 || seqid != id {
			return fmt.Errorf("call %s: a frame of kind %d for %d", method, kind, seqid)
		}
		if err := pushRefusal(method, el[2]); err != nil || res == nil {
			return err
		}
		return unpackPush(el[3], res)
	}
}

// pushRefusal is the error element of a response as an error.
func pushRefusal(method string, raw []byte) error {
	var st *struct {
		Code int    `codec:"code"`
		Name string `codec:"name"`
		Desc string `codec:"desc"`
	}
	if err := unpackPush(raw, &st); err != nil || st == nil || st.Code == 0 {
		return err
	}
	return &StatusError{Endpoint: method, Code: st.Code, Name: st.Name, Desc: st.Desc}
}

// Next is the next broadcast.
func (p *PushConn) Next() (m gregor1.Message, err error) {
	for len(p.Heard) == 0 {
		el, err := p.frame()
		if err != nil {
			return m, err
		}
		var kind, seqid int64
		if err := errors.Join(unpackPush(el[0], &kind), unpackPush(el[1], &seqid)); err != nil {
			return m, err
		}
		if kind != 0 {
			return m, fmt.Errorf("a frame of kind %d, not a broadcast", kind)
		}
		if err := p.keep(seqid, el); err != nil {
			return m, err
		}
	}
	m, p.Heard = p.Heard[0], p.Heard[1:]
	return m, nil
}

// keep takes a broadcast and acknowledges it.
func (p *PushConn) keep(seqid int64, el []codec.Raw) error {
	var method string
	var arg []gregor1.BroadcastMessageArg
	if err := errors.Join(unpackPush(el[2], &method), unpackPush(el[3], &arg)); err != nil {
		return err
	}
	if method != "gregor.1.outgoing.broadcastMessage" || len(arg) != 1 {
		return fmt.Errorf("the server calls %s with %d arguments", method, len(arg))
	}
	p.Heard = append(p.Heard, arg[0].Message)
	return p.write([]any{1, seqid, nil, nil})
}

func (p *PushConn) write(content []any) error {
	var body, head []byte
	if err := codec.NewEncoderBytes(&body, pushHandle).Encode(content); err != nil {
		return err
	}
	if err := codec.NewEncoderBytes(&head, pushHandle).Encode(len(body)); err != nil {
		return err
	}
	_, err := p.nc.Write(append(head, body...))
	return err
}

// frame reads the elements of one frame.
func (p *PushConn) frame() ([]codec.Raw, error) {
	within := p.Within
	if within == 0 {
		within = 30 * time.Second
	}
	if err := p.nc.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	n := 0
	if err := codec.NewDecoder(p.in, pushHandle).Decode(&n); err != nil {
		return nil, err
	}
	if n <= 0 || n > pushFrameMax {
		return nil, fmt.Errorf("frame of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(p.in, body); err != nil {
		return nil, err
	}
	if body[0] < 0x91 || body[0] > 0x9f {
		return nil, fmt.Errorf("a frame begins with %#x", body[0])
	}
	var el []codec.Raw
	if err := codec.NewDecoderBytes(body, pushRawHandle).Decode(&el); err != nil {
		return nil, err
	}
	if len(el) < 4 {
		return nil, fmt.Errorf("a frame of %d elements", len(el))
	}
	return el, nil
}

// unpackPush decodes an element; the codec hands out nil as no bytes at all.
func unpackPush(b []byte, v any) error {
	if len(b) == 0 {
		b = []byte{0xc0}
	}
	return codec.NewDecoderBytes(b, pushHandle).Decode(v)
}
