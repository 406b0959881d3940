package kbsig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Limits of signed JSON.
const (
	// InnerBytesMax bounds one signed JSON statement. The largest that stock
	// clients make is a follow of somebody with many proofs: some 20 KiB.
	InnerBytesMax = 64 << 10
	// innerDepthMax bounds nesting; the deepest real one, a follow, has 7.
	innerDepthMax = 16
	// innerMembersMax bounds members and elements of the whole document.
	innerMembersMax = 8192
	// TeamInnerBytesMax and teamInnerMembersMax are the same of a link of a team. Clients
	// have no limit of their own and put all that a user adds at once into one link: they
	// are room for 5,000 members, each with an invite that is completed.
	TeamInnerBytesMax   = 512 << 10
	teamInnerMembersMax = 32 << 10
	// innerIntMax bounds integers to those that every JSON reader keeps exact.
	innerIntMax = 1 << 53
)

// ErrJSON reports signed JSON that is not the text stock clients would write.
var ErrJSON = errors.New("not canonical JSON")

// Signed JSON is read by stock clients with two parsers that disagree on doubled
// keys, escaped keys, letter case, floats and space, so the only documents on
// which they are sure to agree are those a stock client itself writes: the output
// of Go's json.Marshal. This parser takes exactly that and nothing else: no space,
// no doubled member, plain names, HTML-safe string escapes, exact integers.
// client: go/jsonparserw/jsonparserw.go, go-jsonw wrapper.go:Unmarshal

// JSONKind is the type of a JSON value.
type JSONKind byte

// Kinds of values. There are no floats in signed statements.
const (
	JSONNull JSONKind = iota
	JSONBool
	JSONInt
	JSONString
	JSONArray
	JSONObject
)

func (k JSONKind) String() string {
	return [...]string{"null", "boolean", "integer", "string", "array", "object"}[k]
}

// JSONValue is one value with its place in the document.
type JSONValue struct {
	Kind    JSONKind
	Bool    bool
	Int     int64
	Str     string
	Elems   []JSONValue  // of an array
	Members []JSONMember // of an object, in document order
	Off     int          // the value's text is doc[Off:End]
	End     int
}

// JSONMember is a name and its value.
type JSONMember struct {
	Name  string
	Value JSONValue
}

// ParseSignedJSON parses one object. Sorted requires members in the byte order of
// their names, as maps are marshalled (chain links); statements marshalled from
// structs (ephemeral keys) keep the order of their fields, which callers check.
func ParseSignedJSON(doc []byte, sorted bool) (*JSONValue, error) {
	return parseSigned(doc, sorted, InnerBytesMax, innerMembersMax)
}

// ParseTeamJSON is ParseSignedJSON of a team's link, which may name thousands.
func ParseTeamJSON(doc []byte) (*JSONValue, error) {
	return parseSigned(doc, true, TeamInnerBytesMax, teamInnerMembersMax)
}

func parseSigned(doc []byte, sorted bool, bytesMax, membersMax int) (*JSONValue, error) {
	if len(doc) > bytesMax {
		return nil, fmt.Errorf("statement of %d bytes, more than %d: %w", len(doc), bytesMax, ErrJSON)
	}
	p := &jsonParser{doc: doc, sorted: sorted, members: membersMax}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.off != len(doc) {
		return nil, p.fail("text after the end")
	}
	if v.Kind != JSONObject {
		return nil, p.fail("not an object")
	}
	return &v, nil
}

type jsonParser struct {
	doc     []byte
	off     int
	sorted  bool
	members int
}

func (p *jsonParser) fail(what string) error {
	return fmt.Errorf("%s at byte %d: %w", what, p.off, ErrJSON)
}

func (p *jsonParser) peek() byte {
	if p.off < len(p.doc) {
		return p.doc[p.off]
	}
	return 0
}

func (p *jsonParser) literal(s string) bool {
	if bytes.HasPrefix(p.doc[p.off:], []byte(s)) {
		p.off += len(s)
		return true
	}
	return false
}

func (p *jsonParser) value(depth int) (JSONValue, error) {
	if depth >= innerDepthMax {
		return JSONValue{}, p.fail("nested too deep")
	}
	v := JSONValue{Off: p.off}
	var err error
	switch c := p.peek(); {
	case c == '{':
		v.Kind = JSONObject
		v.Members, err = p.object(depth)
	case c == '[':
		v.Kind = JSONArray
		v.Elems, err = p.array(depth)
	case c == '"':
		v.Kind = JSONString
		v.Str, err = p.string()
	case c == '-' || c >= '0' && c <= '9':
		v.Kind = JSONInt
		v.Int, err = p.int()
	case p.literal("null"):
	case p.literal("true"):
		v.Kind, v.Bool = JSONBool, true
	case p.literal("false"):
		v.Kind = JSONBool
	default:
		err = p.fail("value expected")
	}
	v.End = p.off
	return v, err
}

func (p *jsonParser) count() error {
	if p.members--; p.members < 0 {
		return p.fail("too many members")
	}
	return nil
}

func (p *jsonParser) object(depth int) ([]JSONMember, error) {
	p.off++
	if p.literal("}") {
		return nil, nil
	}
	var out []JSONMember
	seen := map[string]bool{}
	for {
		if err := p.count(); err != nil {
			return nil, err
		}
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, p.fail("name twice")
		}
		if p.sorted && len(out) > 0 && out[len(out)-1].Name > name {
			return nil, p.fail("names out of order")
		}
		seen[name] = true
		if !p.literal(":") {
			return nil, p.fail("colon expected")
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, JSONMember{name, v})
		if p.literal("}") {
			return out, nil
		}
		if !p.literal(",") {
			return nil, p.fail("comma expected")
		}
	}
}

func (p *jsonParser) array(depth int) ([]JSONValue, error) {
	p.off++
	out := []JSONValue{}
	if p.literal("]") {
		return out, nil
	}
	for {
		if err := p.count(); err != nil {
			return nil, err
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if p.literal("]") {
			return out, nil
		}
		if !p.literal(",") {
			return nil, p.fail("comma expected")
		}
	}
}

// name reads a member name: letters, digits, '_', '-' and '.', nothing escaped.
func (p *jsonParser) name() (string, error) {
	if p.peek() != '"' {
		return "", p.fail("name expected")
	}
	start := p.off + 1
	for i := start; i < len(p.doc); i++ {
		switch c := p.doc[i]; {
		case c == '"' && i > start:
			p.off = i + 1
			return string(p.doc[start:i]), nil
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '.':
		default:
			return "", p.fail("name of other than plain characters")
		}
	}
	return "", p.fail("name without end")
}

// string reads a string and insists on the spelling json.Marshal gives it. It
// has no control characters, which Go releases have spelled differently, but line
// ends: PGP signatures inside statements have them.
func (p *jsonParser) string() (string, error) {
	start := p.off
	end, plain := p.stringEnd()
	if end < 0 {
		return "", p.fail("string without end")
	}
	text := p.doc[start:end]
	if !utf8.Valid(text) {
		return "", p.fail("string that is not UTF-8")
	}
	p.off = end
	if plain {
		return string(text[1 : len(text)-1]), nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return "", p.fail("string escape")
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 && s[i] != '\n' || s[i] == 0x7f {
			return "", p.fail("control character in a string")
		}
	}
	again, err := json.Marshal(s)
	if err != nil || !bytes.Equal(again, text) {
		return "", p.fail("string spelled another way")
	}
	return s, nil
}

// stringEnd finds the closing quote; plain means printable ASCII that needs no
// escape, which is nearly every string.
func (p *jsonParser) stringEnd() (end int, plain bool) {
	plain = true
	for i := p.off + 1; i < len(p.doc); i++ {
		switch c := p.doc[i]; {
		case c == '"':
			return i + 1, plain
		case c == '\\':
			plain = false
			i++
		case c < 0x20:
			return -1, false
		case c >= 0x7f, c == '<', c == '>', c == '&':
			plain = false
		}
	}
	return -1, false
}

func (p *jsonParser) int() (int64, error) {
	start := p.off
	if p.peek() == '-' {
		p.off++
	}
	for c := p.peek(); c >= '0' && c <= '9' && p.off-start < 20; c = p.peek() {
		p.off++
	}
	text := string(p.doc[start:p.off])
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != text || n > innerIntMax || n < -innerIntMax {
		return 0, p.fail("integer out of form or range")
	}
	return n, nil
}
