package rpc

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// benchDoor is a door whose user alice has n items.
func benchDoor(b *testing.B, n int) *door {
	b.Helper()
	auth := &fakeAuth{}
	g := gregor.New(gregor.Options{Log: memLog(b), Clock: time.Now, Rand: &counter{}})
	for i := range n {
		in := gregor.Injection{UID: kbsig.UIDOf("alice"), Category: "team.change", MsgID: fmt.Append(nil, i), Body: make([]byte, 200)}
		if _, err := g.Inject(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
	s, err := New(Options{Auth: auth, Gregor: g, Clock: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	d := &door{s, g, auth, ln.Addr().String(), make(chan error, 1)}
	go func() { d.served <- s.Serve(ln, nil) }()
	b.Cleanup(func() {
		_ = s.Shutdown(context.Background())
		<-d.served
	})
	return d
}

// BenchmarkReconnect is a whole connection: dial, syncAll, close.
func BenchmarkReconnect(b *testing.B) {
	for _, items := range []int{0, 50} {
		b.Run(fmt.Sprintf("items=%d", items), func(b *testing.B) {
			d := benchDoor(b, items)
			b.ReportAllocs()
			for b.Loop() {
				c := d.dial(b)
				if st := c.call(2, "chat.1.remote.syncAll", syncAllArg("alice", 1), nil); st != nil {
					b.Fatalf("%+v", st)
				}
				c.nc.Close()
			}
		})
	}
}

// BenchmarkPing is what an idle client costs every ten seconds.
func BenchmarkPing(b *testing.B) {
	c := benchDoor(b, 0).login(b, "alice")
	b.ReportAllocs()
	for b.Loop() {
		if st := c.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, nil); st != nil {
			b.Fatalf("%+v", st)
		}
	}
}
