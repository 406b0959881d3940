package ops

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"
)

// rootsBytesMax bounds a file of roots: clients keep it in their configuration file.
const rootsBytesMax = 256 << 10

// Roots are the certificates that clients shall trust for a server's doors.
type Roots struct {
	file  string
	pem   string // certificates only, nothing between them
	certs []*x509.Certificate
}

// ReadRoots reads a PEM file of certificates and refuses what would not be of use to a
// client.
func ReadRoots(file string, now time.Time) (*Roots, error) {
	text, err := readBounded(file)
	if err != nil {
		return nil, fmt.Errorf("read the root: %w", err)
	}
	r := &Roots{file: file}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if strings.Contains(block.Type, "PRIVATE KEY") {
			return nil, fmt.Errorf("%s has a private key in it, which must not go to clients; write the certificate of the root alone into a file", file)
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s holds a certificate that cannot be read: %w", file, err)
		}
		if now.After(cert.NotAfter) {
			return nil, fmt.Errorf("%s holds a certificate that ended on %s", file, cert.NotAfter.UTC().Format(time.DateOnly))
		}
		r.certs = append(r.certs, cert)
		r.pem += string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
	}
	if len(r.certs) == 0 {
		return nil, fmt.Errorf("%s has no certificate in it; name a PEM file", file)
	}
	return r, nil
}

func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, rootsBytesMax+1))
	if err == nil && len(text) > rootsBytesMax {
		err = fmt.Errorf("%s has more than %d bytes", file, rootsBytesMax)
	}
	return text, err
}

// Lead says whether the certificate in a door's PEM file leads to one of the roots. A
// file that is not named or cannot be read from here is not judged.
func (r *Roots) Lead(certFile string, now time.Time) error {
	if certFile == "" {
		return nil
	}
	text, err := readBounded(certFile)
	if err != nil {
		return nil
	}
	var leaf *x509.Certificate
	between, pool := x509.NewCertPool(), x509.NewCertPool()
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
		case leaf == nil:
			leaf = cert
		default:
			between.AddCert(cert)
		}
	}
	if leaf == nil {
		return nil
	}
	for _, c := range r.certs {
		pool.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: now}); err != nil {
		return fmt.Errorf("the certificate in %s does not lead to a root in %s, so that clients would refuse the door; name the file of its root", certFile, r.file)
	}
	return nil
}

// rootsByHost says what clients shall trust for which host. Clients look it up by host
// without the port, and take it for both doors.
func rootsByHost(e Endpoints, r *Roots) map[string]string {
	if r == nil {
		return nil
	}
	out := map[string]string{}
	for _, uri := range []string{e.ServerURI, e.PushURI} {
		u, err := url.Parse(uri)
		if err == nil && (u.Scheme == "https" || u.Scheme == "fmprpc+tls") {
			out[u.Hostname()] = r.pem
		}
	}
	return out
}

// bundled is the setting of the client's configuration that names the roots. It is set
// as a whole, because the dots in a host's name are levels to the client.
// client: go/libkb/config.go:JSONConfigFile.GetBundledCA
func bundled(e Endpoints, r *Roots) []variable {
	hosts := rootsByHost(e, r)
	if len(hosts) == 0 {
		return nil
	}
	text, err := json.Marshal(hosts)
	if err != nil {
		panic(err) // a map of strings
	}
	return []variable{{key: "bundled_ca", value: string(text)}}
}
