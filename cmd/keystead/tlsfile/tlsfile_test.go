package tlsfile

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/keystead/keystead/cmd/keystead/tlsfile/testca"
)

// scene is a folder with a pair in it, and an authority.
type scene struct {
	t     *testing.T
	ca    *testca.CA
	files Files
	now   time.Time
	log   bytes.Buffer
}

func newScene(t *testing.T) *scene {
	t.Helper()
	return newSceneAt(t, time.Now())
}

// newSceneAt issues certificates for an hour before and after now.
func newSceneAt(t *testing.T, now time.Time) *scene {
	t.Helper()
	dir := t.TempDir()
	s := &scene{t: t, files: Files{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}, now: now}
	var err error
	if s.ca, err = testca.New(s.now); err != nil {
		t.Fatal(err)
	}
	s.write(testca.Leaf{})
	return s
}

func (s *scene) write(l testca.Leaf) {
	s.t.Helper()
	if err := s.ca.Write(l, s.files.Cert, s.files.Key); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) put(path, text string, mode os.FileMode) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) open() *Keeper {
	s.t.Helper()
	k, err := Open("http", s.files, slog.New(slog.NewTextHandler(&s.log, nil)), func() time.Time { return s.now })
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

// TestLoad proves, fault by fault, which pairs are refused, which file is blamed, and
// that each line says what to change.
func TestLoad(t *testing.T) {
	datadriven.RunTest(t, "testdata/load", func(t *testing.T, d *datadriven.TestData) string {
		// Begin and end lie on two days, so that texts with days only tell them apart.
		s := newSceneAt(t, time.Date(2026, 7, 1, 23, 30, 0, 0, time.UTC))
		at := s.now
		read := func(path string) string {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		switch d.Cmd {
		case "good":
		case "both-in-one":
			both := read(s.files.Cert) + read(s.files.Key)
			s.put(s.files.Key, both, 0o600)
			s.files.Cert = s.files.Key
		case "no-certificate-file":
			os.Remove(s.files.Cert)
		case "no-key-file":
			os.Remove(s.files.Key)
		case "certificate-is-a-folder":
			s.files.Cert = filepath.Dir(s.files.Cert)
		case "certificate-is-text":
			s.put(s.files.Cert, "see the wiki\n", 0o644)
		case "certificate-is-a-key":
			s.put(s.files.Cert, read(s.files.Key), 0o644)
		case "key-is-a-certificate":
			s.put(s.files.Key, read(s.files.Cert), 0o600)
		case "certificate-is-broken":
			s.put(s.files.Cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o644)
		case "key-is-locked":
			s.put(s.files.Key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", 0o600)
		case "huge":
			s.put(s.files.Cert, strings.Repeat("x", fileBytesMax+1), 0o644)
		case "key-of-another":
			key := read(s.files.Key)
			s.write(testca.Leaf{})
			s.put(s.files.Key, key, 0o600)
		case "key-for-everybody":
			s.put(s.files.Key, read(s.files.Key), 0o644)
		case "key-for-a-group":
			s.put(s.files.Key, read(s.files.Key), 0o640)
		case "expired":
			at = at.Add(2 * time.Hour)
		case "not-yet":
			at = at.Add(-2 * time.Hour)
		case "nameless":
			s.write(testca.Leaf{Nameless: true})
		case "for-clients":
			s.write(testca.Leaf{ForClient: true})
		default:
			t.Fatalf("unknown case %s", d.Cmd)
		}
		_, err := Load(s.files, at)
		if err == nil {
			return "ok\n"
		}
		fault, isFault := err.(*Fault)
		if !isFault || strings.Contains(err.Error(), "\n") {
			t.Fatalf("not a fault of one line: %v", err)
		}
		text := strings.NewReplacer(s.files.Cert, "CERT", s.files.Key, "KEY").Replace(fault.Error())
		text = strings.ReplaceAll(text, filepath.Dir(s.files.Key), "DIR")
		for when, name := range map[time.Time]string{s.now.Add(time.Hour): "END", s.now.Add(-time.Hour): "BEGIN"} {
			text = strings.NewReplacer(when.UTC().Format(time.RFC3339), name, when.UTC().Format(time.DateOnly), name).Replace(text)
		}
		file := "cert: "
		if fault.InKey {
			file = "key: "
		}
		return file + text + "\n"
	})
}

// listen answers TLS connections with one byte, by the keeper's certificate.
func (s *scene) listen(k *Keeper) string {
	s.t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { plain.Close() })
	ln := tls.NewListener(plain, k.Config())
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var b [1]byte
				for {
					if _, err := conn.Read(b[:]); err != nil {
						return
					}
					if _, err := conn.Write(b[:]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return plain.Addr().String()
}

// serial connects and says which certificate it was shown.
func (s *scene) serial(addr string) (*tls.Conn, string) {
	s.t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: s.ca.Pool()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn, conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func alive(t *testing.T, conn net.Conn) {
	t.Helper()
	var b [1]byte
	if _, err := conn.Write([]byte{7}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(b[:]); err != nil || b[0] != 7 {
		t.Fatalf("%v %v", b, err)
	}
}

// TestReload proves that a new pair serves new connections at once, by request and by
// polling, that open connections live on, and that a bad pair changes nothing.
func TestReload(t *testing.T) {
	s := newScene(t)
	k := s.open()
	addr := s.listen(k)
	old, first := s.serial(addr)
	if taken, err := k.Reload(); taken || err != nil {
		t.Fatalf("nothing changed: %v %v", taken, err)
	}

	s.write(testca.Leaf{})
	if taken, err := k.Reload(); !taken || err != nil {
		t.Fatalf("a new pair: %v %v", taken, err)
	}
	second, number := s.serial(addr)
	if number == first {
		t.Fatal("a new connection got the old certificate")
	}
	s.write(testca.Leaf{})
	k.Poll()
	if _, polled := s.serial(addr); polled == number {
		t.Fatal("polling did not see the new pair")
	} else {
		number = polled
	}

	s.put(s.files.Cert, "see the wiki\n", 0o644)
	if taken, err := k.Reload(); taken || err == nil {
		t.Fatalf("a bad pair: %v %v", taken, err)
	}
	if _, now := s.serial(addr); now != number {
		t.Fatal("a bad pair was taken")
	}
	alive(t, old)
	alive(t, second)
}

// TestPollBetweenTwoFiles proves that a pair which is just being replaced, one file
// after the other, is not complained of, and that one which stays bad is, once.
func TestPollBetweenTwoFiles(t *testing.T) {
	s := newScene(t)
	k := s.open()
	complaints := func() int { return strings.Count(s.log.String(), "cannot be used") }
	cert, key, err := s.ca.Issue(testca.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	s.put(s.files.Cert, string(cert), 0o644)
	k.Poll()
	s.put(s.files.Key, string(key), 0o600)
	k.Poll()
	if complaints() != 0 || strings.Count(s.log.String(), "certificate taken") != 2 {
		t.Fatalf("log:\n%s", &s.log)
	}
	if err := os.Remove(s.files.Key); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		k.Poll()
	}
	if complaints() != 1 {
		t.Fatalf("log:\n%s", &s.log)
	}
	if strings.Contains(s.log.String(), "PRIVATE") {
		t.Fatal("key material in the log")
	}
}

// TestComingEndIsLoggedDaily proves that a certificate near its end is warned of each
// day, not at each look.
func TestComingEndIsLoggedDaily(t *testing.T) {
	s := newScene(t)
	s.write(testca.Leaf{Ends: 72 * time.Hour})
	k := s.open()
	for range 60 {
		k.Poll()
		s.now = s.now.Add(time.Hour)
	}
	if n := strings.Count(s.log.String(), "ends soon"); n != 3 {
		t.Fatalf("%d warnings:\n%s", n, &s.log)
	}
}

// TestOldTLSIsRefused proves that nothing below TLS 1.2 is spoken.
func TestOldTLSIsRefused(t *testing.T) {
	s := newScene(t)
	addr := s.listen(s.open())
	if conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: s.ca.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		conn.Close()
		t.Fatal("TLS 1.1 was spoken")
	}
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: s.ca.Pool(), MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	alive(t, conn)
	conn.Close()
}
