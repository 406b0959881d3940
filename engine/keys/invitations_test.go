package keys

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestInvitationKeysRoundTrip proves that a key gives back the hash it was made of,
// lies in the ranges that look for it, and that nothing else is read as one.
func TestInvitationKeysRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := [32]byte(drawBytes(t, 32, "hash"))
		k := Invitation(h)
		if got, ok := InvitationOf(k); !ok || got != h {
			t.Fatalf("key of %x read as %x", h, got)
		}
		n := rapid.IntRange(0, 32).Draw(t, "start")
		if !bytes.HasPrefix(k, InvitationsFrom(h[:n])) || !bytes.HasPrefix(k, Invitations()) {
			t.Fatal("key outside its ranges")
		}
		for _, bad := range [][]byte{k[:len(k)-1], append(bytes.Clone(k), 0), append([]byte{'S'}, k[1:]...), nil} {
			if _, ok := InvitationOf(bad); ok {
				t.Fatalf("%x is read as an invitation", bad)
			}
		}
	})
}
