package rpc

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/keybase/go-codec/codec"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
)

// The transcripts are conversations on the wire. Arguments and results are written
// as JSON, byte strings in them as "0x…". Gregor's clock stands at
// 1700000000000 ms. Each file is one server; "dial <name>" opens a connection.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		d := openDoor(t, Limits{})
		fake := clock.NewFake(time.UnixMilli(1_700_000_000_000))
		d.gregor = gregor.New(gregor.Options{Log: memLog(t), Clock: fake.Now, Rand: &counter{}})
		d.Server.opts.Gregor = d.gregor
		conns := make(map[string]*testClient)
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			return converse(t, d, conns, td)
		})
	})
}

func converse(t *testing.T, d *door, conns map[string]*testClient, td *datadriven.TestData) string {
	name := td.CmdArgs[0].Key
	if td.Cmd == "dial" {
		conns[name] = d.dial(t)
		return ""
	}
	if td.Cmd == "inject" {
		in := gregor.Injection{UID: kbsig.UIDOf(kbsig.Username(name)), Category: argOf(td, "category"), Body: []byte(td.Input)}
		if _, err := d.gregor.Inject(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		return ""
	}
	c := conns[name]
	c.t = t
	switch td.Cmd {
	case "call":
		ctype := map[string]int{"": 0, "gzip": 1, "msgpackzip": 2}[argOf(td, "compress")]
		return callInJSON(c, ctype, td.CmdArgs[1].Key, td.Input)
	case "send":
		b, err := hex.DecodeString(strings.Join(strings.Fields(td.Input), ""))
		if err != nil {
			t.Fatal(err)
		}
		c.write(b)
	case "receive":
	case "hear":
		return inJSON(pack(c.broadcast())) + "\n"
	default:
		t.Fatalf("unknown command %s", td.Cmd)
	}
	// What comes back, as it is on the wire.
	el, err := c.readFrame()
	if err != nil {
		return "closed\n"
	}
	var parts []string
	for _, e := range el {
		parts = append(parts, inJSON(e))
	}
	return "[" + strings.Join(parts, ", ") + "]\n"
}

func argOf(td *datadriven.TestData, key string) string {
	for _, a := range td.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return a.Vals[0]
		}
	}
	return ""
}

func callInJSON(c *testClient, ctype int, method, input string) string {
	var arg any
	if err := json.Unmarshal([]byte(input), &arg); err != nil {
		c.t.Fatalf("%s: %v", input, err)
	}
	c.start(ctype, method, fromJSON(arg))
	_, st, raw, err := c.next()
	if err != nil {
		return "closed\n"
	}
	if st != nil {
		out := fmt.Sprintf("error %d %s: %s\n", st.Code, st.Name, st.Desc)
		for _, f := range st.Fields {
			out += fmt.Sprintf("  %s=%s\n", f.Key, f.Value)
		}
		return out
	}
	plain, err := plainResult(ctype, raw)
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	return inJSON(plain) + "\n"
}

// fromJSON turns "0x…" into bytes and whole numbers into integers.
func fromJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = fromJSON(v[k])
		}
	case []any:
		for i := range v {
			v[i] = fromJSON(v[i])
		}
	case string:
		if h, ok := strings.CutPrefix(v, "0x"); ok {
			b, err := hex.DecodeString(h)
			if err != nil {
				panic(err)
			}
			return b
		}
		if user, ok := strings.CutPrefix(v, "uid:"); ok {
			u := kbsig.UIDOf(kbsig.Username(user))
			return u[:]
		}
		if token, ok := strings.CutPrefix(v, "device:"); ok {
			_, n, _ := bytes.Cut([]byte(token), []byte("/"))
			dev := deviceOf(token, n)
			return dev[:]
		}
	case float64:
		return int64(v)
	}
	return v
}

func inJSON(b []byte) string {
	h := *testHandle
	h.MapType = reflect.TypeOf(map[any]any(nil))
	var v any
	if len(b) > 0 {
		if err := codec.NewDecoderBytes(b, &h).Decode(&v); err != nil {
			return "undecodable " + hex.EncodeToString(b)
		}
	}
	out, err := json.Marshal(toJSON(v))
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func toJSON(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			if b, ok := k.([]byte); ok {
				k = string(b)
			}
			m[fmt.Sprint(k)] = toJSON(e)
		}
		return m
	case []any:
		for i := range v {
			v[i] = toJSON(v[i])
		}
	case []byte:
		return "0x" + hex.EncodeToString(v)
	case uint64:
		return json.Number(strconv.FormatUint(v, 10))
	}
	return v
}

// The door serves whatever listener it is given: over TLS a client that speaks is
// served, one that never finishes the handshake is cut, and garbage is dropped.
func TestTLS(t *testing.T) {
	d := openDoor(t, Limits{AuthWithin: 500 * time.Millisecond})
	server, client := tlsConfigs(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.Serve(ln, server) }()
	addr := ln.Addr().String()

	silent, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	garbage, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer garbage.Close()
	if _, err := garbage.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	c := dialTLS(t, addr, client)
	if st := c.call(2, "chat.1.remote.syncAll", syncAllArg("alice", 0), nil); st != nil {
		t.Fatalf("%+v", st)
	}
	for name, nc := range map[string]net.Conn{"silent": silent, "garbage": garbage} {
		_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, nc); errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: still open", name)
		}
	}
	if st := c.call(0, "gregor.1.incoming.ping", map[string]any{}, nil); st != nil {
		t.Errorf("%+v", st)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := d.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, ErrServerClosed) {
		t.Error(err)
	}
}
