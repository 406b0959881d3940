package ops

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
)

const someKID = "0120" + "11223344556677889900aabbccddeeff11223344556677889900aabbccddeeff" + "0a"

func someEndpoints() Endpoints {
	return Endpoints{ServerURI: "http://127.0.0.1:3000", PushURI: "fmprpc://127.0.0.1:9911", MerkleKID: someKID, Ops: "127.0.0.1:3001"}
}

// TestClientEnv proves, transcript by transcript, the exact lines of every format.
func TestClientEnv(t *testing.T) {
	datadriven.RunTest(t, "testdata/clientenv", func(t *testing.T, d *datadriven.TestData) string {
		e := someEndpoints()
		d.MaybeScanArgs(t, "server", &e.ServerURI)
		d.MaybeScanArgs(t, "push", &e.PushURI)
		d.MaybeScanArgs(t, "kid", &e.MerkleKID)
		e.Devel = d.HasArg("devel")
		var roots *Roots
		if d.HasArg("roots") {
			roots = &Roots{pem: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}
		}
		text, err := ClientEnv(e, d.Cmd, roots)
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		return text
	})
}

// TestQuoteShSurvivesAShell proves that no value can become anything but one word
// for the shell that evaluates it, whatever quotes and marks are in it.
func TestQuoteShSurvivesAShell(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.StringMatching(`[ -~]{0,40}`).Draw(t, "value")
		out, err := exec.Command("sh", "-c", "printf %s "+QuoteSh(want)).Output()
		if err != nil || string(out) != want {
			t.Fatalf("%q came out as %q: %v", want, out, err)
		}
	})
}

// TestExportLinesWorkInAShell proves that eval of the sh format sets the variables
// for a child, and that eval of the unset format takes them away.
func TestExportLinesWorkInAShell(t *testing.T) {
	e := someEndpoints()
	set, err := ClientEnv(e, FormatSh, nil)
	if err != nil {
		t.Fatal(err)
	}
	unset, err := ClientEnv(e, FormatUnset, nil)
	if err != nil {
		t.Fatal(err)
	}
	const show = `sh -c 'echo "$KEYBASE_SERVER_URI|$KEYBASE_PUSH_SERVER_URI|$KEYBASE_MERKLE_KIDS"'`
	script := "eval " + QuoteSh(set) + "\n" + show + "\neval " + QuoteSh(unset) + "\n" + show
	out, err := exec.Command("sh", "-eu", "-c", script).Output()
	if want := e.ServerURI + "|" + e.PushURI + "|" + e.MerkleKID + "\n||\n"; err != nil || string(out) != want {
		t.Fatalf("got %q, want %q: %v", out, want, err)
	}
}

// TestEndpointsRoundTrip proves that what serve writes is what the verbs read, that
// a later start replaces it, and that no temporary file stays.
func TestEndpointsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadEndpoints(dir); !errors.Is(err, ErrNotStarted) {
		t.Fatalf("an empty folder: %v", err)
	}
	first, second := someEndpoints(), someEndpoints()
	second.ServerURI = "https://keys.example.org"
	for _, e := range []Endpoints{first, second} {
		if err := WriteEndpoints(dir, e); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadEndpoints(dir); err != nil || got != e {
			t.Fatalf("got %+v, want %+v: %v", got, e, err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("files in the folder: %v %v", files, err)
	}
}

// TestBadEndpointsAreRefused proves that nothing reaches a shell which serve could
// not have written, and that the error says what to do.
func TestBadEndpointsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Endpoints){
		"no server":   func(e *Endpoints) { e.ServerURI = "" },
		"no push":     func(e *Endpoints) { e.PushURI = "" },
		"newline":     func(e *Endpoints) { e.ServerURI = "http://a\nrm -r /" },
		"space":       func(e *Endpoints) { e.PushURI = "fmprpc://a b" },
		"not a kid":   func(e *Endpoints) { e.MerkleKID = "0120" },
		"another key": func(e *Endpoints) { e.MerkleKID = "0121" + someKID[4:] },
	} {
		e := someEndpoints()
		spoil(&e)
		if err := WriteEndpoints(t.TempDir(), e); err == nil {
			t.Errorf("%s: written", name)
		}
		if _, err := ClientEnv(e, FormatSh, nil); err == nil {
			t.Errorf("%s: shown", name)
		}
		dir := t.TempDir()
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, endpointsName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadEndpoints(dir); err == nil || !strings.Contains(err.Error(), "start the server again") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReadEndpoints proves that no file makes the reader panic and that what it
// takes can be shown in every format.
func FuzzReadEndpoints(f *testing.F) {
	text, err := json.Marshal(someEndpoints())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("{"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, endpointsName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := ReadEndpoints(dir)
		if err != nil {
			return
		}
		for _, format := range Formats() {
			if _, err := ClientEnv(e, format, nil); err != nil {
				t.Fatalf("%s: %v", format, err)
			}
		}
	})
}

// TestHealth proves that only a listener which says 200 in time is healthy, and
// that each other outcome has a line of its own.
func TestHealth(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" || r.Method != http.MethodGet {
			t.Errorf("asked for %s %s", r.Method, r.URL.Path)
		}
		io.WriteString(w, "ok\n")
	}))
	defer server.Close()
	sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "store is read-only", http.StatusServiceUnavailable)
	}))
	defer sick.Close()
	moved := httptest.NewServer(http.RedirectHandler(server.URL+"/healthz", http.StatusFound))
	defer moved.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(release)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()

	host := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	for _, tc := range []struct{ name, address, line, err string }{
		{"well", host(server), "healthy: " + host(server) + " answers: ok\n", ""},
		{"sick", host(sick), "", "store is read-only"},
		{"moved", host(moved), "", "302"},
		{"silent", host(silent), "", "no answer in time"},
		{"nobody", nobody, "", "is the server running?"},
		{"off", "", "", "ops.listen"},
	} {
		timeout := 10 * time.Second
		if tc.name == "silent" {
			timeout = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		var out bytes.Buffer
		err := Health(ctx, tc.address, &out)
		cancel()
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) || out.String() != tc.line {
			t.Errorf("%s: wrote %q, error %v", tc.name, out.String(), err)
		}
	}
}

// TestVerify proves that a folder without a server, with a lost key, or with data
// that does not stand up is told from a good one.
func TestVerify(t *testing.T) {
	good := t.TempDir()
	if _, _, err := keyfile.LoadOrCreate(good, rand.Reader); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	lost := t.TempDir()
	if _, _, err := keyfile.LoadOrCreate(lost, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(keyfile.Path(lost)); err != nil {
		t.Fatal(err)
	}
	forked := errors.New("root 5323660 does not follow from root 5323659")
	for _, tc := range []struct {
		name, dir string
		audit     error
		want      string
	}{
		{"good", good, nil, ""},
		{"bad data", good, forked, forked.Error()},
		{"missing", filepath.Join(good, "nowhere"), nil, ErrNotStarted.Error()},
		{"empty", t.TempDir(), nil, ErrNotStarted.Error()},
		{"not a folder", file, nil, "not a folder"},
		{"lost key", lost, nil, "backup"},
	} {
		var out bytes.Buffer
		audited := false
		err := Verify(context.Background(), tc.dir, 0, &out, func(context.Context, string, int, io.Writer) error {
			audited = true
			return tc.audit
		})
		if tc.want == "" {
			if err != nil || !audited || !strings.Contains(out.String(), "verified: "+tc.dir) {
				t.Errorf("%s: %v, wrote %q", tc.name, err, out.String())
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(out.String(), "verified") {
			t.Errorf("%s: %v, wrote %q", tc.name, err, out.String())
		}
	}
}
