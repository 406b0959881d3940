package node

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
)

// request is one request as it goes over the wire.
type request struct {
	method, path, contentType, body string
	header                          [][2]string
}

// send sends a request and returns the status code of the answer, -1 if it is none.
func (q request) send(c *http.Client, uri string) (code int, answer string, err error) {
	req, err := http.NewRequest(q.method, uri+q.path, strings.NewReader(q.body))
	if err != nil {
		return 0, "", err
	}
	if q.contentType != "" {
		req.Header.Set("Content-Type", q.contentType)
	}
	for _, h := range q.header {
		req.Header[h[0]] = append(req.Header[h[0]], h[1])
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return 0, "", err
	}
	rest, ok := strings.CutPrefix(string(b), `{"status":{"code":`)
	if number, _, found := strings.Cut(rest, ","); ok && found && res.StatusCode == http.StatusOK {
		code, err = strconv.Atoi(number)
		return code, string(b), err
	}
	return -1, fmt.Sprintf("HTTP %d %.80s", res.StatusCode, b), nil
}

// errHeld is what a client is told of a request that was held back.
var errHeld = errors.New("the request is held back")

// holder holds back the next request to one endpoint, and lets all others through.
type holder struct {
	http.RoundTripper
	endpoint string
	held     *request
}

// RoundTrip implements http.RoundTripper.
func (h *holder) RoundTrip(req *http.Request) (*http.Response, error) {
	if h.endpoint == "" || req.Method != http.MethodPost || req.URL.Path != "/_/api/1.0/"+h.endpoint+".json" {
		return h.RoundTripper.RoundTrip(req)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	q := &request{method: req.Method, path: req.URL.Path, contentType: req.Header.Get("Content-Type"), body: string(body)}
	for _, name := range []string{"X-Keybase-Session", "X-Csrf-Token"} {
		if v := req.Header.Get(name); v != "" {
			q.header = append(q.header, [2]string{name, v})
		}
	}
	h.held, h.endpoint = q, ""
	return nil, errHeld
}

// mutant is a request with one thing changed: path says where, what says how.
type mutant struct {
	path, what string
	change     func(*request)
}

func (m mutant) of(q request) request {
	q.header = slices.Clone(q.header)
	m.change(&q)
	return q
}

// mutants are all that we know to do to a request. Signed packets and boxes have every
// bit of theirs flipped.
func (q request) mutants() []mutant {
	out := q.frame()
	switch {
	case strings.HasPrefix(q.contentType, "application/json"):
		return append(out, q.jsonMutants()...)
	case strings.HasPrefix(q.contentType, "multipart/form-data"):
		return append(out, q.partMutants()...)
	}
	return append(out, q.formMutants()...)
}

// frame changes what is around the body.
func (q request) frame() []mutant {
	var out []mutant
	add := func(path, what string, change func(*request)) { out = append(out, mutant{path, what, change}) }
	for i, h := range q.header {
		name, v := h[0], h[1]
		set := func(s string) func(*request) { return func(r *request) { r.header[i][1] = s } }
		add(name, "drop", func(r *request) { r.header = slices.Delete(r.header, i, i+1) })
		add(name, "empty", set(""))
		add(name, "double", func(r *request) { r.header = append(r.header, h) })
		add(name, "double other first", func(r *request) {
			r.header = slices.Insert(r.header, i, [2]string{name, flipChar(v, len(v)/2)})
		})
		for at := range v {
			add(name, "flip", set(flipChar(v, at)))
		}
		add(name, "longer", set(v+"A"))
		add(name, "shorter", set(v[:len(v)-1]))
		add(name, "space inside", set(v[:len(v)/2]+" "+v[len(v)/2:]))
	}
	add("method", "GET", func(r *request) { r.method = http.MethodGet })
	add("method", "PUT", func(r *request) { r.method = http.MethodPut })
	add("path", "upper", func(r *request) { r.path = strings.ToUpper(r.path) })
	add("path", "slash", func(r *request) { r.path += "/" })
	add("path", "no suffix", func(r *request) { r.path = strings.TrimSuffix(r.path, ".json") })
	add("path", "double slash", func(r *request) { r.path = strings.Replace(r.path, "/1.0/", "/1.0//", 1) })
	add("path", "dots", func(r *request) { r.path = strings.Replace(r.path, "/1.0/", "/1.0/x/../", 1) })
	add("content type", "none", func(r *request) { r.contentType = "" })
	add("content type", "text", func(r *request) { r.contentType = "text/plain" })
	add("content type", "multipart", func(r *request) { r.contentType = "multipart/form-data; boundary=x" })
	add("content type", "other", func(r *request) {
		r.contentType = map[bool]string{true: "application/x-www-form-urlencoded", false: "application/json"}[strings.HasPrefix(q.contentType, "application/json")]
	})
	add("body", "empty", func(r *request) { r.body = "" })
	add("body", "space before", func(r *request) { r.body = " " + r.body })
	add("body", "space after", func(r *request) { r.body += " " })
	add("body", "newline after", func(r *request) { r.body += "\n" })
	add("body", "nul after", func(r *request) { r.body += "\x00" })
	add("body", "twice", func(r *request) { r.body += r.body })
	add("body", "cut", func(r *request) { r.body = r.body[:len(r.body)*2/3] })
	add("body", "mark before", func(r *request) { r.body = "\ufeff" + r.body })
	return out
}

// flipChar changes one character to another of the same alphabet.
func flipChar(s string, at int) string {
	c := byte('1')
	if s[at] == c {
		c = '2'
	}
	return s[:at] + string(c) + s[at+1:]
}

// value is another value, made when it is wanted: there are many.
type value struct {
	what string
	text func() string
}

// values gives other values for one value, as text.
func values(v string) []value {
	var out []value
	put := func(what string, ws ...string) {
		for _, w := range ws {
			if w != v {
				out = append(out, value{what, func() string { return w }})
			}
		}
	}
	put("empty", "")
	put("null", "null")
	put("true", "true")
	put("number", "7")
	put("object", "{}")
	put("array", "[]")
	put("longer", v+"0", v+"=")
	put("space before", " "+v)
	put("space after", v+" ")
	put("newline after", v+"\n")
	put("nul after", v+"\x00")
	put("bad text", v+"\xff")
	put("text outside", "日本語")
	put("twice", v+v, v+","+v)
	put("very long", veryLong)
	put("upper", strings.ToUpper(v))
	put("lower", strings.ToLower(v))
	if v != "" {
		put("shorter", v[:len(v)-1])
	}
	packet, err := base64.StdEncoding.DecodeString(v)
	switch n, numeric := number(v); {
	case numeric:
		put("inc", strconv.FormatInt(n+1, 10))
		put("dec", strconv.FormatInt(n-1, 10))
		put("neg", "-"+v)
		put("sign", "+"+v)
		put("lead", "0"+v)
		put("point", v+".0")
		put("exp", v+"e0")
		put("hex", fmt.Sprintf("0x%x", n))
		put("big", "92233720368547758080")
	case err == nil && len(packet) > 40:
		put("url alphabet", base64.URLEncoding.EncodeToString(packet))
		put("no padding", strings.TrimRight(v, "="))
		put("broken lines", v[:len(v)/2]+"\n"+v[len(v)/2:])
		put("byte before", base64.StdEncoding.EncodeToString(append([]byte{0}, packet...)))
		put("byte after", base64.StdEncoding.EncodeToString(append(slices.Clone(packet), 0)))
		for at := range 8 * len(packet) {
			out = append(out, value{"bit", func() string {
				b := slices.Clone(packet)
				b[at/8] ^= 1 << (at % 8)
				return base64.StdEncoding.EncodeToString(b)
			}})
		}
	default:
		for at := 0; at < len(v); at += max(1, len(v)/24) {
			put("flip", flipChar(v, at))
		}
	}
	return out
}

var veryLong = strings.Repeat("A", 200_000)

func number(v string) (int64, bool) {
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == v && len(v) < 16
}

// formMutants changes every field of a form.
func (q request) formMutants() []mutant {
	var out []mutant
	fields := strings.Split(q.body, "&")
	set := func(i int, f ...string) func(*request) {
		return func(r *request) { r.body = strings.Join(slices.Replace(slices.Clone(fields), i, i+1, f...), "&") }
	}
	for i, f := range fields {
		name, enc, _ := strings.Cut(f, "=")
		v, err := url.QueryUnescape(enc)
		if err != nil {
			panic(err)
		}
		add := func(what string, change func(*request)) { out = append(out, mutant{name, what, change}) }
		other := field(name, flipChar(v+"a", len(v)/2))
		add("drop", set(i))
		add("double", set(i, f, f))
		add("other first", set(i, other, f))
		add("other last", set(i, f, other))
		add("empty first", set(i, name+"=", f))
		add("empty last", set(i, f, name+"="))
		add("upper name", set(i, field(strings.ToUpper(name), v)))
		add("list name", set(i, field(name+"[]", v)))
		add("no value", set(i, name))
		add("escaped", set(i, name+"="+escapeAll(v)))
		add("escaped name", set(i, escapeAll(name)+"="+enc))
		add("semicolon", set(i, f+";a=b"))
		add("add", set(i, f, "a=b"))
		if i+1 < len(fields) {
			add("swap", func(r *request) {
				moved := slices.Clone(fields)
				moved[i], moved[i+1] = moved[i+1], moved[i]
				r.body = strings.Join(moved, "&")
			})
		}
		add("in query", func(r *request) { set(i)(r); r.path += "?" + f })
		add("other in query", func(r *request) { r.path += "?" + other })
		for _, w := range values(v) {
			add(w.what, func(r *request) { set(i, field(name, w.text()))(r) })
		}
		for j, g := range fields {
			if _, theirs, _ := strings.Cut(g, "="); j != i && theirs != enc && len(theirs) == len(enc) {
				add("other's", set(i, name+"="+theirs))
			}
		}
	}
	return out
}

func field(name, v string) string { return name + "=" + url.QueryEscape(v) }

func escapeAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

// jsonMutants changes every value, name and place of a JSON body.
func (q request) jsonMutants() []mutant {
	root, err := kbsig.ParseSignedJSON([]byte(q.body), true)
	if err != nil {
		panic(fmt.Errorf("%w: %.100s", err, q.body))
	}
	w := jsonWalk{doc: q.body}
	w.value("", root)
	return w.out
}

type jsonWalk struct {
	doc string
	out []mutant
}

// add replaces a part of the document.
func (w *jsonWalk) add(path, what string, off, end int, with ...string) {
	for _, s := range with {
		w.out = append(w.out, mutant{path, what, func(r *request) { r.body = w.doc[:off] + s + w.doc[end:] }})
	}
}

func (w *jsonWalk) value(path string, v *kbsig.JSONValue) {
	text := w.doc[v.Off:v.End]
	put := func(what string, with string) {
		if with != text {
			w.add(path, what, v.Off, v.End, with)
		}
	}
	put("null", "null")
	put("object", "{}")
	put("array", "[]")
	put("true", "true")
	put("number", "7")
	put("text", `"text"`)
	put("in array", "["+text+"]")
	put("deep", strings.Repeat("[", 2000)+strings.Repeat("]", 2000))
	put("space", " "+text+"\n")
	switch v.Kind {
	case kbsig.JSONString:
		for _, other := range values(v.Str) {
			w.out = append(w.out, mutant{path, other.what, func(r *request) { r.body = w.doc[:v.Off] + quote(other.text()) + w.doc[v.End:] }})
		}
		if v.Str != "" {
			put("escaped", fmt.Sprintf(`"\u%04x%s`, v.Str[0], text[2:]))
			put("surrogate", `"\ud800`+text[1:])
		}
	case kbsig.JSONInt:
		put("inc", strconv.FormatInt(v.Int+1, 10))
		put("dec", strconv.FormatInt(v.Int-1, 10))
		put("neg", "-"+text)
		put("float", text+".0")
		put("fraction", text+".5")
		put("exp", text+"e0")
		put("lead", "0"+text)
		put("big", "92233720368547758080")
		put("in text", `"`+text+`"`)
	}
	for i := range v.Members {
		w.member(strings.TrimPrefix(path+"."+v.Members[i].Name, "."), v.Members, i)
	}
	for i := range v.Elems {
		w.elem(fmt.Sprintf("%s.%d", path, i), v.Elems, i)
	}
}

func (w *jsonWalk) member(path string, all []kbsig.JSONMember, i int) {
	m := &all[i]
	at := func(m *kbsig.JSONMember) int { return m.Value.Off - len(m.Name) - 3 }
	start, colon, end := at(m), m.Value.Off-1, m.Value.End
	whole, upper := w.doc[start:end], `"`+strings.ToUpper(m.Name)+`"`
	w.add(path, "double", start, end, whole+","+whole)
	w.add(path, "null first", start, end, `"`+m.Name+`":null,`+whole)
	w.add(path, "null last", start, end, whole+`,"`+m.Name+`":null`)
	w.add(path, "upper name", start, colon, upper)
	w.add(path, "upper name last", start, end, whole+","+upper+":null")
	w.add(path, "escaped name", start, colon, fmt.Sprintf(`"\u%04x%s"`, m.Name[0], m.Name[1:]))
	w.add(path, "add", start, start, `"a":1,`)
	switch {
	case i+1 < len(all):
		next := &all[i+1]
		w.add(path, "swap", start, next.Value.End, w.doc[at(next):next.Value.End]+","+whole)
		w.add(path, "drop", start, end+1, "")
	case i > 0:
		w.add(path, "drop", start-1, end, "")
	default:
		w.add(path, "drop", start, end, "")
	}
	w.value(path, &m.Value)
}

func (w *jsonWalk) elem(path string, all []kbsig.JSONValue, i int) {
	start, end := all[i].Off, all[i].End
	whole := w.doc[start:end]
	w.add(path, "again", start, end, whole+","+whole)
	switch {
	case i+1 < len(all):
		next := all[i+1]
		w.add(path, "swap", start, next.End, w.doc[next.Off:next.End]+","+whole)
		w.add(path, "drop", start, end+1, "")
	case i > 0:
		w.add(path, "drop", start-1, end, "")
	default:
		w.add(path, "drop", start, end, "")
	}
	w.value(path, &all[i])
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\x00", `\u0000`).Replace(s) + `"`
}
