package client

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// lie is one way in which a server may cheat: tell sets it up in a scene that was
// honest so far and returns what the client then says.
type lie struct {
	rule Rule
	name string
	tell func(*scene) error
}

// on lies in the answers of one endpoint.
func (s *scene) on(endpoint string, f func(q url.Values, reply map[string]any)) {
	s.world.lie = func(e string, q url.Values, reply map[string]any) {
		if e == endpoint {
			f(q, reply)
		}
	}
}

// edited publishes a root whose payload is changed before the world signs it.
func (s *scene) edited(f func(payload, body map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish(func(p map[string]any) { f(p, p["body"].(map[string]any)) })
}

func (s *scene) refresh() error {
	_, err := s.v.RefreshRoot(s.t.Context())
	return err
}

// Every lie is noticed, for the reason that makes it a lie.
func TestLies(t *testing.T) {
	for _, table := range [][]lie{rootLies, pathLies, linkLies, chainLies, otherLies, teamLies, hiddenLies} {
		for _, l := range table {
			t.Run(string(l.rule)+"/"+l.name, func(t *testing.T) {
				t.Parallel()
				err := l.tell(newScene(t))
				if err == nil {
					t.Fatal("the lie was believed")
				}
				if got := ViolatedRule(err); got != l.rule {
					t.Fatalf("noticed as %q: %v", got, err)
				}
			})
		}
	}
}

// Each rule of this package has a lie, so that no check can be lost unnoticed.
func TestEveryRuleHasALie(t *testing.T) {
	told := make(map[string]bool)
	for _, table := range [][]lie{rootLies, pathLies, linkLies, chainLies, otherLies, teamLies, hiddenLies} {
		for _, l := range table {
			told[string(l.rule)] = true
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range rulesOf(f) {
			rules++
			rule, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil || !told[rule] {
				t.Errorf("no lie breaks %s", spec.Names[0].Name)
			}
		}
	}
	if rules < 45 {
		t.Errorf("found %d rules only", rules)
	}
}

// rulesOf lists the rules that a file names.
func rulesOf(f *ast.File) (out []*ast.ValueSpec) {
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Rule" && len(spec.Values) == 1 {
			out = append(out, spec)
		}
		return true
	})
	return out
}
