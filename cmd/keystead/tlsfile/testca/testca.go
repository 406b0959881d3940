// Package testca is a certificate authority for tests: it issues certificates that are
// right, and those that are wrong in one way. No server uses it.
package testca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"time"
)

// CA issues certificates.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  time.Time
	last int64 // serial number
}

// New makes an authority whose certificates begin an hour before now.
func New(now time.Time) (*CA, error) {
	c := &CA{now: now, last: 1}
	var err error
	if c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, c.key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	c.cert, err = x509.ParseCertificate(der)
	return c, err
}

// PEM is the root, for clients.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// Pool has only the root.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// Leaf is what a certificate shall be like. The zero value is good for 127.0.0.1,
// localhost and an hour.
type Leaf struct {
	Nameless  bool          // no subject alternative name
	Begins    time.Duration // from now; 0: an hour ago
	Ends      time.Duration // from now; 0: in an hour
	ForClient bool          // client authentication only
	DNS       []string      // instead of the usual names
}

// Issue makes a certificate and its key, both PEM.
func (c *CA) Issue(l Leaf) (cert, key []byte, err error) {
	c.last++
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(c.last), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: c.now.Add(-time.Hour), NotAfter: c.now.Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if l.Begins != 0 {
		leaf.NotBefore = c.now.Add(l.Begins)
	}
	if l.Ends != 0 {
		leaf.NotAfter = c.now.Add(l.Ends)
	}
	if len(l.DNS) > 0 {
		leaf.DNSNames, leaf.IPAddresses = l.DNS, nil
	}
	if l.Nameless {
		leaf.DNSNames, leaf.IPAddresses = nil, nil
	}
	if l.ForClient {
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, c.cert, private.Public(), c.key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// Write issues a pair into two files, replacing what is there.
func (c *CA) Write(l Leaf, certFile, keyFile string) error {
	cert, key, err := c.Issue(l)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(certFile, cert, 0o644), os.WriteFile(keyFile, key, 0o600))
}
