// Package tlsfile keeps the certificate of a door as it stands in two PEM files, and
// takes a new one while the door is open.
//
// Promises: a pair that stock clients would refuse (key of another certificate, out of
// its dates, without a name, key that everybody can read) is never taken, with one
// line that says what to change; on a reload the pair that was good stays until a
// good one is there, so that the two files may be replaced one after the other.
// Connections that are open keep what they began with.
//
// Files are compared by content, so that a replaced file, a replaced symbolic link
// and a replaced folder are all seen. The package logs what it takes and what it
// leaves; it never logs key material. It reads no clock by itself.
package tlsfile

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// fileBytesMax bounds a PEM file; a chain of ten certificates has 20 kB.
	fileBytesMax = 1 << 20
	// PollInterval is how often a server looks whether the files have changed.
	PollInterval = 30 * time.Second
	// endsSoon is when the end of a certificate becomes a warning, each warnInterval.
	endsSoon     = 7 * 24 * time.Hour
	warnInterval = 24 * time.Hour
)

// Files names the two files of a pair.
type Files struct{ Cert, Key string }

// Fault is what is wrong with a pair. InKey says that the key file is to blame, else
// it is the certificate file.
type Fault struct {
	InKey bool
	Text  string // what is wrong and what to change, one line
}

func (f *Fault) Error() string { return f.Text }

func certFault(format string, args ...any) error { return &Fault{Text: fmt.Sprintf(format, args...)} }
func keyFault(format string, args ...any) error {
	return &Fault{InKey: true, Text: fmt.Sprintf(format, args...)}
}

// Load reads a pair and says what would keep clients from taking it at the given
// time; the error is a *Fault.
func Load(f Files, now time.Time) (*tls.Certificate, error) {
	texts, err := f.read()
	if err != nil {
		return nil, err
	}
	return parse(f, texts, now)
}

// pair is the content of both files.
type pair struct{ cert, key []byte }

func (p pair) equal(q pair) bool { return bytes.Equal(p.cert, q.cert) && bytes.Equal(p.key, q.key) }

func (f Files) read() (p pair, err error) {
	if p.cert, err = readPEM(f.Cert); err != nil {
		return p, certFault("%s", err)
	}
	if p.key, err = readPEM(f.Key); err != nil {
		return p, keyFault("%s", err)
	}
	if info, err := os.Stat(f.Key); err == nil && hasBlock(p.key, "PRIVATE KEY") && runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		return p, keyFault("%s can be read or written by every account (mode %04o); run: chmod 640 %s", f.Key, info.Mode().Perm(), f.Key)
	}
	return p, nil
}

// readPEM reads a file of PEM blocks; the error says what to change.
func readPEM(path string) ([]byte, error) {
	file, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist; write the path of a PEM file", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s cannot be read by this account; give the server's account the right to read it", path)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read (%s); write the path of a PEM file", path, reason(err))
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, fileBytesMax+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read (%s); write the path of a PEM file", path, reason(err))
	case len(text) > fileBytesMax:
		return nil, fmt.Errorf("%s has more than %d bytes; write the path of a PEM file", path, fileBytesMax)
	}
	if block, _ := pem.Decode(text); block == nil {
		return nil, fmt.Errorf("%s is not a PEM file; it has to begin with a line such as -----BEGIN CERTIFICATE-----", path)
	}
	return text, nil
}

// reason is an error without the path that the sentence has already.
func reason(err error) string {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// hasBlock says whether a PEM text has a block of the kind.
func hasBlock(text []byte, kind string) bool {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, kind) {
			return true
		}
		text = rest
	}
}

func parse(f Files, p pair, now time.Time) (*tls.Certificate, error) {
	switch {
	case !hasBlock(p.cert, "CERTIFICATE"):
		return nil, certFault("%s has no certificate in it; write the path of the certificate's PEM file here and the key's as tls_key", f.Cert)
	case hasBlock(p.key, "ENCRYPTED PRIVATE KEY"):
		return nil, keyFault("the key in %s is locked by a passphrase; write it without: openssl pkey -in %s -out NEW", f.Key, f.Key)
	case !hasBlock(p.key, "PRIVATE KEY"):
		return nil, keyFault("%s has no private key in it; write the path of the key's PEM file here and the certificate's as tls_cert", f.Key)
	}
	cert, err := tls.X509KeyPair(p.cert, p.key)
	switch {
	case err != nil && strings.Contains(err.Error(), "does not match"):
		return nil, keyFault("%s is not the key of the certificate in %s; write the two files that were made together", f.Key, f.Cert)
	case err != nil:
		return nil, certFault("the pair %s and %s cannot be used (%s); have it made anew", f.Cert, f.Key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	leaf := cert.Leaf
	switch {
	case now.After(leaf.NotAfter):
		return nil, certFault("the certificate in %s expired on %s, and clients refuse it; have it renewed", f.Cert, leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		return nil, certFault("the certificate in %s is valid only from %s on; check this machine's clock, or have it made anew", f.Cert, leaf.NotBefore.UTC().Format(time.RFC3339))
	case len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		return nil, certFault("the certificate in %s names no host (no subject alternative name), and clients refuse it; have it made anew with the server's name in it", f.Cert)
	case !serves(leaf):
		return nil, certFault("the certificate in %s is not made for servers; have it made anew for server authentication", f.Cert)
	}
	return &cert, nil
}

// serves says whether a certificate may stand for a TLS server.
func serves(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// Keeper has the newest good pair of two files. It is safe for concurrent use.
type Keeper struct {
	door    string // for the log
	files   Files
	log     *slog.Logger
	now     func() time.Time
	current atomic.Pointer[tls.Certificate]

	mu     sync.Mutex
	good   pair      // content of current
	seen   pair      // content that was judged last
	said   bool      // what is wrong with seen has been logged
	warned time.Time // when the coming end of current was logged last
}

// Open loads the first pair, which must be good; the error is a *Fault. door names
// the listener in the log.
func Open(door string, files Files, log *slog.Logger, now func() time.Time) (*Keeper, error) {
	k := &Keeper{door: door, files: files, log: log, now: now}
	p, cert, err := k.look()
	if err != nil {
		return nil, err
	}
	k.take(p, cert)
	return k, nil
}

func (k *Keeper) look() (pair, *tls.Certificate, error) {
	p, err := k.files.read()
	if err != nil {
		return p, nil, err
	}
	cert, err := parse(k.files, p, k.now())
	return p, cert, err
}

func (k *Keeper) take(p pair, cert *tls.Certificate) {
	k.good, k.seen, k.said = p, p, false
	k.current.Store(cert)
	k.log.Info("certificate taken", "door", k.door, "file", k.files.Cert, "names", Names(cert.Leaf), "until", cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
}

func (k *Keeper) leave(err error) {
	k.said = true
	k.log.Error("the certificate on disk cannot be used; the one in use stays", "door", k.door, "err", err)
}

// Names are the hosts that a certificate is for.
func Names(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// Config is what a listener needs: TLS 1.2 or newer, with the newest good pair for
// each new connection. protocols is for ALPN; the RPC door has none.
func (k *Keeper) Config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.current.Load(), nil },
	}
}

// NotAfter is when the pair in use ends.
func (k *Keeper) NotAfter() time.Time { return k.current.Load().Leaf.NotAfter }

// Reload looks at the files because somebody asked for it. taken says that a new pair
// is in use; the error is what is wrong with the files, and then the old pair stays.
func (k *Keeper) Reload() (taken bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, cert, err := k.look()
	if err != nil {
		k.seen = p
		k.leave(err)
		return false, err
	}
	if p.equal(k.good) {
		k.seen = p
		return false, nil
	}
	k.take(p, cert)
	return true, nil
}

// Poll looks at the files unasked: a bad pair is logged once, and only when it is still
// there at the second look, for the files may be just being replaced.
func (k *Keeper) Poll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, cert, err := k.look()
	switch {
	case p.equal(k.good):
		k.seen = p
	case err == nil:
		k.take(p, cert)
	case !p.equal(k.seen):
		k.seen, k.said = p, false
	case !k.said:
		k.leave(err)
	}
	now, end := k.now(), k.NotAfter()
	if end.Sub(now) < endsSoon && now.Sub(k.warned) > warnInterval {
		k.warned = now
		k.log.Warn("the certificate in use ends soon; have it renewed", "door", k.door, "file", k.files.Cert, "until", end.UTC().Format(time.RFC3339))
	}
}
