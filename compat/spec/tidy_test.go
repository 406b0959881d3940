package spec

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fileLinesMax is where a file has two subjects.
const fileLinesMax = 800

// textBytesMax bounds what is searched as text; larger files are data.
const textBytesMax = 1 << 20

// noSubject are names of rooms that everything and nothing fits into.
var noSubject = []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "shared", "lib"}

// TestFilesAreShort proves that no Go file has grown past one subject.
func TestFilesAreShort(t *testing.T) {
	eachGoFile(t, func(name string) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n > fileLinesMax {
			t.Errorf("%s has %d lines, over %d: it has two subjects", name, n, fileLinesMax)
		}
	})
}

// TestPackagesOpenWithTheirContract proves that each package has exactly one file
// with a package comment, in Go's form, and a name that says a subject.
func TestPackagesOpenWithTheirContract(t *testing.T) {
	comments, packages := map[string]int{}, map[string]string{}
	eachGoFile(t, func(name string) {
		if strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testdata/") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(name)
		packages[dir] = file.Name.Name
		if file.Doc == nil {
			return
		}
		comments[dir]++
		want := "Package " + file.Name.Name + " "
		if file.Name.Name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(file.Doc.Text(), want) {
			t.Errorf("%s: its package comment does not begin with %q", name, want)
		}
	})
	for dir, name := range packages {
		if comments[dir] != 1 {
			t.Errorf("%s has %d package comments, not one", dir, comments[dir])
		}
		if slices.Contains(noSubject, name) || slices.Contains(noSubject, path.Base(dir)) {
			t.Errorf("%s: %q says nothing; name the noun that the package owns", dir, name)
		}
	}
}

// TestNoUnfinishedMarks proves that no Go file carries a note to finish it later:
// such notes belong into an issue.
func TestNoUnfinishedMarks(t *testing.T) {
	mark := regexp.MustCompile(`\b(?:TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	eachGoFile(t, func(name string) {
		for i, line := range lines(t, name) {
			if found := mark.FindString(line); found != "" {
				t.Errorf("%s:%d: %s", name, i+1, found)
			}
		}
	})
}

// TestNoMachinePaths proves that no file names a folder of somebody's machine: the
// repository works wherever it is cloned.
func TestNoMachinePaths(t *testing.T) {
	machine := regexp.MustCompile(`(?:^|[\s"'` + "`" + `(=:])(/(?:work|root|Users|home/[a-z]+/[a-z]|tmp/[a-z]+/)[A-Za-z0-9_./-]*)`)
	fits := regexp.MustCompile(`^/(?:work|root|Users)(?:/|$)|^/home/|^/tmp/`)
	eachFile(t, func(name string) {
		if name == "compat/spec/tidy_test.go" || strings.HasSuffix(name, "go.sum") {
			return
		}
		for i, line := range lines(t, name) {
			if found := machine.FindStringSubmatch(line); found != nil && fits.MatchString(found[1]) {
				t.Errorf("%s:%d: a path of one machine: %s", name, i+1, found[1])
			}
		}
	})
}

// lines is a text file by lines; a file of data has none.
func lines(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > textBytesMax || bytes.IndexByte(text, 0) >= 0 {
		return nil
	}
	return strings.Split(string(text), "\n")
}
