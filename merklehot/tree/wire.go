package tree

import "bytes"

// AppendPath appends a path as merkle/path carries it, a JSON array of
// {"prefix":...,"node":{"val":"<node JSON as a string>"}}.
// client: go/libkb/merkle_client.go:pathStepFromJSON
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
