package roots

import (
	"fmt"
	"math/bits"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

const (
	// hashesMax is how many hashes of the newest roots stay in memory, 32 bytes
	// each; the near skips of a new root come from there.
	hashesMax = 1 << 16
	// windowRoots is how many hashes are read at once for a far skip: as roots
	// grow one by one, so do the places that their far skips point to.
	windowRoots = 64
)

// skipTargets are the roots that root n points to: n-1, n-2, n-4, ... n-2^i for
// i < ceil(log2 n), just these.
// client: go/libkb/merkle_client.go:computeExpectedRootSkips
func skipTargets(n kbsig.Seqno) []kbsig.Seqno {
	if n <= 1 {
		return nil
	}
	out := make([]kbsig.Seqno, bits.Len64(uint64(n-1)))
	for i := range out {
		out[i] = n - 1<<i
	}
	return out
}

// skipPath are the roots between newer and older that connect them: from newer,
// the set bits of the distance are subtracted from the highest to the second
// lowest. Neither end is part of it.
// client: go/libkb/merkle_client.go:computeLogPatternMerkleSkips
func skipPath(older, newer kbsig.Seqno) []kbsig.Seqno {
	var out []kbsig.Seqno
	at := newer
	for left := uint64(newer - older); bits.OnesCount64(left) > 1; {
		step := uint64(1) << (bits.Len64(left) - 1)
		left -= step
		at -= kbsig.Seqno(step)
		out = append(out, at)
	}
	return out
}

// hashes knows the hash of every root, the newest from memory. It belongs to the
// committer.
type hashes struct {
	first  kbsig.Seqno      // older roots do not exist and have a hash of zeros
	base   kbsig.Seqno      // number of recent[0]
	recent []kbsig.HashMeta // without a gap up to the newest root
	far    [64]window       // by the exponent of the skip that reads it
}

type window struct {
	base   kbsig.Seqno
	hashes []kbsig.HashMeta
}

// push adds the hash of the next root.
func (h *hashes) push(n kbsig.Seqno, m kbsig.HashMeta) {
	if len(h.recent) == 0 {
		h.base = n
	}
	if len(h.recent) == 2*hashesMax {
		// Moving half at a time costs nothing per root.
		h.recent = append(h.recent[:0], h.recent[hashesMax:]...)
		h.base += hashesMax
	}
	h.recent = append(h.recent, m)
}

// skips is the skip table of root n.
func (h *hashes) skips(r store.Reader, n kbsig.Seqno) ([]skip, error) {
	targets := skipTargets(n)
	out := make([]skip, len(targets))
	for i, to := range targets {
		out[i].to = to
		var err error
		switch {
		case to < h.first:
		case to >= h.base:
			out[i].hash = h.recent[to-h.base]
		default:
			out[i].hash, err = h.far[i].at(r, to)
		}
		if err != nil {
			return nil, fmt.Errorf("skip of root %d: %w", n, err)
		}
	}
	return out, nil
}

// at returns the hash of root n, reading that and the following ones if they are
// not in the window.
func (w *window) at(r store.Reader, n kbsig.Seqno) (kbsig.HashMeta, error) {
	if n < w.base || n >= w.base+kbsig.Seqno(len(w.hashes)) {
		w.base, w.hashes = n, w.hashes[:0]
		err := r.Scan(keys.Root(n), keys.Root(n+windowRoots), func(k, v []byte) error {
			got, ok := keys.RootSeqno(k)
			if !ok || got != n+kbsig.Seqno(len(w.hashes)) || len(v) < payloadAt {
				return store.ErrStop
			}
			w.hashes = append(w.hashes, kbsig.HashMeta(v[hashAt:hashAt+32]))
			return nil
		})
		if err != nil {
			return kbsig.HashMeta{}, err
		}
		if len(w.hashes) == 0 {
			return kbsig.HashMeta{}, fmt.Errorf("root %d is missing: %w", n, ErrCorrupt)
		}
	}
	return w.hashes[n-w.base], nil
}
