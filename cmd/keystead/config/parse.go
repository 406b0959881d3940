package config

import (
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// Parse reads a file over the defaults and checks the outcome; the Config is usable
// only when problems.Err() is nil.
func Parse(file []byte) (Config, Problems) {
	c, problems, places := Read(file)
	return c, places.Sort(append(problems, c.Check()...))
}

// Read reads a file over the defaults and does not check the values, for a caller who
// changes some of them before. It goes on after a mistake, so that one run shows all
// of them. places are where the file sets what.
func Read(file []byte) (c Config, problems Problems, places Places) {
	c = Default()
	if len(file) > fileBytesMax {
		return c, Problems{{Text: fmt.Sprintf("the file has %d bytes, and a configuration has at most %d; name another file", len(file), fileBytesMax)}}, nil
	}
	tree := map[string]any{}
	if _, err := toml.Decode(string(file), &tree); err != nil {
		return c, Problems{notTOML(err)}, nil
	}
	d := decoder{positions: scan(string(file))}
	d.table(reflect.ValueOf(&c).Elem(), tree, "")
	return c, d.problems, d.positions
}

// notTOML says what keeps a file from being TOML, and what to change.
func notTOML(err error) Problem {
	text, p := oneLine(err.Error()), Problem{}
	var pe toml.ParseError
	if errors.As(err, &pe) {
		p.Line, p.Col, text = pe.Position.Line, pe.Position.Col, strings.TrimSuffix(oneLine(pe.Message), ".")
	}
	p.Text = "not TOML: " + text
	if advice := adviceFor(text); advice != "" {
		p.Text += "; " + advice
	}
	return p
}

// adviceFor is what to do about a complaint of the TOML parser.
func adviceFor(complaint string) string {
	for _, a := range []struct{ part, advice string }{
		{"already been defined", "take one of the two out"},
		{"escape", "in double quotes a backslash is written twice; or use single quotes"},
		{"expected value but found", "write text in straight quotes"},
		{"Invalid float", "write text in quotes"},
		{"Invalid integer", "write text in quotes"},
		{"expected '.' or '='", "write a field as name = value"},
		{"strings cannot contain newlines", "the quote at the end is missing"},
		{"unexpected EOF", "a quote or a bracket at the end is missing"},
		{"to end table name", "write the section as [name] on a line of its own"},
		{"expected key separator", "write a field as name = value"},
		{"UTF-16", "save the file as UTF-8"},
		{"UTF-8", "save the file as UTF-8"},
		{"NULL", "save the file as UTF-8"},
		{"leading zero", "write text in quotes, and a number without zeros in front"},
		{"expected newline", "write one field a line, and text in quotes"},
		{"expected a top-level item to end", "write one field a line, and text in quotes"},
		{"comma", "put a comma between the items of a list"},
	} {
		if strings.Contains(complaint, a.part) {
			return a.advice
		}
	}
	return "`keystead config print` shows a right file"
}

// decoder carries TOML values into the struct by the `toml` tags. It is ours
// rather than the library's because the library stops at the first mistake and
// gives no position for an unknown key.
type decoder struct {
	positions Places
	problems  Problems
}

func (d *decoder) mistake(field, format string, args ...any) {
	at := d.positions[field]
	d.problems = append(d.problems, Problem{Line: at.line, Col: at.col, Field: field, Text: fmt.Sprintf(format, args...)})
}

func (d *decoder) table(v reflect.Value, tree map[string]any, prefix string) {
	known := map[string]reflect.Value{}
	for i := range v.NumField() {
		known[v.Type().Field(i).Tag.Get("toml")] = v.Field(i)
	}
	for _, key := range sortedKeys(tree) {
		name := prefix + key
		field, ok := known[key]
		if !ok {
			d.unknown(name, prefix, key, sortedKeys(known))
			continue
		}
		if field.Kind() != reflect.Struct {
			d.value(field, tree[key], name)
			continue
		}
		sub, ok := tree[key].(map[string]any)
		if !ok {
			d.mistake(name, "is a section; write [%s] on a line of its own and its fields below", name)
			continue
		}
		d.table(field, sub, name+".")
	}
}

func (d *decoder) unknown(name, prefix, key string, known []string) {
	if best := nearest(key, known); best != "" {
		d.mistake(name, "unknown; did you mean %q?", best)
		return
	}
	if homes := sectionsOf(key, strings.TrimSuffix(prefix, ".")); len(homes) > 0 {
		d.mistake(name, "unknown here, it belongs under [%s]; what belongs here: %s", strings.Join(homes, "], ["), strings.Join(known, ", "))
		return
	}
	d.mistake(name, "unknown; take it out, or use one of: %s", strings.Join(known, ", "))
}

// nearest is the known name that a misspelt one most likely means, if any.
func nearest(key string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		// A short name has no room for two mistakes.
		if n := distance(strings.ToLower(key), k); n < bestDistance && n < len(k)-1 {
			best, bestDistance = k, n
		}
	}
	return best
}

// sectionsOf lists the sections, except one, that have a field.
func sectionsOf(key, except string) (homes []string) {
	for _, name := range Fields() {
		section, field, nested := strings.Cut(name, ".")
		if nested && field == key && section != except {
			homes = append(homes, section)
		}
	}
	return homes
}

// Fields lists the full names of all settings, such as "http.listen".
func Fields() (names []string) {
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for i := range t.NumField() {
			name := prefix + t.Field(i).Tag.Get("toml")
			if t.Field(i).Type.Kind() == reflect.Struct {
				walk(t.Field(i).Type, name+".")
			} else {
				names = append(names, name)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return names
}

func (d *decoder) value(field reflect.Value, got any, name string) {
	if field.Type() == reflect.TypeFor[time.Duration]() {
		text, ok := got.(string)
		if !ok {
			d.mistake(name, "is %s; write a duration in quotes, such as \"90s\" or \"1h\"", kindName(got))
			return
		}
		value, err := time.ParseDuration(text)
		if err != nil {
			d.mistake(name, "%q is not a duration; write one such as \"90s\", \"10m\" or \"1h\"", text)
			return
		}
		field.SetInt(int64(value))
		return
	}
	if field.Type() == reflect.TypeFor[[]string]() {
		d.list(field, got, name)
		return
	}
	switch value := got.(type) {
	case bool:
		if field.Kind() == reflect.Bool {
			field.SetBool(value)
			return
		}
	case string:
		if field.Kind() == reflect.String {
			field.SetString(value)
			return
		}
	case int64:
		if field.Kind() == reflect.Int && int64(int(value)) == value {
			field.SetInt(value)
			return
		}
	}
	want := map[reflect.Kind]string{reflect.Bool: "true or false, without quotes", reflect.String: "text in quotes", reflect.Int: "a whole number, without quotes"}
	d.mistake(name, "is %s; write %s", kindName(got), want[field.Kind()])
}

// list reads a list of texts.
func (d *decoder) list(field reflect.Value, got any, name string) {
	items, ok := got.([]any)
	texts := make([]string, 0, len(items))
	for _, item := range items {
		text, isText := item.(string)
		ok = ok && isText
		texts = append(texts, text)
	}
	if !ok {
		d.mistake(name, "is %s; write a list of texts in quotes, such as [\"a\", \"b\"]", kindName(got))
		return
	}
	field.Set(reflect.ValueOf(texts))
}

// kindName says what a TOML value is, in the words of people who write TOML.
func kindName(v any) string {
	switch v.(type) {
	case bool:
		return "true or false"
	case string:
		return "text"
	case int64, float64:
		return "a number"
	case map[string]any:
		return "a section"
	case []any, []map[string]any:
		return "a list"
	}
	return "a date"
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// position is a 1-based place in the file.
type position struct{ line, col int }

// Places are where a file sets what, by full name ("http.listen").
type Places map[string]position

// Sort gives problems their places and puts them in the order of the file.
func (at Places) Sort(problems Problems) Problems {
	for i, p := range problems {
		if p.Line == 0 {
			problems[i].Line, problems[i].Col = at[p.Field].line, at[p.Field].col
		}
	}
	sort.SliceStable(problems, func(i, j int) bool { return problems[i].Line < problems[j].Line })
	return problems
}

// scan finds where each key is set, by its full name ("http.listen"). It reads
// headers and "key =" lines only: good enough to point at a line, and never used
// for a value.
func scan(file string) Places {
	out := Places{}
	table := ""
	for i, line := range strings.Split(file, "\n") {
		text := strings.TrimLeft(line, " \t")
		at := position{line: i + 1, col: len(line) - len(text) + 1}
		if strings.HasPrefix(text, "[") {
			name, _, _ := strings.Cut(strings.Trim(text, "["), "]")
			name = bareKey(name)
			out[name], table = at, name+"."
			continue
		}
		key, _, found := strings.Cut(text, "=")
		if !found || strings.HasPrefix(text, "#") {
			continue
		}
		name := table + bareKey(key)
		if _, seen := out[name]; !seen {
			out[name] = at
		}
		if first, _, dotted := strings.Cut(name, "."); dotted {
			if _, seen := out[first]; !seen {
				out[first] = at
			}
		}
	}
	return out
}

// bareKey takes spaces and quotes off the parts of a key.
func bareKey(s string) string {
	parts := strings.Split(s, ".")
	for i, p := range parts {
		parts[i] = strings.Trim(strings.TrimSpace(p), `"'`)
	}
	return strings.Join(parts, ".")
}

// distance is the number of single-letter edits between two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
