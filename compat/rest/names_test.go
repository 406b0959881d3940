package rest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// TestNamesOnce proves that a name that stands twice in one object is found, at any
// depth and in any case, and that nothing else is refused.
func TestNamesOnce(t *testing.T) {
	for doc, once := range map[string]bool{
		``: true, `{`: true, `7`: true, `"a"`: true, `{"a":1`: true, `[1,{"a":[]}]`: true,
		`{"a":"a","b":{"a":1},"c":["a","a",{"a":2}],"d":{}}`: true,
		`{"a":{},"b":[],"c":"a","d":null}`:                   true,
		`{"a":1,"a":1}`:                                      false,
		`{"a":1,"A":null}`:                                   false,
		`{"a":{"b":[{"c":1,"d":{},"c":2}]}}`:                 false,
		`{"a":{},"a":{}}`:                                    false,
		`{"a":[],"b":{},"a":7}`:                              false,
		`{"k":1,"` + "\u212a" + `":2}`:                       false,
		`{"s":1,"` + "\u017f" + `":2}`:                       false,
		`{"a":1,"\u0061":2}`:                                 false,
	} {
		if err := namesOnce([]byte(doc)); (err == nil) != once || (err != nil && !errors.Is(err, errNamedTwice)) {
			t.Errorf("%s: %v", doc, err)
		}
	}
	if err := namesOnce([]byte(strings.Repeat(`{"a":[`, 5000))); err != nil {
		t.Error(err)
	}
}

// FuzzNamesOnce proves that the check never panics, and that a document that it lets
// pass says the same with its members in any order.
func FuzzNamesOnce(f *testing.F) {
	for _, doc := range []string{`{"a":1,"b":[{"c":{}}]}`, `{"a":1,"A":2}`, `[[{}]]`, `{"a":`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var v any
		if namesOnce(doc) != nil || json.Unmarshal(doc, &v) != nil {
			return
		}
		again, err := json.Marshal(v) // sorts the members
		if err != nil {
			t.Fatal(err)
		}
		if err := namesOnce(again); err != nil {
			t.Fatalf("%q, sorted: %v", doc, err)
		}
	})
}
