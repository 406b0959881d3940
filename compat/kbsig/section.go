package kbsig

import (
	"fmt"
	"strings"
)

// JSONSection reads one object of a signed statement by name. Every member must
// be asked for: End reports those nobody knows, so that a statement never carries
// more than was understood. The first error sticks and the rest returns zeroes.
type JSONSection struct {
	path string
	obj  *JSONValue
	read []bool // by member
	err  *error
}

// Root opens a document for reading.
func (v *JSONValue) Root() JSONSection {
	var err error
	return JSONSection{obj: v, err: &err}
}

// Fail records an error against this section.
func (s *JSONSection) Fail(format string, args ...any) {
	if *s.err == nil {
		*s.err = fmt.Errorf("%s: %w: %w", s.path, fmt.Errorf(format, args...), ErrJSON)
	}
}

// Err is the first error of the whole document.
func (s *JSONSection) Err() error { return *s.err }

// Value returns a member, or nil if it is absent.
func (s *JSONSection) Value(name string) *JSONValue {
	if s.obj == nil {
		return nil
	}
	for i := range s.obj.Members {
		if s.obj.Members[i].Name == name {
			if s.read == nil {
				s.read = make([]bool, len(s.obj.Members))
			}
			s.read[i] = true
			return &s.obj.Members[i].Value
		}
	}
	return nil
}

// Has reports whether a member stands there, whatever its kind; it does not
// count as read.
func (s *JSONSection) Has(name string) bool {
	if s.obj == nil {
		return false
	}
	for i := range s.obj.Members {
		if s.obj.Members[i].Name == name {
			return true
		}
	}
	return false
}

func (s *JSONSection) of(name string, kind JSONKind) *JSONValue {
	v := s.Value(name)
	if v == nil {
		s.Fail("%s is missing", name)
		return nil
	}
	if v.Kind != kind {
		s.Fail("%s is %s, not %s", name, v.Kind, kind)
		return nil
	}
	return v
}

// String reads a required string of one line.
func (s *JSONSection) String(name string) string {
	v := s.of(name, JSONString)
	if v == nil {
		return ""
	}
	if strings.Contains(v.Str, "\n") {
		s.Fail("%s has several lines", name)
		return ""
	}
	return v.Str
}

// Const reads a required string that can have one value only.
func (s *JSONSection) Const(name, want string) {
	if got := s.String(name); got != want {
		s.Fail("%s is not %q", name, want)
	}
}

// Int reads a required integer between least and most.
func (s *JSONSection) Int(name string, least, most int64) int64 {
	v := s.of(name, JSONInt)
	if v == nil {
		return 0
	}
	if v.Int < least || v.Int > most {
		s.Fail("%s is out of range", name)
		return 0
	}
	return v.Int
}

// True reads an optional boolean that only stands there when it is true.
func (s *JSONSection) True(name string) bool {
	if !s.Has(name) {
		return false
	}
	v := s.of(name, JSONBool)
	if v != nil && !v.Bool {
		s.Fail("%s is false, which its absence says", name)
	}
	return v != nil && v.Bool
}

// Object opens a required member object.
func (s *JSONSection) Object(name string) JSONSection {
	return JSONSection{path: s.path + "." + name, obj: s.of(name, JSONObject), err: s.err}
}

// Array reads a required array.
func (s *JSONSection) Array(name string) []JSONValue {
	if v := s.of(name, JSONArray); v != nil {
		return v.Elems
	}
	return nil
}

// Element opens an element of an array that must be an object.
func (s *JSONSection) Element(name string, i int, elem *JSONValue) JSONSection {
	out := JSONSection{path: fmt.Sprintf("%s.%s[%d]", s.path, name, i), err: s.err}
	if elem.Kind != JSONObject {
		out.Fail("it is %s, not %s", elem.Kind, JSONObject)
		return out
	}
	out.obj = elem
	return out
}

// Parsed reads a required string with the parser of an identifier.
func Parsed[T any](s *JSONSection, name string, parse func(string) (T, error)) T {
	var zero T
	text := s.String(name)
	if *s.err != nil {
		return zero
	}
	out, err := parse(text)
	if err != nil {
		s.Fail("%s: %w", name, err)
		return zero
	}
	return out
}

// End reports members that were not read.
func (s *JSONSection) End() {
	if s.obj == nil {
		return
	}
	for i := range s.obj.Members {
		if s.read == nil || !s.read[i] {
			s.Fail("%s is a member that nobody knows", s.obj.Members[i].Name)
			return
		}
	}
}
