package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// jsonDepthMax bounds nesting, as the stock client's decoder does.
// client: go/libkb/api.go (jsonw.EnsureMaxDepthDefault)
const jsonDepthMax = 50

// object is a decoded JSON object; numbers are json.Number.
type object map[string]any

// parseObject reads exactly one JSON object that starts at the first byte:
// valid UTF-8, no duplicate keys, nothing after it.
func parseObject(b []byte) (object, error) {
	if len(b) == 0 || b[0] != '{' {
		return nil, errors.New("not a JSON object from its first byte")
	}
	if !utf8.Valid(b) {
		return nil, errors.New("JSON that is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	v, err := strictValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("bytes after the JSON object")
	}
	return v.(object), nil
}

func strictValue(dec *json.Decoder, depth int) (any, error) {
	if depth > jsonDepthMax {
		return nil, errors.New("JSON nested too deep")
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		out := make(object)
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key := k.(string)
			if _, twice := out[key]; twice {
				return nil, fmt.Errorf("JSON with two keys %q", key)
			}
			if out[key], err = strictValue(dec, depth+1); err != nil {
				return nil, err
			}
		}
		_, err := dec.Token()
		return out, err
	case json.Delim('['):
		out := []any{}
		for dec.More() {
			v, err := strictValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		_, err := dec.Token()
		return out, err
	}
	return t, nil
}

// at walks a path of keys; ok is false when something is missing.
func (o object) at(path ...string) (v any, ok bool) {
	v = o
	for _, p := range path {
		m, isObj := v.(object)
		if !isObj {
			return nil, false
		}
		if v, ok = m[p]; !ok {
			return nil, false
		}
	}
	return v, true
}

func (o object) has(path ...string) bool {
	_, ok := o.at(path...)
	return ok
}

func (o object) str(path ...string) (string, error) {
	v, _ := o.at(path...)
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("no string at %v", path)
	}
	return s, nil
}

func (o object) int(path ...string) (int64, error) {
	v, _ := o.at(path...)
	return number(v, path)
}

func number(v any, where any) (int64, error) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, fmt.Errorf("no number at %v", where)
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("no integer at %v", where)
	}
	return i, nil
}

func (o object) kid(path ...string) (KID, error) {
	s, err := o.str(path...)
	if err != nil {
		return KID{}, err
	}
	k, err := ParseKID(s)
	if err != nil {
		return KID{}, fmt.Errorf("at %v: %w", path, err)
	}
	return k, nil
}

func (o object) sub(path ...string) (object, error) {
	v, _ := o.at(path...)
	m, ok := v.(object)
	if !ok {
		return nil, fmt.Errorf("no object at %v", path)
	}
	return m, nil
}

// set changes the value at path; all but the last key must exist.
func (o object) set(v any, path ...string) error {
	m, err := o.sub(path[:len(path)-1]...)
	if len(path) == 1 {
		m, err = o, nil
	}
	if err != nil {
		return err
	}
	m[path[len(path)-1]] = v
	return nil
}

// canonical is the stock client's encoding: compact, keys sorted, HTML escaped.
// client: go/libkb/kbsig.go:SignJSON
func canonical(v any) ([]byte, error) { return json.Marshal(v) }

// rawFields splits one JSON object into its fields and refuses duplicates.
func rawFields(b []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	out := make(map[string]json.RawMessage)
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key := k.(string)
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("JSON with two keys %q", key)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		out[key] = raw
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("bytes after the JSON object")
	}
	return out, nil
}

// jsonDepth is the deepest nesting in b, which must be valid JSON.
func jsonDepth(b []byte) int {
	deepest, depth := 0, 0
	for i, inString := 0, false; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > deepest {
				deepest = depth
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// unquoteGo reads a JSON string literal by both rules that stock code applies to
// payload_json: it must be a Go literal too and mean the same.
// client: go/libkb/chain_link_parse_2.go:getPayloadJSONFromServerLink
func unquoteGo(raw json.RawMessage) (string, error) {
	var plain string
	if err := json.Unmarshal(raw, &plain); err != nil {
		return "", err
	}
	goish, err := strconv.Unquote(string(raw))
	if err != nil {
		return "", fmt.Errorf("not a Go string literal: %w", err)
	}
	if goish != plain {
		return "", errors.New("a literal that JSON and Go read differently")
	}
	return plain, nil
}

func isNull(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }
