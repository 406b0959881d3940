package audit

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/tree"
)

// verifyPath walks from a root's hash down to the value of id (hex), as clients do and
// more strictly; nil says that the path proves that there is none.
// client: go/libkb/merkle_client.go:VerifyPath
func verifyPath(root kbsig.NodeHash, id string, steps []tree.Step) (json.RawMessage, error) {
	want, depth := root.String(), 0
	for i, step := range steps {
		sum := sha512.Sum512(step.Node)
		if hex.EncodeToString(sum[:]) != want {
			return nil, fmt.Errorf("node %d has not the hash that the node above names", i)
		}
		var node struct {
			Tab  map[string]json.RawMessage `json:"tab"`
			Type int                        `json:"type"`
		}
		if err := json.Unmarshal(step.Node, &node); err != nil {
			return nil, fmt.Errorf("node %d: %v", i, err)
		}
		for k := range node.Tab {
			if !strings.HasPrefix(k, id[:depth]) {
				return nil, fmt.Errorf("node %d has an entry that belongs elsewhere", i)
			}
		}
		last := i == len(steps)-1
		switch {
		case node.Type == 2 && last:
			return node.Tab[id], nil
		case node.Type != 1:
			return nil, fmt.Errorf("node %d is of type %d", i, node.Type)
		case len(step.Prefix) <= depth || !strings.HasPrefix(id, step.Prefix):
			return nil, fmt.Errorf("node %d: its prefix does not lead on", i)
		}
		child, ok := node.Tab[step.Prefix]
		if !ok {
			if !last || leadsOn(node.Tab, id) {
				return nil, fmt.Errorf("node %d does not end the path", i)
			}
			return nil, nil
		}
		if err := json.Unmarshal(child, &want); err != nil {
			return nil, fmt.Errorf("node %d: %v", i, err)
		}
		depth = len(step.Prefix)
	}
	return nil, errors.New("ends in a node that has a child for it")
}

// leadsOn says that a table has an entry on the way to id.
func leadsOn(tab map[string]json.RawMessage, id string) bool {
	for k := range tab {
		if strings.HasPrefix(id, k) {
			return true
		}
	}
	return false
}

func hexSum256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
