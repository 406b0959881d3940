package tree

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

// appendEscaped appends JSON inside a JSON string. Nodes consist of printable ASCII
// without backslashes, so quotes are all that needs an escape.
func appendEscaped(dst, json []byte) []byte {
	from := 0
	for i, c := range json {
		if c == '"' {
			dst = append(dst, json[from:i]...)
			dst = append(dst, '\\', '"')
			from = i + 1
		}
	}
	return append(dst, json[from:]...)
}
