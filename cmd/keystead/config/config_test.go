package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the generated reference anew")

// reference is the printed file as it stands in the documentation.
const reference = "../../../docs/reference/config.toml"

// TestPrintedDefaultsParseToDefaults proves that the printed file is the manual and
// a working file at once: it parses without a problem and changes nothing.
func TestPrintedDefaultsParseToDefaults(t *testing.T) {
	got, problems := Parse([]byte(Print(Default())))
	if len(problems) != 0 {
		t.Fatalf("the printed defaults have problems: %v", problems)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Fatalf("the printed defaults parse to something else:\n%s", diff)
	}
}

// TestPrintRoundTrips proves that Print and Parse are inverse for every value a
// field can have, quotes, control characters and odd durations included.
func TestPrintRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Default()
		fill(t, reflect.ValueOf(&want).Elem())
		got, problems := Parse([]byte(Print(want)))
		for _, p := range problems {
			if strings.HasPrefix(p.Text, "not TOML") {
				t.Fatalf("%s in\n%s", p, Print(want))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s\nfrom\n%s", diff, Print(want))
		}
	})
}

func fill(t *rapid.T, v reflect.Value) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case f.Kind() == reflect.Struct:
			fill(t, f)
		case f.Type() == reflect.TypeFor[time.Duration]():
			f.SetInt(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, name))
		case f.Kind() == reflect.Bool:
			f.SetBool(rapid.Bool().Draw(t, name))
		case f.Kind() == reflect.Int:
			f.SetInt(rapid.Int64Range(-1, 1<<31).Draw(t, name))
		case f.Kind() == reflect.String:
			f.SetString(rapid.String().Draw(t, name))
		case f.Type() == reflect.TypeFor[[]string]():
			f.Set(reflect.ValueOf(append([]string{}, rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, name)...)))
		default:
			t.Fatalf("field %s has a kind that this test cannot fill", name)
		}
	}
}

// TestEveryFieldIsDocumented proves that no field or section lacks its name in the
// file or its prose.
func TestEveryFieldIsDocumented(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Tag.Get("toml") == "" || !strings.HasSuffix(f.Tag.Get("doc"), ".") {
				t.Errorf("%s.%s: needs a toml name and a doc text that is a sentence", typ.Name(), f.Name)
			}
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}

// TestReferenceIsFresh proves that the page in the documentation is what the
// command prints today; run with -update after changing a field.
func TestReferenceIsFresh(t *testing.T) {
	want := Print(Default())
	if *update {
		if err := os.MkdirAll(filepath.Dir(reference), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(reference, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Fatalf("docs/reference/config.toml is stale; run `make docs`:\n%s", diff)
	}
}

// TestCheck proves, transcript by transcript, which mistakes are found, where they
// are said to be, and that each line says what to change.
func TestCheck(t *testing.T) {
	datadriven.RunTest(t, "testdata/check", func(t *testing.T, d *datadriven.TestData) string {
		_, problems := Parse([]byte(d.Input))
		if len(problems) == 0 {
			return "ok\n"
		}
		var b strings.Builder
		for _, p := range problems {
			fmt.Fprintln(&b, p)
		}
		return b.String()
	})
}

// TestHugeFileIsRefused proves that the size limit holds before the parser runs.
func TestHugeFileIsRefused(t *testing.T) {
	_, problems := Parse([]byte(strings.Repeat("#", fileBytesMax+1)))
	if problems.Err() == nil {
		t.Fatal("a file over the limit was accepted")
	}
}

// TestResolveDataFolder proves that the default folder depends on the account, not
// on where the command is run, and that a set folder is kept.
func TestResolveDataFolder(t *testing.T) {
	for _, tc := range []struct {
		set, want string
		env       map[string]string
	}{
		{"", "/x/keystead", map[string]string{"XDG_DATA_HOME": "/x", "HOME": "/home/a"}},
		{"", "/home/a/.local/share/keystead", map[string]string{"HOME": "/home/a"}},
		{"", "/home/a/.local/share/keystead", map[string]string{"XDG_DATA_HOME": "relative", "HOME": "/home/a"}},
		{"", "keystead-data", nil},
		{"/srv/k", "/srv/k", map[string]string{"HOME": "/home/a"}},
	} {
		c := Default()
		c.Data.Dir = tc.set
		got := c.Resolve(func(k string) string { return tc.env[k] }).Data.Dir
		if got != filepath.FromSlash(tc.want) {
			t.Errorf("dir %q with %v: got %q, want %q", tc.set, tc.env, got, tc.want)
		}
	}
}

// TestClientURIs proves that clients are told an address they can call: never a
// wildcard, never a trailing slash, and the public one when it is set.
func TestClientURIs(t *testing.T) {
	c := Default()
	for bound, want := range map[string]string{
		"127.0.0.1:3000": "http://127.0.0.1:3000",
		"0.0.0.0:3000":   "http://127.0.0.1:3000",
		":3000":          "http://127.0.0.1:3000",
		"[::]:3000":      "http://[::1]:3000",
		"[::1]:3000":     "http://[::1]:3000",
		"10.0.0.7:80":    "http://10.0.0.7:80",
	} {
		if got := c.ServerURI(bound); got != want {
			t.Errorf("bound to %s: got %s, want %s", bound, got, want)
		}
	}
	if got, want := c.PushURI("0.0.0.0:9911"), "fmprpc://127.0.0.1:9911"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c.HTTP.PublicURL, c.RPC.PublicURI = "https://k.example.org", "fmprpc+tls://k.example.org:9911"
	if got := c.ServerURI("127.0.0.1:3000") + " " + c.PushURI("127.0.0.1:9911"); got != "https://k.example.org fmprpc+tls://k.example.org:9911" {
		t.Errorf("public addresses are not used: %s", got)
	}
}

// FuzzParse proves that no file makes the parser panic, and that a file without
// errors gives a configuration that prints and parses to itself.
func FuzzParse(f *testing.F) {
	f.Add(Print(Default()))
	f.Add("[http]\nlisten = \"[::1]:80\"\npublic_url=\"https://a\"")
	f.Add("http.listen = 3\n[rpc]\n\"listen\" = \"x\"")
	f.Add("devel = 1979-05-27")
	f.Add("[limits]\nexempt = [\"10.0.0.0/8\"]\nrates = [\"login-by-name = off\", 3]")
	f.Add("[[http]]\n[merkle]\nheartbeat = \"1h\"")
	f.Fuzz(func(t *testing.T, file string) {
		c, problems := Parse([]byte(file))
		for _, p := range problems {
			if strings.ContainsAny(p.String(), "\n") {
				t.Fatalf("a problem of more than one line: %q", p)
			}
		}
		if problems.Err() != nil {
			return
		}
		again, problems := Parse([]byte(Print(c)))
		if problems.Err() != nil || !cmp.Equal(again, c) {
			t.Fatalf("%+v became %+v: %v", c, again, problems)
		}
	})
}
