//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/cmd/keystead/ops"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/cmd/keystead/tlsfile/testca"
)

// tlsServer is a real server with certificates on both doors.
type tlsServer struct {
	*server
	ca        *testca.CA
	cert, key string
	root      string // PEM file
	e         ops.Endpoints
}

func startTLSServer(t *testing.T) *tlsServer {
	t.Helper()
	dir := t.TempDir()
	s := &tlsServer{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), root: filepath.Join(dir, "root.pem")}
	var err error
	if s.ca, err = testca.New(time.Now()); err != nil {
		t.Fatal(err)
	}
	s.renew(t)
	config := filepath.Join(dir, "keystead.toml")
	text := fmt.Sprintf("[http]\ntls_cert = %q\ntls_key = %q\n[rpc]\ntls_cert = %q\ntls_key = %q\n", s.cert, s.key, s.cert, s.key)
	if err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.WriteFile(s.root, s.ca.PEM(), 0o644)); err != nil {
		t.Fatal(err)
	}
	s.server = startServer(t, filepath.Join(dir, "data"), "--config", config)
	s.e = endpoints(t, s.dir)
	return s
}

// renew replaces the pair on disk.
func (s *tlsServer) renew(t *testing.T) {
	t.Helper()
	if err := s.ca.Write(testca.Leaf{}, s.cert, s.key); err != nil {
		t.Fatal(err)
	}
}

// verifier is a strict client that trusts the server's root and no other.
func (s *tlsServer) verifier(t *testing.T) *client.Verifier {
	t.Helper()
	kid, err := client.ParseKID(s.e.MerkleKID)
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewServer(s.e.ServerURI, []client.KID{kid}, time.Now, rand.Reader)
	c.HTTP.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: s.ca.Pool()}
	t.Cleanup(c.Close)
	return client.NewVerifier(c, nil)
}

// rpcPing calls gregor.1.incoming.ping in a frame: its length, then the call.
func rpcPing(t *testing.T, conn net.Conn) {
	t.Helper()
	const method = "gregor.1.incoming.ping"
	call := append([]byte{0x94, 0x00, 0x01, 0xa0 | byte(len(method))}, method...)
	call = append(call, 0x91, 0x80)
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(append([]byte{byte(len(call))}, call...)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 64)
	if n, err := conn.Read(answer); err != nil || !strings.Contains(string(answer[:n]), "pong") {
		t.Fatalf("%q %v", answer[:n], err)
	}
}

func (s *tlsServer) dial(t *testing.T, uri string) (conn *tls.Conn, serial string) {
	t.Helper()
	_, address, _ := strings.Cut(uri, "://")
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: s.ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// TestBothDoorsOverTLS proves that with certificates clients are told addresses that
// say so, that a client which trusts the root lives a whole life there, that one which
// does not is kept out, and that a renewed certificate serves new connections, by
// command and by signal, while open ones live on.
func TestBothDoorsOverTLS(t *testing.T) {
	ctx := context.Background()
	s := startTLSServer(t)
	if !strings.HasPrefix(s.e.ServerURI, "https://") || !strings.HasPrefix(s.e.PushURI, "fmprpc+tls://") {
		t.Fatalf("clients are told %+v", s.e)
	}
	v := s.verifier(t)
	signUp := func(name string) *client.Account {
		t.Helper()
		a, err := client.Signup(ctx, v, client.SignupOptions{Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	alice, bobby := signUp("alice"), signUp("bobby")
	if err := alice.Follow(ctx, bobby.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := http.Get(s.e.ServerURI + "/_/api/1.0/merkle/root.json"); err == nil {
		t.Fatal("a client that does not know the root was answered")
	}
	old, first := s.dial(t, s.e.PushURI)
	rpcPing(t, old)

	for i, ask := range []func(){
		func() {
			if got := verb("reload", "--data", s.dir); got.code != exitOK || !strings.Contains(got.stdout, "http: taken") || !strings.Contains(got.stdout, "rpc: taken") {
				t.Fatalf("%+v", got)
			}
		},
		func() {
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			s.await(t, "certificate taken", 6) // both doors, for the third time
		},
	} {
		s.renew(t)
		ask()
		for _, uri := range []string{s.e.ServerURI, s.e.PushURI} {
			conn, serial := s.dial(t, uri)
			if serial != fmt.Sprint(i+3) {
				t.Fatalf("%s shows certificate %s after renewal %d", uri, serial, i+1)
			}
			if uri == s.e.PushURI {
				rpcPing(t, conn)
			}
		}
	}
	rpcPing(t, old)
	if first != "2" {
		t.Fatalf("the first certificate was %s", first)
	}

	// A bad pair is refused, and the good one stays.
	if err := os.WriteFile(s.key, []byte("lost\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := verb("reload", "--data", s.dir)
	if got.code != exitFailure || strings.Count(got.stdout, "not taken: ") != 2 || strings.Contains(got.stderr, "panic") {
		t.Fatalf("%+v", got)
	}
	if _, serial := s.dial(t, s.e.ServerURI); serial != "4" {
		t.Fatalf("a bad pair brought certificate %s", serial)
	}
	if err := bobby.Follow(ctx, alice.UID); err != nil {
		t.Fatal(err)
	}
	s.renew(t)
	s.end(t)
}

// TestClientEnvWithRoots proves that client-env writes the root for both doors into the
// client's configuration, says so where it cannot, and refuses a file that would keep
// clients out or give a secret away.
func TestClientEnvWithRoots(t *testing.T) {
	s := startTLSServer(t)
	config := filepath.Join(filepath.Dir(s.dir), "keystead.toml")
	got := verb("client-env", "--data", s.dir, "--format", "json", "--ca", s.root)
	var told struct {
		Roots map[string]string `json:"bundled_ca"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &told); err != nil || told.Roots["127.0.0.1"] != string(s.ca.PEM()) {
		t.Errorf("%v: %+v", err, got)
	}
	if got := verb("client-env", "--data", s.dir, "--format", "config", "--ca", s.root, "--config", config); got.code != exitOK || !strings.Contains(got.stdout, "config set -o bundled_ca ") {
		t.Errorf("%+v", got)
	}
	if got := verb("client-env", "--data", s.dir); got.code != exitOK || !strings.Contains(got.stderr, "--ca") {
		t.Errorf("without a root nothing is said: %+v", got)
	}
	if !strings.Contains(s.stdout.String(), "--ca ROOT.pem") {
		t.Errorf("serve does not say it:\n%s", s.stdout)
	}
	other, err := testca.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stranger := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(stranger, other.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ file, format, want string }{
		{stranger, "config", "does not lead to a root"},
		{s.key, "config", "private key"},
		{keyfile.Path(s.dir), "config", "private key"},
		{config, "config", "no certificate"},
		{"/no/such/file", "config", "no such file"},
		{s.root, "sh", "the format config"},
	} {
		got := verb("client-env", "--data", s.dir, "--config", config, "--format", tc.format, "--ca", tc.file)
		if got.code != exitFailure || got.stdout != "false\n" || !strings.Contains(got.stderr, tc.want) {
			t.Errorf("%s: %+v", tc.file, got)
		}
	}
	s.end(t)
}
