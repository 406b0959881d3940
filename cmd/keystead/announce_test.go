package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestAnnounce proves that an operator can announce something on a running server and on a
// stopped one, sees it in the list until it is withdrawn, and is told in a sentence what
// cannot be announced.
func TestAnnounce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := startServer(t, dir)
	made := verb("announce", "new", "The server moves on Sunday.", "--link", "https://example.org/move", "--data", dir)
	number := strings.TrimSpace(made.stdout)
	if made.code != exitOK || number != "10001" || !strings.Contains(made.stderr, "shown until") {
		t.Fatalf("%+v", made)
	}
	s.end(t)
	if got := verb("announce", "new", "Welcome back.", "--expires", "36h", "--data", dir); got.code != exitOK || !strings.Contains(got.stderr, "No server runs") {
		t.Fatalf("%+v", got)
	}
	if got := verb("announce", "withdraw", number, "--data", dir); got.code != exitOK || !strings.Contains(got.stdout, "withdrawn: announcement 10001") {
		t.Fatalf("%+v", got)
	}
	list := verb("announce", "list", "--data", dir)
	lines := strings.Split(strings.TrimSpace(list.stdout), "\n")
	if list.code != exitOK || len(lines) != 3 || !strings.Contains(lines[1], "10002   open") || !strings.Contains(lines[2], "10001   withdrawn") {
		t.Fatalf("%+v", list)
	}
	if got := verb("announce", "list", "--json", "--data", dir); got.code != exitOK || !strings.Contains(got.stdout, `"label": "Read more"`) {
		t.Fatalf("%+v", got)
	}
	for want, args := range map[string][]string{
		"one paragraph":       {"new", ""},
		"begins with https":   {"new", "x", "--link", "ftp://example.org"},
		"a year at most":      {"new", "x", "--expires", "800d"},
		"takes the TEXT":      {"new"},
		"no such":             {"withdraw", "10001"},
		"is no number":        {"withdraw", "first"},
		"is not a time":       {"new", "x", "--expires", "soon"},
		"belongs to a link":   {"new", "x", "--label", "Go"},
		"takes the NUMBER of": {"withdraw"},
	} {
		if got := verb(append(append([]string{"announce"}, args...), "--data", dir)...); got.code == exitOK || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := verb("verify", "--data", dir); got.code != exitOK {
		t.Fatalf("%+v", got)
	}
}
