package client

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Node types. client: go/libkb/merkle_client.go:PathSteps.VerifyPath
const (
	nodeInterior = 1
	nodeLeaf     = 2
)

// pathNodesMax bounds the depth of a tree.
const pathNodesMax = 64

// pathStep is one node of a path as the server sends it.
type pathStep struct {
	Prefix *string `json:"prefix"`
	Node   *struct {
		Val *string `json:"val"`
	} `json:"node"`
}

func (s *pathStep) prefix() string {
	if s.Prefix == nil {
		return ""
	}
	return *s.Prefix
}

// verifyPath walks from a root hash (hex; its length chooses SHA-512 or SHA-256)
// down to the value filed under id. found is false when the path proves that
// there is none. client: go/libkb/merkle_client.go:VerifyPath
func verifyPath(root string, id string, path []pathStep) (value any, found bool, err error) {
	subject := "path to " + id
	if len(path) == 0 || len(path) > pathNodesMax {
		return nil, false, violated(RuleTruncated, subject, "%d nodes", len(path))
	}
	want, depth := root, 0
	for i, step := range path {
		if step.Node == nil || step.Node.Val == nil {
			return nil, false, violated(RuleReply, subject, "node %d has no value", i)
		}
		val := *step.Node.Val
		if got := hashLike(want, val); got != want {
			return nil, false, violated(RuleNodeHash, subject, "node %d hashes to %.16s..., not %.16s...", i, got, want)
		}
		n, err := parseNode(val)
		if err != nil {
			return nil, false, violated(RuleNode, subject, "node %d: %v", i, err)
		}
		last := i == len(path)-1
		if n.typ == nodeLeaf {
			if !last {
				return nil, false, violated(RuleNode, subject, "nodes after the leaf")
			}
			if p := step.prefix(); !strings.HasPrefix(id, p) {
				return nil, false, violated(RulePrefix, subject, "leaf prefix %q", p)
			}
			value, found = n.tab[id]
			return value, found, n.under(subject, id[:depth])
		}
		if want, err = n.descend(subject, id, step.prefix(), depth, last); err != nil || want == "" {
			return nil, false, err
		}
		depth = len(step.prefix())
	}
	return nil, false, violated(RuleTruncated, subject, "ends in an interior node that has a child for it")
}

// hashLike hashes val with the function whose digest is as long as want.
func hashLike(want, val string) string {
	if len(want) == hex.EncodedLen(sha256.Size) {
		h := sha256.Sum256([]byte(val))
		return hex.EncodeToString(h[:])
	}
	return nodeHashOf(val).String()
}

type node struct {
	typ int64
	tab object
}

func parseNode(val string) (node, error) {
	o, err := parseObject([]byte(val))
	if err != nil {
		return node{}, err
	}
	typ, err := o.int("type")
	if err != nil || (typ != nodeInterior && typ != nodeLeaf) {
		return node{}, fmt.Errorf("type %d: %v", typ, err)
	}
	tab, err := o.sub("tab")
	return node{typ, tab}, err
}

// descend returns the hash of the child on the way to id, or "" when the node
// proves that there is none.
func (n node) descend(subject, id, prefix string, depth int, last bool) (string, error) {
	switch {
	case prefix == "":
		return "", violated(RulePrefix, subject, "interior node without a prefix")
	case !strings.HasPrefix(id, prefix):
		return "", violated(RulePrefix, subject, "prefix %q does not begin it", prefix)
	case len(prefix) <= depth:
		return "", violated(RulePrefix, subject, "prefix %q does not lead deeper", prefix)
	}
	if err := n.under(subject, id[:depth]); err != nil {
		return "", err
	}
	var children []string
	for k := range n.tab {
		if strings.HasPrefix(id, k) {
			children = append(children, k)
		}
	}
	if len(children) > 1 {
		return "", violated(RulePrefix, subject, "children %q and %q both begin it", children[0], children[1])
	}
	v, ok := n.tab[prefix]
	switch {
	case !ok && len(children) == 1:
		return "", violated(RulePrefix, subject, "prefix %q chosen, but the child is %q", prefix, children[0])
	case !ok && last:
		return "", nil
	case !ok:
		return "", violated(RuleNode, subject, "nodes after a missing child")
	}
	hash, isText := v.(string)
	if !isText {
		return "", violated(RuleNode, subject, "child %q is not a hash", prefix)
	}
	if err := checkHash(hash); err != nil {
		return "", violated(RuleNode, subject, "child %q: %v", prefix, err)
	}
	return hash, nil
}

// under checks that a node holds nothing that belongs elsewhere in the tree.
func (n node) under(subject, prefix string) error {
	for k := range n.tab {
		if !strings.HasPrefix(k, prefix) || (n.typ == nodeInterior && len(k) <= len(prefix)) {
			return violated(RulePrefix, subject, "entry %q under prefix %q", k, prefix)
		}
	}
	return nil
}

func checkHash(s string) error {
	switch len(s) {
	case 64:
		return unhex("hash", s, make([]byte, 32))
	case 128:
		return unhex("hash", s, make([]byte, 64))
	}
	return errors.New("hash of an odd length")
}
