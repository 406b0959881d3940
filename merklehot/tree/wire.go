package tree

import (
	"bytes"
	"slices"
)

// AppendPath appends the path of id as merkle/path carries it, a JSON array of
// {"prefix":...,"node":{"val":"<node JSON as a string>"}}, and returns the leaf as
// Path does. client: go/libkb/merkle_client.go:pathStepFromJSON
func (t *Tree[K, H]) AppendPath(dst []byte, id K) (path, leaf []byte) {
	digits := string(appendHex(nil, id))
	dst = append(slices.Grow(dst, pathBytes), '[')
	n := t.top
	for depth := 0; ; depth++ {
		dst = append(dst, `{"prefix":"`...)
		dst = append(dst, digits[:depth+1]...)
		dst = append(dst, `","node":{"val":"`...)
		dst = appendTable(dst, n.bits, n.sums, digits[:depth], `\"`)
		dst = append(dst, `"}}`...)
		next, l := n.child(nibble(&id, depth))
		if l != nil {
			dst = append(dst, `,{"node":{"val":"`...)
			dst = appendEscaped(dst, l.json())
			return append(dst, `"}}]`...), leafValue(l, id)
		}
		if next == nil {
			return append(dst, ']'), nil
		}
		dst = append(dst, ',')
		n = next
	}
}

// pathBytes is what a path takes in a tree of a few million leaves.
const pathBytes = 16 << 10

// AppendPath appends a path in the same form.
func AppendPath(dst []byte, steps []Step) []byte {
	dst = append(dst, '[')
	for i, s := range steps {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		if s.Prefix != "" {
			dst = append(dst, `"prefix":"`...)
			dst = append(dst, s.Prefix...)
			dst = append(dst, `",`...)
		}
		dst = append(dst, `"node":{"val":"`...)
		dst = appendEscaped(dst, s.Node)
		dst = append(dst, `"}}`...)
	}
	return append(dst, ']')
}

// appendEscaped appends a node's JSON inside a JSON string. Nodes are printable ASCII
// without backslashes (checkLeaf), so quotes are all that needs an escape; between
// them lie long runs of hex.
func appendEscaped(dst, json []byte) []byte {
	for {
		n := bytes.IndexByte(json, '"')
		if n < 0 {
			return append(dst, json...)
		}
		dst = append(dst, json[:n]...)
		dst = append(dst, '\\', '"')
		json = json[n+1:]
	}
}
