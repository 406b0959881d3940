package spec

import (
	"bufio"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write cited.txt anew from the comments")

// root is the module's root, seen from this package.
const root = "../.."

// sourceVariable names a checkout of the client; see TestCitedSymbolsExist.
const sourceVariable = "KEYSTEAD_CLIENT_SRC"

// marker begins a reference in a comment.
const marker = "client:"

var (
	citedFile   = regexp.MustCompile(`^[A-Za-z0-9_+\-./]+\.(?:go|avdl|js|ts|tsx|json|java|mm)\b`)
	citedFolder = regexp.MustCompile(`^(?:go|protocol|shared|github\.com)(?:/[A-Za-z0-9_\-.]*[A-Za-z0-9_\-])+`)
	citedSymbol = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*`)
)

// references parses the text after a marker. It stops where prose begins.
func references(text string) ([]string, error) {
	var out []string
	file := ""
	for {
		text = strings.TrimLeft(text, " \t\n")
		found := citedFile.FindString(text)
		if found == "" {
			found = citedFolder.FindString(text)
		}
		if found != "" {
			text = text[len(found):]
			if !strings.Contains(found, "/") {
				if file == "" {
					return nil, fmt.Errorf("%s has no folder before it", found)
				}
				found = path.Join(path.Dir(file), found)
			}
			file = found
			symbol := ""
			if strings.HasPrefix(text, ":") && len(text) > 1 && !unicode.IsSpace(rune(text[1])) {
				if symbol = citedSymbol.FindString(text[1:]); symbol == "" {
					return nil, fmt.Errorf("what follows %s: is not a symbol; a line number goes stale, write the symbol", file)
				}
				text = text[1+len(symbol):]
				symbol = ":" + symbol
			}
			out = append(out, file+symbol)
		} else {
			symbol := citedSymbol.FindString(text)
			if file == "" || !strings.ContainsFunc(symbol, unicode.IsUpper) {
				break
			}
			rest := text[len(symbol):]
			if rest != "" && !strings.ContainsRune(",.;)\n", rune(rest[0])) {
				break // the first word of a sentence
			}
			text = rest
			out = append(out, file+":"+symbol)
		}
		if !strings.HasPrefix(text, ",") {
			break
		}
		text = text[1:]
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("names no file of the client; write go/...:Symbol, or other words in prose")
	}
	return out, nil
}

// opens says that a marker which stands after this text is meant as one, and not as
// the end of a phrase such as "in the stock client: nothing".
func opens(before string) bool {
	before = strings.TrimRight(before, " ")
	return before == "" || strings.ContainsRune("\n(.;:)", rune(before[len(before)-1]))
}

// TestReferences proves that the shapes of references which the package comment
// promises are read as it says, and that prose after them is not.
func TestReferences(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"go/a/b.go:Foo", "go/a/b.go:Foo"},
		{"go/a/b.go", "go/a/b.go"},
		{"go/a/b.go:Foo.bar. Then prose.", "go/a/b.go:Foo.bar"},
		{"go/a/b.go:Foo, Bar", "go/a/b.go:Foo go/a/b.go:Bar"},
		{"go/a/b.go:Foo, Because of it", "go/a/b.go:Foo"},
		{"go/a/b.go:Foo, and so on", "go/a/b.go:Foo"},
		{"go/a/b.go:Foo, c.go:bar,\ngo/d.go:x", "go/a/b.go:Foo go/a/c.go:bar go/d.go:x"},
		{"go/a/b.go:Foo)", "go/a/b.go:Foo"},
		{"go/a/b, go/c/d.go:e", "go/a/b go/c/d.go:e"},
		{"github.com/keybase/a-b/c. Prose.", "github.com/keybase/a-b/c"},
		{"go/a/b.go:12", "error"},
		{"b.go:Foo, which", "error"},
		{"see above", "error"},
	} {
		got, err := references(tc.text)
		s := strings.Join(got, " ")
		if err != nil {
			s = "error"
		}
		if s != tc.want {
			t.Errorf("%q: got %q, want %q", tc.text, s, tc.want)
		}
	}
}

// TestCitedListIsExact proves that every reference in a comment stands in cited.txt
// and that every line of cited.txt is used; run with -update to write it anew.
func TestCitedListIsExact(t *testing.T) {
	cited := map[string]string{} // reference: where it was first seen
	eachGoFile(t, func(name string) {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "compat/spec/") {
			return // this package talks about references
		}
		for _, group := range file.Comments {
			text := group.Text()
			for i := strings.Index(text, marker); i >= 0; {
				rest := text[i+len(marker):]
				where := fmt.Sprintf("%s:%d", name, set.Position(group.Pos()).Line)
				found, err := references(rest)
				if err != nil && opens(text[:i]) {
					t.Errorf("%s: %s %v", where, marker, err)
				}
				for _, f := range found {
					if _, seen := cited[f]; !seen {
						cited[f] = where
					}
				}
				next := strings.Index(rest, marker)
				if next < 0 {
					break
				}
				i += len(marker) + next
			}
		}
	})
	if *update {
		var lines []string
		for c := range cited {
			lines = append(lines, c)
		}
		slices.Sort(lines)
		if err := os.WriteFile("cited.txt", []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	listed := readList(t)
	for c, where := range cited {
		if !slices.Contains(listed, c) {
			t.Errorf("%s cites %s, which is not in compat/spec/cited.txt; run `make spec`", where, c)
		}
	}
	for _, l := range listed {
		if _, used := cited[l]; !used {
			t.Errorf("compat/spec/cited.txt has %s, which nothing cites; run `make spec`", l)
		}
	}
	if !slices.IsSorted(listed) {
		t.Error("compat/spec/cited.txt is not sorted; run `make spec`")
	}
}

// TestCitedSymbolsExist proves, where a checkout of the client is at hand, that each
// listed file is in it and defines the symbol. Without one there is nothing to
// resolve in, and the test says so: set KEYSTEAD_CLIENT_SRC to the root of a
// checkout of github.com/keybase/client.
func TestCitedSymbolsExist(t *testing.T) {
	source := os.Getenv(sourceVariable)
	if source == "" {
		t.Skipf("%s is not set: no checkout of the client (%s) to resolve in", sourceVariable, ClientRelease)
	}
	defined := map[string]map[string]bool{}
	for _, line := range readList(t) {
		file, symbol, _ := strings.Cut(line, ":")
		if defined[file] == nil {
			full, err := locate(source, file)
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			if defined[file], err = definitions(full); err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
		}
		if symbol != "" && !defined[file][symbol] {
			t.Errorf("%s defines no %s", file, symbol)
		}
	}
}

// locate finds a cited file: in the checkout, or, for a library that the client
// uses, in the module cache at the version the client asks for.
func locate(source, file string) (string, error) {
	if !strings.HasPrefix(file, "github.com/") {
		return filepath.Join(source, filepath.FromSlash(file)), nil
	}
	parts := strings.SplitN(file, "/", 4)
	if len(parts) < 3 {
		return "", fmt.Errorf("no module in %s", file)
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", strings.Join(parts[:3], "/"))
	list.Dir = filepath.Join(source, "go")
	out, err := list.Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		return "", fmt.Errorf("%s is not in the module cache; run go mod download in %s (%v)", strings.Join(parts[:3], "/"), list.Dir, err)
	}
	return filepath.Join(append([]string{dir}, parts[3:]...)...), nil
}

// definitions lists the names that a file defines: functions, types, constants and
// variables, and methods and fields both by themselves and after their type. In a
// file that is not Go, each word counts.
// A folder defines nothing: it is cited as a whole.
func definitions(name string) (map[string]bool, error) {
	out := map[string]bool{}
	if info, err := os.Stat(name); err != nil || info.IsDir() {
		return out, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		for _, w := range strings.FieldsFunc(string(text), func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			out[w] = true
		}
		return out, nil
	}
	member := func(owner string, names ...*ast.Ident) {
		for _, n := range names {
			out[n.Name], out[owner+"."+n.Name] = true, true
		}
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			out[f.Name.Name] = true
			if f.Recv != nil {
				member(receiver(f.Recv.List[0].Type), f.Name)
			}
			continue
		}
		for _, spec := range decl.(*ast.GenDecl).Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, n := range spec.Names {
					out[n.Name] = true
				}
			case *ast.TypeSpec:
				out[spec.Name.Name] = true
				var fields *ast.FieldList
				switch typ := spec.Type.(type) {
				case *ast.StructType:
					fields = typ.Fields
				case *ast.InterfaceType:
					fields = typ.Methods
				default:
					continue
				}
				for _, f := range fields.List {
					member(spec.Name.Name, f.Names...)
				}
			}
		}
	}
	return out, nil
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func readList(t *testing.T) []string {
	t.Helper()
	f, err := os.Open("cited.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		out = append(out, lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// eachGoFile calls f with each Go file of the module, as a path from its root with
// slashes.
func eachGoFile(t *testing.T, f func(name string)) {
	t.Helper()
	eachFile(t, func(name string) {
		if strings.HasSuffix(name, ".go") {
			f(name)
		}
	})
}

// eachFile calls f with each file of the module. Folders that begin with a dot or
// that hold a module of their own are left out, but not .ci.
func eachFile(t *testing.T, f func(name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			if name == "." || name == ".ci" {
				return nil
			}
			if strings.HasPrefix(entry.Name(), ".") || entry.Name() == "keystead-data" {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(full, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if entry.Type().IsRegular() && name != ".git" { // a work tree of git has a file of this name
			f(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
