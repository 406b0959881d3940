package node

import (
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestReadyMadeUsers proves that a server in devel mode, and no other, has the accounts
// that the client's own tests look for; that a client which verifies everything takes
// each of their links; that a restart makes none again; and that the audit is clean.
func TestReadyMadeUsers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	r := l.mustStart(t)
	if _, err := r.verifier(nil).LookupUser(t.Context(), client.UIDOf("t_alice"), nil); err == nil {
		t.Error("t_alice is on a server that is not in devel mode")
	}
	r.mustStop(t)
	l.cfg.Devel = true
	links := make(map[string]client.Seqno)
	for range 2 {
		r = l.mustStart(t)
		for name, devices := range map[string]int{"t_alice": 1, "t_george": 3, "t_kb": 2, "t_tracy": 2} {
			u, err := r.verifier(nil).LoadUser(t.Context(), client.UIDOf(name), client.LoadOptions{Quoted: true})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if n := len(u.Family.ActiveDevices()); n != devices || u.Family.LatestPUK() != nil {
				t.Errorf("%s has %d devices, not %d, and per-user key %v", name, n, devices, u.Family.LatestPUK())
			}
			if tail := u.Tail().Seqno; links[name] != 0 && links[name] != tail {
				t.Errorf("%s had %d links before the restart, and has %d", name, links[name], tail)
			}
			links[name] = u.Tail().Seqno
		}
		if err := r.audit(); err != nil {
			t.Error(err)
		}
		r.mustStop(t)
	}
}
