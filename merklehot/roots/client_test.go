package roots

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/keybase/go-codec/codec"
)

// watcher is a client's view of the roots, written from the client's rules and not
// from the package under test: it verifies signatures, skips and paths, and holds
// the newest root it has seen.
// client: go/libkb/merkle_client.go
type watcher struct {
	kid  string // that it was told to trust
	last *seen
}

type seen struct {
	payload string
	body    struct {
		Body struct {
			Seqno  int64             `json:"seqno"`
			Root   string            `json:"root"`
			Prev   string            `json:"prev"`
			Legacy string            `json:"legacy_uid_root"`
			Skips  map[string]string `json:"skips"`
			Type   string            `json:"type"`
			PVL    string            `json:"pvl_hash"`
			Proofs string            `json:"proof_services_hash"`
			URLs   string            `json:"external_urls_hash"`
			Txid   string            `json:"txid"`
		} `json:"body"`
		Ctime int64  `json:"ctime"`
		Tag   string `json:"tag"`
	}
}

func parseSeen(payload string) (*seen, error) {
	s := &seen{payload: payload}
	if err := json.Unmarshal([]byte(payload), &s.body); err != nil {
		return nil, err
	}
	if s.body.Body.Type != "merkle_root" || s.body.Tag != "signature" || len(s.body.Body.Txid) != 32 {
		return nil, fmt.Errorf("not a root: %s", payload)
	}
	return s, nil
}

func (s *seen) seqno() int64 { return s.body.Body.Seqno }

func (s *seen) hashMeta() string {
	h := sha256.Sum256([]byte(s.payload))
	return hex.EncodeToString(h[:])
}

// checkSig decodes the packet as clients do and verifies the attached signature.
func (w *watcher) checkSig(payload, armored string) error {
	raw, err := base64.StdEncoding.DecodeString(armored)
	if err != nil {
		return err
	}
	var packet struct {
		Body struct {
			Detached bool   `codec:"detached"`
			HashType int    `codec:"hash_type"`
			Key      []byte `codec:"key"`
			Payload  []byte `codec:"payload"`
			Sig      []byte `codec:"sig"`
			SigType  int    `codec:"sig_type"`
		} `codec:"body"`
		Tag     int `codec:"tag"`
		Version int `codec:"version"`
	}
	h := &codec.MsgpackHandle{WriteExt: true}
	if err := codec.NewDecoderBytes(raw, h).Decode(&packet); err != nil {
		return err
	}
	b := packet.Body
	switch {
	case packet.Tag != 514 || packet.Version != 1 || !b.Detached || b.HashType != 10 || b.SigType != 32:
		return errors.New("packet of another kind")
	case hex.EncodeToString(b.Key) != w.kid:
		return fmt.Errorf("signed by %x, trusted is %s", b.Key, w.kid)
	case string(b.Payload) != payload:
		return errors.New("another payload is signed")
	case !ed25519.Verify(b.Key[2:34], b.Payload, b.Sig):
		return errors.New("signature does not verify")
	}
	return nil
}

// checkSkipTable demands just the skips n-2^i.
func checkSkipTable(s *seen) error {
	n := s.seqno()
	high := 0
	if n > 1 {
		high = int(math.Ceil(math.Log2(float64(n))))
	}
	if len(s.body.Body.Skips) != high {
		return fmt.Errorf("root %d has %d skips, not %d", n, len(s.body.Body.Skips), high)
	}
	for i := range high {
		if _, ok := s.body.Body.Skips[fmt.Sprint(n-1<<i)]; !ok {
			return fmt.Errorf("root %d has no skip to %d", n, n-1<<i)
		}
	}
	return nil
}

// checkSkipPath walks from newer over the given payloads to older.
func checkSkipPath(newer, older *seen, between []string) error {
	chain := []*seen{newer}
	for _, p := range between {
		s, err := parseSeen(p)
		if err != nil {
			return err
		}
		chain = append(chain, s)
	}
	chain = append(chain, older)
	// The pattern: subtract the set bits of the distance, highest first; the last
	// one leads to older itself.
	at, diff := newer.seqno(), newer.seqno()-older.seqno()
	want := []int64{}
	for bit := int64(1) << 40; bit > 0; bit >>= 1 {
		if diff&bit != 0 {
			at -= bit
			want = append(want, at)
		}
	}
	if len(want) != len(chain)-1 {
		return fmt.Errorf("%d hops from %d to %d, not %d", len(chain)-1, newer.seqno(), older.seqno(), len(want))
	}
	for i, n := range want {
		if chain[i+1].seqno() != n {
			return fmt.Errorf("hop to %d, not %d", chain[i+1].seqno(), n)
		}
		if got := chain[i].body.Body.Skips[fmt.Sprint(n)]; got != chain[i+1].hashMeta() {
			return fmt.Errorf("skip from %d to %d names %q", chain[i].seqno(), n, got)
		}
		if chain[i].body.Ctime < chain[i+1].body.Ctime {
			return fmt.Errorf("time goes back from %d to %d", n, chain[i].seqno())
		}
	}
	return nil
}

// see takes a newest root as merkle/root gives it, with the skips from the root that
// the watcher holds.
func (w *watcher) see(payload, armored string, skips []string) error {
	s, err := parseSeen(payload)
	if err != nil {
		return err
	}
	if err := w.checkSig(payload, armored); err != nil {
		return fmt.Errorf("root %d: %w", s.seqno(), err)
	}
	if err := checkSkipTable(s); err != nil {
		return err
	}
	if w.last != nil {
		if s.seqno() < w.last.seqno() {
			return fmt.Errorf("rolled back from %d to %d", w.last.seqno(), s.seqno())
		}
		if s.seqno() == w.last.seqno() && s.payload != w.last.payload {
			return fmt.Errorf("forked at %d", s.seqno())
		}
		if s.seqno() > w.last.seqno() {
			if err := checkSkipPath(s, w.last, skips); err != nil {
				return err
			}
		}
	}
	if s.seqno() > 1 && w.last != nil && s.seqno() == w.last.seqno()+1 {
		h := sha512.Sum512([]byte(w.last.payload))
		if s.body.Body.Prev != hex.EncodeToString(h[:]) {
			return fmt.Errorf("root %d does not name the one before", s.seqno())
		}
	}
	w.last = s
	return nil
}

var errAbsent = errors.New("not in the tree")

// checkPath verifies a path, given in its wire form, under a root hash and returns
// the leaf, or errAbsent.
func checkPath(root, id string, wire []byte) (string, error) {
	var steps []struct {
		Prefix string `json:"prefix"`
		Node   struct {
			Val string `json:"val"`
		} `json:"node"`
	}
	if err := json.Unmarshal(wire, &steps); err != nil {
		return "", err
	}
	want := root
	for i, s := range steps {
		var got string
		if len(want) == 64 {
			h := sha256.Sum256([]byte(s.Node.Val))
			got = hex.EncodeToString(h[:])
		} else {
			h := sha512.Sum512([]byte(s.Node.Val))
			got = hex.EncodeToString(h[:])
		}
		if got != want || !strings.HasPrefix(id, s.Prefix) {
			return "", fmt.Errorf("step %d does not follow", i)
		}
		var node struct {
			Type int                        `json:"type"`
			Tab  map[string]json.RawMessage `json:"tab"`
		}
		if err := json.Unmarshal([]byte(s.Node.Val), &node); err != nil {
			return "", err
		}
		if node.Type == 2 {
			if leaf, ok := node.Tab[id]; ok && i == len(steps)-1 {
				return string(leaf), nil
			}
			return "", errAbsent
		}
		next, ok := node.Tab[s.Prefix]
		if !ok {
			return "", errAbsent
		}
		if err := json.Unmarshal(next, &want); err != nil {
			return "", err
		}
	}
	return "", errAbsent
}

// namesKey is where the legacy tree would know a user name.
func namesKey(name string) string {
	h := sha256.Sum256([]byte(name))
	return hex.EncodeToString(h[:])
}
