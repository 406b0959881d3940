package sigchain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
)

// history is a random account in the making, and how one names its keys.
type history struct {
	*world
	names int // keys made so far
	label map[kbsig.KID]string
}

func (h *history) name() string {
	h.names++
	n := fmt.Sprintf("K%d", h.names)
	h.label[signKID(n)], h.label[encKID(n)] = n, n
	return n
}

// some draws the label of any device key ever made, active or not.
func (h *history) some(t *rapid.T, what string) string {
	if h.names == 0 {
		return h.name()
	}
	return fmt.Sprintf("K%d", rapid.IntRange(1, h.names).Draw(t, what))
}

// signer draws mostly an active device, sometimes any key.
func (h *history) signer(t *rapid.T) string {
	active := h.st.ActiveDevices()
	if len(active) == 0 || rapid.IntRange(0, 9).Draw(t, "any signer") == 0 {
		return h.some(t, "signer")
	}
	return h.label[rapid.SampledFrom(active).Draw(t, "signer").Sibkey]
}

func (h *history) receivers(except string) []string {
	var out []string
	for _, k := range h.st.ActiveEncryptionKIDs() {
		if n := h.label[k]; n != except {
			out = append(out, n)
		}
	}
	return out
}

// step draws one request, right or wrong, and tells whether it was taken.
func (h *history) step(t *rapid.T) (bool, error) {
	gen := h.st.PUKGeneration()
	v := rapid.IntRange(1, 2).Draw(t, "version")
	by := h.signer(t)
	var x Extras
	var ds []*draft
	switch rapid.IntRange(0, 15).Draw(t, "request") {
	case 0:
		n := h.name()
		ds = []*draft{eldest(n, "device "+n), subkey(n)}
		if rapid.Bool().Draw(t, "with puk") {
			ds = append(ds, perUserKey(h.name(), n, 1))
			x.PUK = boxes(1, n, n)
		}
	case 1, 2:
		n := h.name()
		if rapid.IntRange(0, 9).Draw(t, "old key") == 0 {
			n = h.some(t, "device")
		}
		typ := rapid.SampledFrom([]string{"desktop", "mobile", "backup"}).Draw(t, "type")
		ds = []*draft{sibkey(n, by, "device "+n, typ), subkey(n)}
		if gen > 0 {
			x.PUK = boxes(gen, by, n)
			x.PUK.Prev = ""
		}
	case 3, 4:
		target := h.some(t, "revoked")
		d, _ := h.st.Device(deviceID(target))
		ds = []*draft{revokeDevice(target, by, string(d.Type))}
		if gen > 0 {
			ds = append([]*draft{perUserKey(h.name(), by, gen+1)}, ds...)
			x.PUK = boxes(gen+1, by, h.receivers(target)...)
		}
	case 5:
		ds = []*draft{perUserKey(h.name(), by, gen+1)}
		x.PUK = boxes(gen+1, by, h.receivers("")...)
	case 6:
		ds = []*draft{track(rapid.SampledFrom([]string{"bob", "carol"}).Draw(t, "who"), by)}
	case 7:
		ds = []*draft{untrack(rapid.SampledFrom([]string{"bob", "carol"}).Draw(t, "who"), by)}
	case 8:
		said := h.said()
		if len(said) == 0 {
			return false, nil
		}
		ds = []*draft{revokeSig(by, rapid.SampledFrom(said).Draw(t, "which"))}
	case 13, 14, 15:
		d := h.pgpStep(t, by)
		if d == nil {
			return false, nil
		}
		if d.gpg != nil {
			v = 1
		}
		ds = []*draft{d}
	default:
		ds = []*draft{h.statement(t, by)}
	}
	if !ignorableTypes[kbsig.LinkTypeOf(ds[0].typ, false)] {
		version(v, ds...)
	}
	if h.st.Eldest.IsZero() && ds[0].typ != "eldest" {
		return false, nil
	}
	links, err := h.links(ds...)
	if err != nil {
		return false, err
	}
	if l := links[len(links)-1]; l.Revoke != nil {
		x.Lease = h.leaseFor(l)
	}
	next, err := CheckBatch(h.st, links, x, h)
	if err != nil {
		return false, err
	}
	h.accept(next, links)
	return true, nil
}

// said lists all signatures that can be taken back, and the newest link's, which mostly
// cannot.
func (h *history) said() []kbsig.SigIDBase {
	var out []kbsig.SigIDBase
	for _, t := range h.st.Tracks {
		out = append(out, t.SigID)
	}
	for _, p := range h.st.Proofs {
		out = append(out, p.SigID)
	}
	for _, c := range h.st.Currencies {
		out = append(out, c.SigID)
	}
	for _, list := range [][]Vouch{h.st.Vouches, h.st.Reactions} {
		for _, v := range list {
			out = append(out, v.SigID)
		}
	}
	if h.st.Tail > 0 {
		out = append(out, h.st.TailSig)
	}
	return out
}

// statement draws something that somebody says about oneself or others, sometimes in
// place of something else.
func (h *history) statement(t *rapid.T, by string) *draft {
	var instead []kbsig.SigIDBase
	if said := h.said(); len(said) > 0 && rapid.IntRange(0, 3).Draw(t, "instead") == 0 {
		instead = append(instead, rapid.SampledFrom(said).Draw(t, "of"))
	}
	name := rapid.SampledFrom([]string{"alice", "Alice.2"}).Draw(t, "name")
	switch rapid.IntRange(0, 6).Draw(t, "statement") {
	case 0:
		return social(rapid.SampledFrom([]string{"twitter", "gubble.social"}).Draw(t, "service"), name, by, instead...)
	case 1:
		host := rapid.SampledFrom([]string{"example.org", "EXAMPLE.org"}).Draw(t, "host")
		return site(rapid.SampledFrom([]string{"http:", "https:", "dns"}).Draw(t, "protocol"), host, by)
	case 2:
		return currency("bitcoin", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", by, instead...)
	case 3:
		return wallet(rapid.SampledFrom([]string{"W1", "W2"}).Draw(t, "wallet"), by)
	case 4:
		return vouchFor(name, by, instead...)
	case 5:
		return reactTo(name, by)
	}
	n := h.some(t, "device")
	d, _ := h.st.Device(deviceID(n))
	return rename(n, by, rapid.SampledFrom([]string{"device " + n, "work tablet"}).Draw(t, "device name"), string(d.Type))
}

// invariants hold after every request, taken or not.
func (h *history) invariants(t *rapid.T) {
	s := h.st
	seen := map[kbsig.KID]bool{}
	for _, k := range s.AllKIDs() {
		if seen[k] && !pgp.IsKID(k) {
			t.Fatalf("key %s twice", k)
		}
		seen[k] = true
	}
	for _, p := range s.PUKs {
		if seen[p.Signing] || seen[p.Encryption] {
			t.Fatal("per-user key that is another key")
		}
		seen[p.Signing], seen[p.Encryption] = true, true
	}
	for i, v := range s.PGP {
		if _, ok := s.Key(v.KID); !ok {
			t.Fatalf("version %d of no key", i)
		}
		if got, _ := s.PGPVersion(v.KID); got.Seqno < v.Seqno {
			t.Fatal("an old version of a PGP key counts")
		}
	}
	devices := s.ActiveDevices()
	if len(devices) != 0 && s.Eldest.IsZero() {
		t.Fatalf("%d devices with eldest key %s", len(devices), s.Eldest)
	}
	for _, d := range devices {
		sib, _ := s.Key(d.Sibkey)
		sub, ok := s.Key(d.Subkey)
		if !ok || !s.KeyActive(sib) || !s.KeyActive(sub) || sub.Parent != d.Sibkey {
			t.Fatalf("active device %s without its keys", d.ID)
		}
	}
	if !slices.IsSortedFunc(s.Tracks, func(a, b Track) int { return bytes.Compare(a.UID[:], b.UID[:]) }) {
		t.Fatal("tracks out of order")
	}
	again, err := DecodeState(s.Encode())
	if err != nil || !bytes.Equal(again.Encode(), s.Encode()) {
		t.Fatalf("state does not round trip: %v", err)
	}
}

// maybeReset resets the account now and then, and seldom deletes it: then nothing is
// taken any more.
func (h *history) maybeReset(t *rapid.T) error {
	n := rapid.IntRange(0, 99).Draw(t, "reset")
	switch {
	case h.st.Deleted:
		if h.reset(KindReset) == nil || h.reset(KindDelete) == nil {
			return errors.New("a deleted account was reset")
		}
	case n < 6:
		return errors.Join(h.reset(KindReset), h.dead())
	case n == 6:
		return errors.Join(h.reset(KindDelete), h.dead())
	}
	h.invariants(t)
	return nil
}

// dead: nothing of an incarnation that has ended counts.
func (h *history) dead() error {
	s := h.st
	for _, k := range s.Keys {
		if s.KeyActive(k) || s.ActiveSibkey(k.KID) {
			return fmt.Errorf("key %s outlived a reset", k.KID)
		}
	}
	if n := len(s.ActiveDevices()) + len(s.Tracks) + int(s.PUKGeneration()); n != 0 || !s.Eldest.IsZero() || s.EldestSeqno != 0 {
		return fmt.Errorf("%d things outlived a reset", n)
	}
	return nil
}

// Random histories: a request is taken whole or leaves the state as it was, every
// active device has both its keys, no key ever serves twice, and the records alone
// lead to the same state.
func TestRandomHistories(t *testing.T) {
	var out *json.Encoder
	if *chainsOut != "" {
		f, err := os.Create(*chainsOut + ".histories")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out = json.NewEncoder(f)
	}
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{world: newWorld(t, "alice"), label: map[kbsig.KID]string{}}
		for i, n := 0, rapid.IntRange(1, 30).Draw(rt, "requests"); i < n; i++ {
			before := h.st.Encode()
			tail := h.st.Tail
			taken, err := h.step(rt)
			if err != nil && (KindOf(err) == KindNone || KindOf(err) == KindCorrupt || KindOf(err) == KindSignature) {
				rt.Fatalf("refused for no reason a client could have given: %v", err)
			}
			if !taken && !bytes.Equal(before, h.st.Encode()) {
				rt.Fatal("a refused request changed the state")
			}
			if taken && h.st.Tail == tail {
				rt.Fatal("a request was taken and no link added")
			}
			h.invariants(rt)
			if err := h.maybeReset(rt); err != nil {
				rt.Fatal(err)
			}
		}
		again, err := Replay(h.st.UID, h.st.Username, h.records, h.resets, h.replayEnv())
		if err != nil || !bytes.Equal(again.Encode(), h.st.Encode()) {
			rt.Fatalf("replay leads elsewhere: %v", err)
		}
		if out != nil && h.st.Tail > 0 {
			writeChain(t, out, "history", h.world, h.st, nil, false)
			writeChain(t, out, "history with stubs", h.world, h.st, nil, true)
		}
	})
}
