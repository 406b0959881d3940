// Package engine has no code of its own: this folder holds the rooms that keep
// bytes. The test here holds the direction of imports for the whole module.
package engine

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = ".."
	module = "github.com/keystead/keystead/"
)

// rooms are the folders in which imports go right or down only: a room may import
// the rooms listed for it, itself, and the vocabulary. The longest name that fits
// a package decides.
var rooms = map[string][]string{
	"engine":          {"engine"},
	"merklehot":       {"merklehot", "engine"},
	"merklehot/stage": {"merklehot", "engine", "bench/client"},
	"chatlog":         {"chatlog", "merklehot", "engine"},
	"kbfsblocks":      {"kbfsblocks", "merklehot", "engine"},
	"compat/auth":     {"compat/auth", "chatlog", "kbfsblocks", "merklehot", "engine"},
	"compat":          {"compat", "chatlog", "kbfsblocks", "merklehot", "engine"},
	"compat/wire":     {"compat/wire"},
	"compat/kbsig":    {"compat/kbsig"},
	"compat/status":   nil,
	"compat/spec":     nil,
	"compat/clients":  {"compat/clients"},
	"bench":           {"bench", "compat/wire"},
	"bench/client":    {"bench/client", "compat/wire"},
	"cmd":             {"cmd", "compat", "chatlog", "kbfsblocks", "merklehot", "engine"},
	"cmd/merkleaudit": {"cmd/merkleaudit"},
}

// vocabulary may be imported by every room except bench, which must not share the
// server's rules, and imports nothing of ours but its own part.
var vocabulary = []string{"compat/wire", "compat/kbsig", "compat/status"}

// words are the only modules that vocabulary may use besides the standard library.
var words = []string{"golang.org/x/crypto", "github.com/keybase/go-codec", "github.com/keybase/go-crypto/openpgp"}

// fences are imports with a short list of rooms that may have them; of several
// that fit, the longest decides.
var fences = []struct {
	imported string // a package and all below it
	why      string
	allowed  []string
}{
	{"github.com/cockroachdb/pebble", "durability has one owner", []string{"engine"}},
	{"github.com/cockroachdb/pebble/v2/vfs", "whose file system it is, is decided where the server is put together; who writes files beside the store takes it as a parameter", []string{"engine", "merklehot/archive", "merklehot/stage", "cmd/keystead/node"}},
	{"github.com/valyala/fasthttp", "requests come in by the doors", []string{"compat/rest", "compat/federation", "compat/public", "cmd", "bench"}},
	{"net/http", "requests come in by the doors, and go out by the one fetcher", []string{"engine/fetch", "compat/federation", "compat/public", "compat/clients", "cmd", "bench"}},
	{"github.com/spf13/cobra", "the command line belongs to the operator's side", []string{"cmd", "bench"}},
	{"github.com/wneessen/go-mail", "mail leaves the process in one place", []string{"cmd/keystead/postman"}},
	{"golang.org/x/image", "images are decoded in one place, after a look at what that costs", []string{"engine/pictures"}},
	{"github.com/emersion/go-smtp", "test library", nil},
	{"github.com/BurntSushi/toml", "settings are read once, in cmd", []string{"cmd/keystead/config"}},
	{"github.com/cockroachdb/datadriven", "test library", []string{"merklehot/stage"}},
	{"pgregory.net/rapid", "test library", []string{"engine/faultfs"}},
	{"github.com/google/go-cmp", "test library", nil},
	{"go.uber.org/goleak", "test library", nil},
	{"testing", "test library", []string{"engine/faultfs", "compat/clients"}},
	{module + "merklehot/stage", "people for tests, who have secrets", nil},
	{"math/rand", "randomness is a parameter; secrets come from crypto/rand, seeds from the caller", []string{"engine/faultfs", "merklehot/stage", "bench"}},
	{"unsafe", "only digests of many messages at once are worth it", []string{"engine/hash"}},
	{"C", "one static binary", nil},
}

// door packages are imported by cmd only; compat/auth is shared by the doors.
var doors = []string{"compat/rest", "compat/rpc", "compat/public", "compat/federation", "compat/clients"}

// TestImportsGoRightOrDown reads the imports of every non-test file and proves the
// drawing in docs/design/architecture.md: who may know whom.
func TestImportsGoRightOrDown(t *testing.T) {
	seen := 0
	eachImport(t, func(pkg, imported string) {
		seen++
		for _, why := range faults(pkg, imported) {
			t.Errorf("%s imports %s: %s", pkg, imported, why)
		}
	})
	if seen == 0 {
		t.Error("no import was found: the test looked in the wrong place")
	}
}

// TestRulesBite proves that the rules refuse what they are for and allow what the
// drawing shows.
func TestRulesBite(t *testing.T) {
	for _, tc := range []struct {
		pkg, imported string
		ok            bool
	}{
		{"engine/store", "github.com/cockroachdb/pebble/v2", true},
		{"merklehot/tree", "github.com/cockroachdb/pebble/v2", false},
		{"cmd/keystead/node", "github.com/cockroachdb/pebble/v2", false},
		{"cmd/keystead/node", "github.com/cockroachdb/pebble/v2/vfs", true},
		{"merklehot/tree", "github.com/cockroachdb/pebble/v2/vfs", false},
		{"merklehot/tree", module + "engine/store", true},
		{"engine/store", module + "merklehot/tree", false},
		{"chatlog/inbox", module + "kbfsblocks/quota", false},
		{"kbfsblocks/quota", module + "chatlog/inbox", false},
		{"chatlog/inbox", module + "merklehot/directory", true},
		{"engine/accounts", module + "compat/kbsig", true},
		{"compat/rest", module + "chatlog/gregor", true},
		{"compat/rest", module + "compat/auth", true},
		{"compat/rest", module + "compat/rpc", false},
		{"compat/auth", module + "compat/rest", false},
		{"merklehot/roots", module + "compat/auth", false},
		{"merklehot/roots", module + "compat/rest", false},
		{"compat/kbsig", module + "compat/wire/keybase1", false},
		{"compat/kbsig", "github.com/cockroachdb/crlib", false},
		{"compat/kbsig", "golang.org/x/crypto/nacl/box", true},
		{"engine/pictures", "golang.org/x/image/webp", true},
		{"compat/rest", "golang.org/x/image/webp", false},
		{"compat/wire/gregor1", module + "compat/wire/keybase1", true},
		{"compat/rest", "github.com/valyala/fasthttp", true},
		{"compat/rpc", "github.com/valyala/fasthttp", false},
		{"compat/rpc", "net/http", false},
		{"compat/rpc", "net", true},
		{"bench/client", module + "compat/kbsig", false},
		{"bench/client", module + "compat/wire/keybase1", true},
		{"bench/load", module + "merklehot/tree", false},
		{"bench/load", module + "bench/client", true},
		{"cmd/keystead/node", module + "compat/rest", true},
		{"cmd/keystead/node", module + "bench/client", false},
		{"compat/rest", module + "cmd/keystead/config", false},
		{"cmd/merkleaudit", module + "merklehot/tree", false},
		{"newroom/x", "fmt", false},
		{"engine/store", "math/rand/v2", false},
	} {
		if got := faults(tc.pkg, tc.imported); (len(got) == 0) != tc.ok {
			t.Errorf("%s imports %s: allowed %t, want %t: %v", tc.pkg, tc.imported, len(got) == 0, tc.ok, got)
		}
	}
}

// faults says what is wrong with one import.
func faults(pkg, imported string) []string {
	var out []string
	room, allowed, known := roomOf(pkg)
	if !known {
		return []string{"the package is in no room of the drawing; give it a place in docs/design/architecture.md and here"}
	}
	speaks := within(pkg, vocabulary...)
	if ours, found := strings.CutPrefix(imported, module); found {
		switch {
		case within(ours, doors...) && !within(pkg, "cmd") && !sameDoor(pkg, ours):
			out = append(out, "only cmd imports a door")
		case within(ours, allowed...):
		case within(ours, vocabulary...) && !within(pkg, "bench") && !speaks:
		default:
			out = append(out, "an arrow goes right or down only: "+room+" may import "+strings.Join(allowed, ", ")+" and the vocabulary")
		}
	} else if speaks && strings.Contains(strings.Split(imported, "/")[0], ".") && !within(imported, words...) {
		out = append(out, "vocabulary imports the standard library, x/crypto and the Keybase codec only")
	}
	var fence int
	for i, f := range fences {
		if within(imported, f.imported) && (!within(imported, fences[fence].imported) || len(f.imported) > len(fences[fence].imported)) {
			fence = i
		}
	}
	if f := fences[fence]; within(imported, f.imported) && !within(pkg, f.allowed...) {
		out = append(out, f.why+"; allowed in: "+strings.Join(append([]string{"tests"}, f.allowed...), ", "))
	}
	return out
}

// roomOf finds the rule with the longest name that holds pkg.
func roomOf(pkg string) (string, []string, bool) {
	for name := pkg; name != "."; name = path.Dir(name) {
		if allowed, ok := rooms[name]; ok {
			return name, allowed, true
		}
	}
	return "", nil, false
}

// sameDoor says that both packages are parts of one door.
func sameDoor(a, b string) bool {
	for _, d := range doors {
		if within(a, d) && within(b, d) {
			return true
		}
	}
	return false
}

// within says that a package is one of the named ones or below it.
func within(pkg string, names ...string) bool {
	for _, n := range names {
		if pkg == n || strings.HasPrefix(pkg, n+"/") {
			return true
		}
	}
	return false
}

// eachImport calls f for every import of every non-test file of the module; pkg is
// the folder from the module's root.
func eachImport(t *testing.T, f func(pkg, imported string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			own, statErr := os.Stat(filepath.Join(full, "go.mod"))
			if full != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || statErr == nil && own != nil) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(full, ".go") || strings.HasSuffix(full, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), full, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(full))
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f(filepath.ToSlash(rel), imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
