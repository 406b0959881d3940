package pvl

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

var base64Line = regexp.MustCompile(`^\s*(([a-zA-Z0-9/+_-]+)(={0,3}))\s*$`)

// hasBlock reports whether a text has a block of base64 that says want: lines of
// nothing else, one after another, up to one that ends with the sign for an end.
// client: go/libkb/base64_finder.go:FindBase64Block
func hasBlock(text string, want []byte) bool {
	var block strings.Builder
	matches := func() bool {
		b, err := base64.StdEncoding.DecodeString(block.String())
		return block.Len() > 0 && err == nil && bytes.Equal(b, want)
	}
	for _, line := range strings.Split(text, "\n") {
		part := base64Line.FindStringSubmatch(line)
		if part != nil {
			block.WriteString(part[1])
			if part[3] == "" {
				continue
			}
		}
		if matches() {
			return true
		}
		block.Reset()
	}
	return matches()
}

// Selector is one step of a path in JSON: a place in a list (from the end if negative),
// a name, or all. client: go/protocol/keybase1/extras.go:SelectorEntry.UnmarshalJSON
type Selector struct {
	Index *int
	Key   string
	All   bool
}

// At, Key and All make selectors.
func At(i int) Selector     { return Selector{Index: &i} }
func Key(k string) Selector { return Selector{Key: k} }
func All() Selector         { return Selector{All: true} }

// MarshalJSON writes a number, a string or {"all":true}.
func (s Selector) MarshalJSON() ([]byte, error) {
	switch {
	case s.Index != nil:
		return json.Marshal(*s.Index)
	case s.All:
		return []byte(`{"all":true}`), nil
	}
	return json.Marshal(s.Key)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Selector) UnmarshalJSON(b []byte) error {
	*s = Selector{}
	var i int
	if json.Unmarshal(b, &i) == nil && string(b) != "null" {
		s.Index = &i
		return nil
	}
	if json.Unmarshal(b, &s.Key) == nil && s.Key != "" {
		return nil
	}
	var m map[string]bool
	if json.Unmarshal(b, &m) == nil && len(m) == 1 && m["all"] {
		s.All = true
		return nil
	}
	return fmt.Errorf("a selector is a number, a name or {\"all\":true}, not %.40s", b)
}

// Select finds what a path selects in a document that decodeJSON read. What is not
// there is left out. client: go/jsonhelpers/json_helpers.go:AtSelectorPath
func Select(doc any, path []Selector) []any {
	if len(path) == 0 {
		return []any{doc}
	}
	s, rest := path[0], path[1:]
	switch v := doc.(type) {
	case []any:
		if s.All {
			var out []any
			for _, e := range v {
				out = append(out, Select(e, rest)...)
			}
			return out
		}
		if s.Index == nil {
			return nil
		}
		i := *s.Index
		if i < 0 {
			i += len(v)
		}
		if i < 0 || i >= len(v) {
			return nil
		}
		return Select(v[i], rest)
	case map[string]any:
		if s.All {
			var out []any
			for _, e := range v {
				out = append(out, Select(e, rest)...)
			}
			return out
		}
		if e, ok := v[s.Key]; ok && s.Index == nil {
			return Select(e, rest)
		}
	}
	return nil
}

// SelectIn is Select in a page.
func SelectIn(page []byte, path []Selector) ([]any, error) {
	doc, err := decodeJSON(page)
	if err != nil {
		return nil, err
	}
	return Select(doc, path), nil
}

// simple is a value that is text, a whole number or a truth value, as text.
// client: go/jsonhelpers/json_helpers.go:JSONStringSimple
func simple(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return fmt.Sprint(v), true
	case json.Number:
		n, err := v.Int64()
		return fmt.Sprint(n), err == nil
	}
	return "", false
}
