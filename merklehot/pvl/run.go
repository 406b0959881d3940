package pvl

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/keystead/keystead/engine/fetch"
)

// Limits of a run.
const (
	// registerBytesMax bounds one register; a page is the largest.
	registerBytesMax = 512 << 10
	// patternBytesMax bounds a pattern after its registers are filled in.
	patternBytesMax = 8 << 10
)

// Names of proof types that are checked in ways of their own.
const (
	TypeDNS = "dns"
	TypeWeb = "generic_web_site"
)

// Run runs the scripts of one proof type, one after another until one ends. It returns
// the registers of that script, or the first script's failure.
// client: go/pvl/interp.go:checkProofInner
func (p *Program) Run(ctx context.Context, src Source, typ string, pr Proof) (Registers, *Failure) {
	scripts := p.Services[typ]
	if len(scripts) == 0 {
		return nil, fail(StatusInvalid, "there is no program for %s", typ)
	}
	if typ == TypeDNS {
		return runDNS(ctx, src, scripts, pr)
	}
	var first *Failure
	for _, s := range scripts {
		m := &machine{ctx: ctx, src: src, proof: pr, regs: pr.registers(typ)}
		f := m.run(s)
		if f == nil {
			return m.regs, nil
		}
		if first == nil {
			first = f
		}
	}
	return nil, first
}

// runDNS runs the scripts on each text record of the domain and of _keybase under it.
// client: go/pvl/interp.go:runDNS
func runDNS(ctx context.Context, src Source, scripts []Script, pr Proof) (Registers, *Failure) {
	var first *Failure
	note := func(f *Failure) {
		if first == nil {
			first = f
		}
	}
	for _, name := range []string{pr.Hostname, "_keybase." + pr.Hostname} {
		records, err := src.TXT(ctx, name)
		if err != nil {
			note(failureOf(err, StatusDNS))
			continue
		}
		for _, record := range records {
			for _, s := range scripts {
				m := &machine{ctx: ctx, src: src, proof: pr, regs: pr.registers(TypeDNS)}
				m.regs["txt"] = record
				if m.run(s) == nil {
					return m.regs, nil
				}
			}
		}
		note(fail(StatusNotFound, "none of the %d text records of %s is the proof", len(records), name))
	}
	return nil, first
}

// Registers are a script's variables.
type Registers map[string]string

// registers are those that a script begins with.
func (pr *Proof) registers(typ string) Registers {
	r := Registers{
		"hint_url": pr.Hint, "username_keybase": string(pr.Username),
		"sig":           base64.StdEncoding.EncodeToString(pr.Packet),
		"sig_id_medium": pr.SigID.Medium(), "sig_id_short": pr.SigID.Short(),
	}
	switch typ {
	case TypeDNS:
		r["hostname"] = pr.Hostname
	case TypeWeb:
		r["hostname"], r["protocol"] = pr.Hostname, pr.Protocol
	default:
		r["username_service"] = pr.Remote
	}
	return r
}

// machine is one script under way.
type machine struct {
	ctx   context.Context
	src   Source
	proof Proof
	regs  Registers
	doc   any // what was fetched as JSON
	asked bool
}

func (m *machine) run(s Script) *Failure {
	for i := range s {
		f, because := m.step(&s[i])
		if f == nil {
			continue
		}
		if because != nil && f.Status != StatusInvalid {
			if st, known := statusNames[because[0]]; known {
				f = fail(st, "%s", because[1])
			}
		}
		return f
	}
	return nil
}

func (m *machine) step(s *Step) (*Failure, *Because) {
	switch {
	case s.AssertRegex != nil:
		return m.assertRegex(s.AssertRegex), s.AssertRegex.Error
	case s.AssertBase64 != nil:
		return m.assertBase64(s.AssertBase64), s.AssertBase64.Error
	case s.AssertCompare != nil:
		return m.assertCompare(s.AssertCompare), s.AssertCompare.Error
	case s.Whitespace != nil:
		v, f := m.get(s.Whitespace.From)
		if f != nil {
			return f, nil
		}
		return m.set(s.Whitespace.Into, strings.Trim(blanks.ReplaceAllString(v, " "), " ")), nil
	case s.Capture != nil:
		return m.capture(s.Capture), s.Capture.Error
	case s.Replace != nil:
		v, f := m.get(s.Replace.From)
		if f != nil {
			return f, nil
		}
		return m.set(s.Replace.Into, strings.ReplaceAll(v, s.Replace.Old, s.Replace.New)), nil
	case s.Fetch != nil:
		return m.fetch(s.Fetch), s.Fetch.Error
	case s.SelectJSON != nil:
		return m.selectJSON(s.SelectJSON), s.SelectJSON.Error
	case s.Fill != nil:
		v, f := m.substitute(s.Fill.With, false)
		if f != nil {
			return f, nil
		}
		return m.set(s.Fill.Into, v), nil
	}
	return fail(StatusInvalid, "an instruction that says nothing"), nil
}

func (m *machine) get(name string) (string, *Failure) {
	v, ok := m.regs[name]
	if !ok {
		return "", fail(StatusInvalid, "register %s is not set", name)
	}
	return v, nil
}

// blanks are what counts as white space; Unicode's other spaces do not.
// client: go/libkb/util.go:WhitespaceNormalize
var blanks = regexp.MustCompile(`\s+`)

var registerName = regexp.MustCompile(`^[a-z0-9_]+$`)

func (m *machine) set(name, v string) *Failure {
	if _, set := m.regs[name]; set || !registerName.MatchString(name) {
		return fail(StatusInvalid, "register %.40s cannot be set", name)
	}
	if len(v) > registerBytesMax {
		return fail(StatusContent, "a text of %d bytes", len(v))
	}
	m.regs[name] = v
	return nil
}

var quoted = regexp.MustCompile(`%\{\w*\}`)

// substitute fills registers into a text, as literals if it is a pattern.
func (m *machine) substitute(text string, pattern bool) (string, *Failure) {
	var bad *Failure
	out := quoted.ReplaceAllStringFunc(text, func(q string) string {
		v, f := m.get(q[2 : len(q)-1])
		if f != nil {
			bad = f
		}
		if pattern {
			return regexp.QuoteMeta(v)
		}
		return v
	})
	return out, bad
}

func (m *machine) regex(pattern string, fold, lines bool) (*regexp.Regexp, *Failure) {
	if !strings.HasPrefix(pattern, "^") || !strings.HasSuffix(pattern, "$") {
		return nil, fail(StatusInvalid, "a pattern without ^ and $")
	}
	p, f := m.substitute(pattern, true)
	if f != nil {
		return nil, f
	}
	if len(p) > patternBytesMax {
		return nil, fail(StatusContent, "a pattern of %d bytes", len(p))
	}
	switch {
	case fold && lines:
		p = "(?im)" + p
	case fold:
		p = "(?i)" + p
	case lines:
		p = "(?m)" + p
	}
	re, err := regexp.Compile(p)
	if err != nil {
		return nil, fail(StatusInvalid, "a pattern that is none")
	}
	return re, nil
}

func (m *machine) assertRegex(a *AssertRegex) *Failure {
	v, f := m.get(a.From)
	if f != nil {
		return f
	}
	re, f := m.regex(a.Pattern, a.Fold, a.Lines)
	if f != nil {
		return f
	}
	if re.MatchString(v) == a.Negate {
		return fail(StatusContent, "%s does not have the form that is wanted", a.From)
	}
	return nil
}

func (m *machine) assertBase64(a *AssertBase64) *Failure {
	v, f := m.get(a.Haystack)
	if f != nil {
		return f
	}
	if a.Needle != "sig" {
		return fail(StatusInvalid, "only the signature is looked for")
	}
	if !hasBlock(v, m.proof.Packet) {
		return fail(StatusTextNotFound, "the signature is not there")
	}
	return nil
}

func (m *machine) assertCompare(a *AssertCompare) *Failure {
	x, f := m.get(a.A)
	if f != nil {
		return f
	}
	y, f := m.get(a.B)
	if f != nil {
		return f
	}
	same := false
	switch a.Cmp {
	case "exact":
		same = x == y
	case "cicmp":
		same = strings.EqualFold(x, y)
	default:
		return fail(StatusInvalid, "no such comparison")
	}
	if !same {
		return fail(StatusContent, "%s is not %s", a.A, a.B)
	}
	return nil
}

func (m *machine) capture(c *Capture) *Failure {
	v, f := m.get(c.From)
	if f != nil {
		return f
	}
	re, f := m.regex(c.Pattern, c.Fold, c.Lines)
	if f != nil {
		return f
	}
	got := re.FindStringSubmatch(v)
	if len(c.Into) == 0 || len(got)-1 < len(c.Into) {
		return fail(StatusContent, "%s does not have the form that is wanted", c.From)
	}
	for i, name := range c.Into {
		if f := m.set(name, got[i+1]); f != nil {
			return f
		}
	}
	return nil
}

func (m *machine) fetch(a *Fetch) *Failure {
	address, f := m.get(a.From)
	if f != nil {
		return f
	}
	if m.asked {
		return fail(StatusInvalid, "a second fetch")
	}
	m.asked = true
	page, err := m.src.Page(m.ctx, address)
	if err != nil {
		return failureOf(err, StatusInternal)
	}
	switch a.Kind {
	case "string":
		return m.set(a.Into, string(page))
	case "json":
		if m.doc, err = decodeJSON(page); err != nil {
			return fail(StatusParse, "the page is not JSON")
		}
		return nil
	}
	return fail(StatusInvalid, "no such kind of page")
}

// decodeJSON reads one document, numbers as they stand.
func decodeJSON(page []byte) (doc any, err error) {
	d := json.NewDecoder(bytes.NewReader(page))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the document")
	}
	return doc, nil
}

func (m *machine) selectJSON(a *SelectJSON) *Failure {
	if m.doc == nil || len(a.Selectors) == 0 {
		return fail(StatusInvalid, "nothing was fetched to select from")
	}
	var texts []string
	for _, v := range Select(m.doc, a.Selectors) {
		if s, ok := simple(v); ok {
			texts = append(texts, s)
		}
	}
	if len(texts) == 0 {
		return fail(StatusContent, "the page does not have what is looked for")
	}
	return m.set(a.Into, strings.Join(texts, " "))
}

// failureOf is the status that clients give to a page which could not be fetched.
// client: go/libkb/errors.go:XapiError
func failureOf(err error, other Status) *Failure {
	st := other
	switch fetch.KindOf(err) {
	case fetch.BadURL:
		st = StatusBadURL
	case fetch.Refused, fetch.Unreachable:
		st = StatusUnreachable
	case fetch.NoName:
		st = StatusNotFound
	case fetch.NameTrouble:
		st = StatusDNS
	case fetch.Timeout:
		st = StatusTimeout
	case fetch.TooLarge:
		st = StatusContent
	case fetch.Busy:
		st = StatusBase
	case fetch.Status:
		st = httpStatus(fetch.CodeOf(err))
	}
	return &Failure{st, err.Error()}
}

// FailureOf is the failure of a proof whose page could not be fetched.
func FailureOf(err error) *Failure { return failureOf(err, StatusInternal) }

func httpStatus(code int) Status {
	switch {
	case code == 401 || code == 403:
		return StatusDenied
	case code == 429:
		return StatusTooOften
	case code/100 == 3:
		return StatusHTTP300
	case code/100 == 4:
		return StatusHTTP400
	case code/100 == 5:
		return StatusHTTP500
	}
	return StatusHTTPOther
}
