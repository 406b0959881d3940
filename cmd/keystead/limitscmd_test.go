package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keystead/keystead/engine/limits"
)

// repository is its root, from here.
const repository = "../.."

// limitName is how a limit is called in the code.
var limitName = regexp.MustCompile(`(Max|Timeout|Lifetime|Within|KeptFor)$`)

// noLimits are constants that are called like a limit and bound nothing that comes
// from outside or that an operator would meet.
var noLimits = map[string]string{
	"compat/wire/keybase1.StatusTimeout": "a status code",
	"engine/fetch.Timeout":               "a kind of error",
	"merklehot/pvl.StatusTimeout":        "a status code",
	"engine/hash.aloneMax":               "a choice between two ways to the same result",
	"merklehot/blindtree.deltasMax":      "the shape of records",
	"merklehot/blindtree.depthMax":       "the shape of the tree",
	"merklehot/blindtree.skipsMax":       "the shape of records",
	"merklehot/tree.nodeDeltasMax":       "the shape of records",
	"merklehot/tree.olderValuesMax":      "a choice between two ways to the same result",
	"merklehot/tree.workersMax":          "processors of one update",
	"merklehot/tree.leafIDsMax":          "the shape of the tree",
	"merklehot/audit.leafIDsMax":         "the shape of the tree",
	"compat/kbsig.innerIntMax":           "what JSON readers keep exact",
	"compat/kbsig.nistTimeMax":           "the year 9999",
	"merklehot/sigchain.timeMax":         "the year 9999",
	"merklehot/teamchain.timeMax":        "the year 9999",
	"merklehot/teamchain.seqTypeMax":     "a kind of chain",
	"cmd/keystead/config.clipBytesMax":   "what is quoted in a complaint",
	"merklehot/stage.runsMax":            "for tests only",
	"cmd/keystead.inviteLifetime":        "the default of a flag, which help tells",
	"cmd/keystead.announcementLifetime":  "the default of a flag, which help tells",
}

// TestEveryLimitIsPrinted reads the constants of every package and proves that each
// that is called a limit is printed by `keystead limits`, under its name, and that
// nothing is printed that is not there.
func TestEveryLimitIsPrinted(t *testing.T) {
	printed := map[string]bool{}
	for _, room := range limitRooms() {
		for _, r := range room.rows {
			if r.Name == "" || r.Value == "" || r.Unit == "" || r.What == "" || strings.ContainsAny(r.What+r.Unit, "|\n") {
				t.Errorf("%s: the row %+v is not whole", room.where, r)
			}
			printed[room.where+"."+r.Name] = true
		}
	}
	found := 0
	eachName(t, func(pkg, name string, constant bool) {
		id := pkg + "." + name
		if constant && limitName.MatchString(name) {
			found++
			if noLimits[id] == "" && !printed[id] {
				t.Errorf("%s is not printed by `keystead limits`: add it to LimitRows of its package (and run `make docs`), or say in noLimits why it is none", id)
			}
		}
		delete(printed, id)
	})
	for id := range printed {
		t.Errorf("%s is printed, but the code has no such name", id)
	}
	if found < 100 {
		t.Errorf("only %d limits were found: the test looked in the wrong place", found)
	}
}

// eachName calls f for each constant, variable and field that the server's packages
// declare.
func eachName(t *testing.T, f func(pkg, name string, constant bool)) {
	t.Helper()
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(repository, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && (rel == "bench" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		for _, decl := range file.Decls {
			ast.Inspect(decl, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GenDecl:
					for _, s := range n.Specs {
						if v, ok := s.(*ast.ValueSpec); ok {
							for _, name := range v.Names {
								f(pkg, name.Name, n.Tok == token.CONST)
							}
						}
					}
				case *ast.Field:
					for _, name := range n.Names {
						f(pkg, name.Name, false)
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLimitsTellWhatIsConfigured proves that the rates are those of the
// configuration, and that who is exempt is told.
func TestLimitsTellWhatIsConfigured(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keystead.toml")
	text := "[limits]\nexempt = []\nrates = [\"signup-by-address = 7 per 2h, burst 3\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	usual, set := keystead(t.TempDir(), nil, "limits"), keystead(t.TempDir(), nil, "limits", "--config", file)
	for _, tc := range []struct {
		got  outcome
		want []string
	}{
		{usual, []string{"exempt: 127.0.0.0/8, ::1/128", "20 per 1h, burst 20", "headerBytesMax", "chainLinksMax", "pendingTxMax"}},
		{set, []string{"exempt: nobody", "7 per 2h, burst 3"}},
	} {
		for _, want := range tc.want {
			if tc.got.code != exitOK || !strings.Contains(tc.got.stdout, want) {
				t.Errorf("no %q: %+v", want, tc.got)
			}
		}
	}
	for _, l := range limits.Table() {
		if !strings.Contains(usual.stdout, string(l.Name)) {
			t.Errorf("%s is missing", l.Name)
		}
	}
}

// TestLimitsPageIsFresh proves that the page of the documentation tells the limits of
// the code; run with -update after changing one.
func TestLimitsPageIsFresh(t *testing.T) {
	const path = "../../docs/reference/limits.md"
	want := limitsPage()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Fatalf("docs/reference/limits.md is stale; run `make docs`:\n%s", diff)
	}
}
