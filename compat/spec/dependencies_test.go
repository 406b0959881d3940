package spec

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDependenciesAreDecisions proves that each module which our code imports has a
// line in docs/design/dependencies.md, and that each line there is still imported.
func TestDependenciesAreDecisions(t *testing.T) {
	const page = "docs/design/dependencies.md"
	reasons := map[string]bool{}
	row := regexp.MustCompile("^\\| `([^`]+)` \\|")
	for _, line := range lines(t, page) {
		if m := row.FindStringSubmatch(line); m != nil {
			reasons[m[1]] = true
		}
	}
	required := map[string]bool{}
	entry := regexp.MustCompile(`^(?:require)?\s*([a-z0-9.]+\.[a-z]+/\S+) v\S+`)
	for _, line := range lines(t, "go.mod") {
		if m := entry.FindStringSubmatch(line); m != nil {
			required[m[1]] = true
		}
	}
	used := map[string]string{} // module: a file that imports it
	eachGoFile(t, func(name string) {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if m := moduleOf(imported, required); m != "" {
				used[m] = name
			}
		}
	})
	for module, name := range used {
		if !reasons[module] {
			t.Errorf("%s imports %s, which has no line in %s: say why it is here and what else was looked at", name, module, page)
		}
	}
	for module := range reasons {
		if used[module] == "" {
			t.Errorf("%s has a line for %s, which nothing imports", page, module)
		}
	}
	if len(used) == 0 {
		t.Error("no import was found: the test looked in the wrong place")
	}
}

// moduleOf is the required module with the longest name that holds a package.
func moduleOf(imported string, required map[string]bool) string {
	for name := imported; strings.Contains(name, "/"); name = name[:strings.LastIndexByte(name, '/')] {
		if required[name] {
			return name
		}
	}
	return ""
}

// TestLinksResolve proves that every relative link in a page leads to a file.
func TestLinksResolve(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	eachFile(t, func(name string) {
		if !strings.HasSuffix(name, ".md") {
			return
		}
		for i, line := range lines(t, name) {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), filepath.FromSlash(m[1]))); err != nil {
					t.Errorf("%s:%d: %s leads nowhere", name, i+1, m[1])
				}
			}
		}
	})
}
