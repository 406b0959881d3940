package preflight

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLinesForFailures proves that failures which a test machine does not have on
// demand get one line each that says what to change. Those that it has are in the
// command's table of mistakes.
func TestLinesForFailures(t *testing.T) {
	wrapped := func(err error) error {
		return fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: "/srv", Err: err})
	}
	for want, line := range map[string]string{
		"full disk; make room":    whyNotWritten("/srv", wrapped(syscall.ENOSPC)),
		"full disk;":              whyNotWritten("/srv", wrapped(syscall.EDQUOT)),
		"reading only; mount":     whyNotWritten("/srv", wrapped(syscall.EROFS)),
		"chown":                   whyNotWritten("/srv", wrapped(syscall.EACCES)),
		"too many open files":     whyNotWritten("/srv", &fs.PathError{Op: "open", Path: "/srv", Err: syscall.EMFILE}),
		"CAP_NET_BIND_SERVICE":    WhyNotListening("127.0.0.1:80", wrapped(syscall.EACCES)),
		"does not know; write":    WhyNotListening("nowhere.invalid:80", &net.DNSError{Err: "no such host", Name: "nowhere.invalid"}),
		"cannot be listened on (": WhyNotListening("127.0.0.1:80", errors.New("two\nlines")),
	} {
		if !strings.Contains(line, want) || strings.Contains(line, "\n") || !strings.Contains(line, ";") {
			t.Errorf("%q does not say %q", line, want)
		}
	}
	if why := whyNotWritten("/srv", nil); why != "" {
		t.Errorf("no failure: %q", why)
	}
}

// TestInside proves that a path is found to be in a folder through links and before it
// exists, and that a neighbour whose name begins alike is not.
func TestInside(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Mkdir(at("data"), 0o700), os.Symlink(at("data"), at("link"))); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"data": true, "data/mark": true, "data/a/b/c": true, "link/mark": true, "data/../link/new/mark": true,
		"data.highwater": false, "mark": false, "data/../mark": false, "..": false, "dataset/mark": false,
	} {
		if got := inside(at(path), at("data")); got != want {
			t.Errorf("%s: %t", path, got)
		}
		if got := inside(at(path), at("link")); got != want {
			t.Errorf("%s, by the link: %t", path, got)
		}
	}
}

// TestTrialLeavesNothing proves that a look at a folder changes nothing in it.
func TestTrialLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if why := trial(dir); why != "" {
		t.Fatal(why)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Fatalf("%v %v", files, err)
	}
}
