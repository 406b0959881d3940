// Package redact is the log of the server: records as text or JSON with secrets
// hidden at every level, debug included.
//
// Three nets, one behind the other. An attribute (or a group) whose name speaks of
// a secret loses its value. A value that is not a plain word or number (bytes, a
// map, a struct, a header) is replaced by its type and size, because nobody can
// know what is in it; an error and a fmt.Stringer count as words. And in every
// text, the message included, `name=value`, `"name":"value"` and `Name: value`
// lose the value when the name speaks of a secret, as does anything that looks
// like a NIST or a private key in PEM.
//
// The nets are for mistakes. What a caller must still do is not to log secrets.
// The package keeps nothing and reads no clock: slog stamps records.
package redact

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"unicode"
)

// Hidden stands in the log where a secret stood.
const Hidden = "[hidden]"

// textBytesMax bounds one text in the log; what is longer is cut.
const textBytesMax = 4096

// secretWords are the words that make a name speak of a secret: session and csrf
// tokens, NISTs, everything made from a passphrase, signatures that log in, codes
// that are mailed, and key material that is kept for clients.
var secretWords = map[string]bool{
	"session": true, "sessions": true, "token": true, "tokens": true, "csrf": true, "nist": true,
	"authorization": true, "cookie": true, "cookies": true, "bearer": true,
	"passphrase": true, "passphrases": true, "password": true, "passwd": true, "pw": true, "pwh": true, "pdpka": true, "pdpka4": true, "pdpka5": true,
	"hmac": true, "salt": true, "secret": true, "secrets": true, "seed": true, "private": true,
	"sig": true, "sigs": true, "signature": true, "signatures": true,
	"otp": true, "pin": true, "code": true, "invitation": true,
	"halves": true, "half": true, "bundle": true, "box": true, "boxes": true, "ciphertext": true, "body": true,
}

// plainNames are names that hold a secret word and are no secret.
var plainNames = map[string]bool{
	"sig_id": true, "sig_ids": true, "sig_version": true, "status_code": true, "error_code": true, "exit_code": true,
	"session_type": true,
}

// numberWords are the secrets that may be numbers; a number under any other name
// (sigs=3, body=1200) is a count and stays.
var numberWords = map[string]bool{"otp": true, "pin": true}

// Options choose the shape of the log.
type Options struct {
	Level  slog.Leveler // the least level written
	Format string       // "text" or "json"
}

// New is a logger that writes redacted records to w, one a line.
func New(w io.Writer, o Options) *slog.Logger {
	h := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: replace}
	if o.Format == "json" {
		return slog.New(handler{slog.NewJSONHandler(w, h)})
	}
	return slog.New(handler{slog.NewTextHandler(w, h)})
}

// handler scrubs what ReplaceAttr does not see: attributes bound with With that
// are groups of a secret name, and the names of groups.
type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, scrub(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(hideGroup(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = hideGroup(a)
	}
	return handler{h.Handler.WithAttrs(out)}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }

// hideGroup replaces a group of a secret name as a whole, at any depth.
func hideGroup(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() != slog.KindGroup {
		return a
	}
	if Secret(a.Key) {
		return slog.String(a.Key, Hidden)
	}
	members := a.Value.Group()
	out := make([]slog.Attr, len(members))
	for i, m := range members {
		out[i] = hideGroup(m)
	}
	return slog.Attr{Key: a.Key, Value: slog.GroupValue(out...)}
}

// replace is the net for single attributes.
func replace(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return a
	}
	if Secret(a.Key) && !plainNumber(a) {
		return slog.String(a.Key, Hidden)
	}
	for _, g := range groups {
		if Secret(g) && !plainNumber(a) {
			return slog.String(a.Key, Hidden)
		}
	}
	switch a.Value.Kind() {
	case slog.KindString:
		return slog.String(a.Key, scrub(a.Value.String()))
	case slog.KindAny:
		return slog.String(a.Key, describe(a.Value.Any()))
	}
	return a
}

// plainNumber says that an attribute is a count, a time or a yes or no.
func plainNumber(a slog.Attr) bool {
	switch a.Value.Kind() {
	case slog.KindBool, slog.KindDuration, slog.KindTime:
		return true
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64:
		for _, w := range words(a.Key) {
			if numberWords[w] {
				return false
			}
		}
		return true
	}
	return false
}

// describe turns a value of an arbitrary type into a word, or into its type.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "<nil>"
	case []byte:
		return fmt.Sprintf("[%d bytes]", len(v))
	case error:
		return scrub(v.Error())
	case fmt.Stringer:
		return scrub(v.String())
	case []string:
		return scrub(strings.Join(v, " "))
	}
	return fmt.Sprintf("[%T]", v)
}

// Secret says whether a name speaks of a secret. Names are split at everything
// that is not a letter or digit and where a capital follows a small letter, so
// that "loginSession", "X-CSRF-Token" and "pwh_version" are all seen.
func Secret(name string) bool {
	if plainNames[strings.ToLower(name)] {
		return false
	}
	for _, w := range words(name) {
		if secretWords[w] {
			return true
		}
	}
	return false
}

func words(name string) []string {
	var spaced strings.Builder
	small := false
	for _, r := range name {
		if unicode.IsUpper(r) && small {
			spaced.WriteByte(' ')
		}
		small = unicode.IsLower(r) || unicode.IsDigit(r)
		spaced.WriteRune(unicode.ToLower(r))
	}
	return strings.FieldsFunc(spaced.String(), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

var (
	// label finds the name and the mark of name=value, name: value and "name":"value"
	// in running text; content is the value that follows: a quoted one to its closing
	// quote, a plain one to the next space or mark.
	label   = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_.-]{0,63})\\?["']?\s?[=:]\s?`)
	content = regexp.MustCompile(`^(?:\\"(?:[^"\\]|\\[^"])*|"(?:[^"\\]|\\.)*"?|'[^']*'?|(?:Bearer |Basic )?[^\s,;&"'}\])]+)`)
	// small is a value of up to three digits: a count or a status code.
	small = regexp.MustCompile(`^\d{1,3}$`)
	// pemKey finds a private key. nist finds a token by its first three bytes: an
	// array of four (long) or three (short), version 34 or 35, mode 1 or 2.
	// client: go/libkb/nist.go:nistSig
	pemKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`)
	nist   = regexp.MustCompile(`\b(?:lC[IM]B|ky[IM]C)[A-Za-z0-9+/_=-]{16,}`)
)

// scrub hides secrets in running text and cuts it to its bound.
func scrub(s string) string {
	cut := ""
	if len(s) > textBytesMax {
		s, cut = strings.ToValidUTF8(s[:textBytesMax], ""), "[cut]"
	}
	s = pemKey.ReplaceAllString(s, Hidden)
	s = nist.ReplaceAllString(s, Hidden)
	return scrubPairs(s) + cut
}

// scrubPairs hides the value after each label of a secret name. It looks at every
// label, so that "post: token=x" is seen as a token and not as a post.
func scrubPairs(s string) string {
	var out strings.Builder
	for {
		at := label.FindStringSubmatchIndex(s)
		if at == nil {
			out.WriteString(s)
			return out.String()
		}
		name, rest := s[at[2]:at[3]], s[at[1]:]
		out.WriteString(s[:at[1]])
		s = rest
		if !Secret(name) {
			continue
		}
		value := content.FindString(rest)
		if value == "" || small.MatchString(value) {
			continue
		}
		out.WriteString(Hidden)
		s = rest[len(value):]
	}
}
