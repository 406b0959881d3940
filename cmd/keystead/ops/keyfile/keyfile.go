// Package keyfile keeps the one secret of a server on disk: the Ed25519 key that
// signs Merkle roots, which every client of this server was told to trust.
//
//	<data>/keys/               0700
//	<data>/keys/merkle.pem     0600, PKCS #8 in PEM, readable by common tools
//	<data>/keys/merkle.kid     0644, its KID (70 hex characters and a newline)
//	<data>/keys/merkle.store   0644, the id of the store that it signs for (bind.go)
//
// Promises: a key is made once and never overwritten, not even by two first starts
// at the same moment; a new key is never made in a folder that has had one (the
// KID file remembers), because clients would refuse everything it signs; a file
// that others can read is refused. What was made is on the disk (fsync of file and
// folder) before LoadOrCreate returns. No error carries key material.
//
// Randomness is the caller's. client: go/libkb/naclwrap.go:makeNaclSigningKeyPair
package keyfile

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
)

// Names inside the data folder, and the bound of what is read.
const (
	folderName = "keys"
	keyName    = "merkle.pem"
	kidName    = "merkle.kid"
	pemType    = "PRIVATE KEY"

	fileBytesMax = 4096
)

// ErrNoKey reports a data folder in which no server has been started yet.
var ErrNoKey = errors.New("no signing key yet")

// Path is where the signing key of a data folder is kept.
func Path(dataDir string) string { return filepath.Join(dataDir, folderName, keyName) }

// KIDOf is the public name of a signing key, as clients are told it.
func KIDOf(key ed25519.PrivateKey) kbsig.KID {
	return kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte(key.Public().(ed25519.PublicKey)))
}

// LoadOrCreate reads the signing key of dataDir, making folder and key at the
// first start; created says that it did. random is read only then.
func LoadOrCreate(dataDir string, random io.Reader) (key ed25519.PrivateKey, created bool, err error) {
	key, err = Load(dataDir)
	if !errors.Is(err, ErrNoKey) {
		return key, false, err
	}
	if err := makeFolder(dataDir); err != nil {
		return nil, false, err
	}
	_, fresh, err := ed25519.GenerateKey(random)
	if err != nil {
		return nil, false, fmt.Errorf("make a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(fresh)
	if err != nil {
		return nil, false, fmt.Errorf("spell the signing key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
	if err := writeOnce(Path(dataDir), text, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, false, err
	}
	// Another first start may have won; whatever stands there now is the key.
	key, err = Load(dataDir)
	return key, err == nil && key.Equal(fresh), err
}

// Load reads the signing key and holds it against the KID file. It returns
// ErrNoKey when the folder never had a key.
func Load(dataDir string) (ed25519.PrivateKey, error) {
	path := Path(dataDir)
	remembered, err := LoadKID(dataDir)
	if err != nil && !errors.Is(err, ErrNoKey) {
		return nil, err
	}
	text, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		if remembered.IsZero() {
			return nil, fmt.Errorf("%s: %w", dataDir, ErrNoKey)
		}
		return nil, fmt.Errorf("%s is gone, but this server signs with %s; put the file back from a backup, because clients would refuse every root of another key", path, remembered)
	}
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	if err := private(path); err != nil {
		return nil, err
	}
	key, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w; put the file back from a backup", path, err)
	}
	kid := KIDOf(key)
	switch {
	case remembered.IsZero():
		// A first start that stopped between the two files.
		if err := writeOnce(filepath.Join(dataDir, folderName, kidName), []byte(kid.String()+"\n"), 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	case remembered != kid:
		return nil, fmt.Errorf("%s holds the key %s, but this server signs with %s; put the right file back, because clients would refuse every root of another key", path, kid, remembered)
	}
	return key, nil
}

// LoadKID reads only the public name of the signing key, for commands that need
// no secret. It returns ErrNoKey when there is none.
func LoadKID(dataDir string) (kbsig.KID, error) {
	path := filepath.Join(dataDir, folderName, kidName)
	text, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return kbsig.KID{}, fmt.Errorf("%s: %w", dataDir, ErrNoKey)
	}
	if err != nil {
		return kbsig.KID{}, fmt.Errorf("read the signing key's name: %w", err)
	}
	kid, err := kbsig.ParseKID(strings.TrimSpace(string(text)))
	if err != nil || !kid.IsSigning() {
		return kbsig.KID{}, fmt.Errorf("%s does not hold the KID of a signing key; put the file back from a backup, or take it away to have it written again from %s", path, keyName)
	}
	return kid, nil
}

// parse takes exactly one PEM block of PKCS #8 with an Ed25519 key in it.
func parse(text []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemType || len(bytes.TrimSpace(rest)) != 0 {
		return nil, errors.New("not one PEM block of a private key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not a PKCS #8 private key")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("not an Ed25519 key")
	}
	return key, nil
}

// private refuses a secret that other accounts of the machine can read. Windows
// keeps its rights elsewhere.
func private(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at the signing key: %w", err)
	}
	if others := info.Mode().Perm() & 0o077; others != 0 {
		return fmt.Errorf("%s has the mode %04o, so that other accounts can use the signing key; run chmod 600 on it, and think about who may have read it", path, info.Mode().Perm())
	}
	return nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil {
		return nil, err
	}
	if len(text) > fileBytesMax {
		return nil, fmt.Errorf("%s has more than %d bytes", path, fileBytesMax)
	}
	return text, nil
}

// writeOnce makes a file that did not exist, whole and durable: the bytes are
// written and synced under another name, then linked, which fails with
// fs.ErrExist when the name is taken.
func writeOnce(path string, text []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("make %s durable: %w", path, err)
	}
	return nil
}
