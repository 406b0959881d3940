package reports

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func openBox(t *testing.T, fs vfs.FS, logs int64, now *time.Time) *Box {
	t.Helper()
	b, err := Open(Options{FS: fs, Dir: "/r", Clock: func() time.Time { *now = now.Add(time.Second); return *now }, Rand: rand.Reader, LogsBytesMax: logs})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTheOldestLogsMakeRoom proves that logs never use more of the disk than allowed,
// that the newest are kept, and that this holds across restarts.
func TestTheOldestLogsMakeRoom(t *testing.T) {
	fs, now := vfs.NewMem(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := openBox(t, fs, 1000, &now)
	var ids []string
	for i := range 10 {
		if i == 5 {
			b = openBox(t, fs, 1000, &now)
		}
		id, err := b.Keep(Logs, map[string]int{"n": i}, []File{{"keybase_log_gz", bytes.Repeat([]byte{1}, 300)}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	left, err := fs.List("/r/logs")
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 3 {
		t.Fatalf("%d reports of some 310 bytes are left of 1000", len(left))
	}
	all := strings.Join(left, " ")
	for i, id := range ids {
		if strings.Contains(all, id) != (i >= 7) {
			t.Errorf("report %d: %v", i, left)
		}
	}
	if _, err := b.Keep(Logs, nil, []File{{"x", make([]byte, 1001)}}); !errors.Is(err, ErrFull) {
		t.Errorf("larger than all: %v", err)
	}
}

// TestNothingSentDecidesWhereItGoes proves that no name leads out of a report's folder.
func TestNothingSentDecidesWhereItGoes(t *testing.T) {
	fs, now := vfs.NewMem(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := openBox(t, fs, 1<<20, &now)
	_, err := b.Keep(Complaints, nil, []File{
		{"../../../etc/passwd", []byte("x")}, {"..", []byte("y")}, {"", []byte("z")}, {strings.Repeat("a", 500), nil}, {"about.json\x00", nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("/")
	if err != nil || len(names) != 1 {
		t.Fatalf("%v %v", names, err)
	}
	folders, err := fs.List("/r/complaints")
	if err != nil || len(folders) != 1 {
		t.Fatalf("%v %v", folders, err)
	}
	files, err := fs.List("/r/complaints/" + folders[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if safeName(f) != f {
			t.Errorf("a file is called %q", f)
		}
	}
}
