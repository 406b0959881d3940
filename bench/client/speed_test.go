package client

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// BenchmarkBuildAccount is the work of the client alone that a new account with
// its first device costs: four signatures, three boxes and the JSON.
func BenchmarkBuildAccount(b *testing.B) {
	w := newWorld(b)
	v := NewVerifier(w.server(1), nil)
	root, err := v.RefreshRoot(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for i := range b.N {
		a := newAccount(v, fmt.Sprintf("user%d", i))
		a.Stream = CheapStream([]byte(a.Username))
		d, err := NewDevice(v.srv, "home", DeviceDesktop)
		if err != nil {
			b.Fatal(err)
		}
		puk := NewPUK(randomSeed())
		bt := &batch{a: a, body: make(map[string]any), root: root, ctime: root.Ctime}
		for _, step := range []func() error{
			func() error { return bt.delegate("eldest", d.Sig, d.Sig.KID(), EldestBody(d), nil) },
			func() error {
				bt.eldest = d.Sig.KID()
				return bt.delegate("subkey", d.Sig, d.Enc.KID(), SubkeyBody(d), nil)
			},
			func() error { return bt.perUserKey(d.Sig, puk, 1) },
			func() error { _, err := a.boxes(d.Enc, puk.Seed, 1, d.Enc.KID()); return err },
		} {
			if err := step(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkLoadUser is what verifying a stranger with eight links costs.
func BenchmarkLoadUser(b *testing.B) {
	w := newWorld(b)
	v := NewVerifier(w.server(1), nil)
	ctx := b.Context()
	a, err := Signup(ctx, v, SignupOptions{Name: "alice", Stream: CheapStream(nil), DeviceName: "home"})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 5 {
		if _, err := a.AddDevice(ctx, fmt.Sprintf("device %d", i), DeviceDesktop); err != nil {
			b.Fatal(err)
		}
	}
	var n atomic.Int64
	b.ResetTimer()
	for range b.N {
		u, err := v.LoadUser(ctx, a.UID, LoadOptions{Fresh: true})
		if err != nil {
			b.Fatal(err)
		}
		n.Add(int64(len(u.Chain)))
	}
	b.ReportMetric(float64(n.Load())/float64(b.N), "links/op")
}
