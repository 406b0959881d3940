package tree

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/keystead/keystead/engine/store"
)

// errNoPath is the verifier's "not in the tree", which clients take as absence.
var errNoPath = errors.New("not in the tree")

// verifyPath checks a path by the client's rules, written from those rules alone:
// nothing of the package under test is used. It returns the leaf's JSON value, or
// errNoPath for a proof of absence.
// client: go/libkb/merkle_client.go:VerifyPath
func verifyPath(pathJSON []byte, root, id string) (json.RawMessage, error) {
	var steps []struct {
		Prefix *string `json:"prefix"`
		Node   struct {
			Val string `json:"val"`
		} `json:"node"`
	}
	if err := json.Unmarshal(pathJSON, &steps); err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	want := root
	var leaf json.RawMessage
	inLeaf := false
	for i, s := range steps {
		var got string
		switch len(want) {
		case 128:
			h := sha512.Sum512([]byte(s.Node.Val))
			got = hex.EncodeToString(h[:])
		case 64:
			h := sha256.Sum256([]byte(s.Node.Val))
			got = hex.EncodeToString(h[:])
		}
		if got != want {
			return nil, fmt.Errorf("step %d: hash mismatch", i)
		}
		var node struct {
			Type int                        `json:"type"`
			Tab  map[string]json.RawMessage `json:"tab"`
		}
		if err := json.Unmarshal([]byte(s.Node.Val), &node); err != nil {
			return nil, fmt.Errorf("step %d: %w", i, err)
		}
		prefix := ""
		if s.Prefix != nil {
			prefix = *s.Prefix
		}
		if len(prefix) > len(id) || !strings.HasPrefix(id, prefix) {
			return nil, fmt.Errorf("step %d: prefix %q does not lead to %s", i, prefix, id)
		}
		if node.Type != 1 {
			leaf, inLeaf = node.Tab[id], true
			continue
		}
		if prefix == "" {
			return nil, fmt.Errorf("step %d: interior node without a prefix", i)
		}
		next, ok := node.Tab[prefix]
		if !ok {
			return nil, errNoPath
		}
		if err := json.Unmarshal(next, &want); err != nil {
			return nil, fmt.Errorf("step %d: %w", i, err)
		}
		leaf, inLeaf = nil, false
	}
	if !inLeaf || leaf == nil {
		return nil, errNoPath
	}
	return leaf, nil
}

// naive builds a whole tree from a map the slow and obvious way and returns the top
// node's hash in hex.
func naive(values map[string]string, hash func([]byte) string) string {
	ids := make([]string, 0, len(values))
	for id := range values {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	var build func(prefix string, ids []string) string
	build = func(prefix string, ids []string) string {
		var entries []string
		if prefix != "" && len(ids) <= 4 {
			for _, id := range ids {
				entries = append(entries, fmt.Sprintf("%q:%s", id, values[id]))
			}
			return hash([]byte(`{"tab":{` + strings.Join(entries, ",") + `},"type":2}`))
		}
		for _, d := range "0123456789abcdef" {
			var under []string
			p := prefix + string(d)
			for _, id := range ids {
				if strings.HasPrefix(id, p) {
					under = append(under, id)
				}
			}
			if len(under) > 0 {
				entries = append(entries, fmt.Sprintf("%q:%q", p, build(p, under)))
			}
		}
		return hash([]byte(`{"tab":{` + strings.Join(entries, ",") + `},"type":1}`))
	}
	return build("", ids)
}

func hex512(b []byte) string {
	h := sha512.Sum512(b)
	return hex.EncodeToString(h[:])
}

func hex256(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// records is a store of the simplest kind: a sorted list.
type records struct {
	keys   []string
	values map[string][]byte
	dirty  bool
	reads  int // records handed out
}

func newRecords() *records { return &records{values: map[string][]byte{}} }

func (m *records) Set(k, v []byte) {
	if _, ok := m.values[string(k)]; !ok {
		m.keys, m.dirty = append(m.keys, string(k)), true
	}
	m.values[string(k)] = bytes.Clone(v)
}

func (m *records) Get(k []byte) ([]byte, error) {
	v, ok := m.values[string(k)]
	if !ok {
		return nil, store.ErrNotFound
	}
	return bytes.Clone(v), nil
}

func (m *records) Scan(lo, hi []byte, fn func(k, v []byte) error) error {
	if m.dirty {
		slices.Sort(m.keys)
		m.dirty = false
	}
	for i := sort.SearchStrings(m.keys, string(lo)); i < len(m.keys); i++ {
		k := m.keys[i]
		if hi != nil && k >= string(hi) {
			break
		}
		m.reads++
		if err := fn([]byte(k), bytes.Clone(m.values[k])); err != nil {
			if errors.Is(err, store.ErrStop) {
				return nil
			}
			return err
		}
	}
	return nil
}

func (m *records) ScanReverse(lo, hi []byte, fn func(k, v []byte) error) error {
	return errors.New("the tree does not read backwards")
}
