package keyfile

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestFirstStartMakesOneKey proves that the first start makes a key whose KID has
// the frame clients expect, that the next start reads the same, and that the file
// is for its owner only.
func TestFirstStartMakesOneKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	first, created, err := LoadOrCreate(dir, rand.Reader)
	if err != nil || !created {
		t.Fatalf("created %t: %v", created, err)
	}
	again, created, err := LoadOrCreate(dir, errorReader{})
	if err != nil || created || !again.Equal(first) {
		t.Fatalf("second start: created %t, equal %t: %v", created, again.Equal(first), err)
	}
	kid, err := LoadKID(dir)
	if err != nil || kid != KIDOf(first) {
		t.Fatalf("KID file says %s, the key is %s: %v", kid, KIDOf(first), err)
	}
	if s := kid.String(); len(s) != 70 || !strings.HasPrefix(s, "0120") || !strings.HasSuffix(s, "0a") {
		t.Fatalf("KID %s is not 0120...0a", s)
	}
	for path, want := range map[string]os.FileMode{Path(dir): 0o600, filepath.Dir(Path(dir)): 0o700} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v: %v", path, info.Mode().Perm(), want, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(Path(dir)), ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v %v", left, err)
	}
}

// TestSeedDecidesKey proves that the key comes from the reader it was given and
// from nothing else, so that a test server can have a known key.
func TestSeedDecidesKey(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	key, _, err := LoadOrCreate(t.TempDir(), bytes.NewReader(seed))
	if err != nil || !bytes.Equal(key.Seed(), seed) {
		t.Fatalf("key is not made from the seed: %v", err)
	}
}

// TestTwoFirstStarts proves that starts at the same moment agree on one key, and
// that exactly one of them says it made it.
func TestTwoFirstStarts(t *testing.T) {
	dir := t.TempDir()
	const starts = 8
	keys, made := make([]ed25519.PrivateKey, starts), make([]bool, starts)
	var wg sync.WaitGroup
	for i := range starts {
		wg.Go(func() {
			var err error
			if keys[i], made[i], err = LoadOrCreate(dir, rand.Reader); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	makers := 0
	for i := range starts {
		if !keys[i].Equal(keys[0]) {
			t.Errorf("start %d has another key", i)
		}
		if made[i] {
			makers++
		}
	}
	if makers != 1 {
		t.Errorf("%d starts say they made the key", makers)
	}
}

// TestLostOrChangedKeyIsRefused proves that a folder which has had a key never
// gets another one silently: clients would refuse the server for good.
func TestLostOrChangedKeyIsRefused(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		if _, _, err := LoadOrCreate(d, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	kid, err := LoadKID(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(Path(other), Path(dir)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadOrCreate(dir, rand.Reader); err == nil || !strings.Contains(err.Error(), kid.String()) {
		t.Fatalf("an exchanged key: %v", err)
	}
	if err := os.Remove(Path(dir)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadOrCreate(dir, rand.Reader); err == nil || !strings.Contains(err.Error(), "backup") || errors.Is(err, ErrNoKey) {
		t.Fatalf("a lost key: %v", err)
	}
}

// TestKIDFileIsWrittenAgain proves that a first start which stopped between the
// two files is finished by the next one.
func TestKIDFileIsWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	key, _, err := LoadOrCreate(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, folderName, kidName)); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKID(dir); !errors.Is(err, ErrNoKey) {
		t.Fatalf("without the KID file: %v", err)
	}
	if _, err := Load(dir); err != nil {
		t.Fatal(err)
	}
	if kid, err := LoadKID(dir); err != nil || kid != KIDOf(key) {
		t.Fatalf("KID %s: %v", kid, err)
	}
}

// TestReadableKeyIsRefused proves that a secret which other accounts can read does
// not serve.
func TestReadableKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := LoadOrCreate(dir, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(Path(dir), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Fatalf("a readable key: %v", err)
	}
}

// TestBadFiles proves that what is not exactly one Ed25519 key is refused, and that
// no error shows what stood in the file.
func TestBadFiles(t *testing.T) {
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(big)
	if err != nil {
		t.Fatal(err)
	}
	const canary = "canary-of-secret-bytes"
	for name, text := range map[string]string{
		"empty":     "",
		"text":      canary,
		"other pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(canary)})),
		"not pkcs8": string(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: []byte(canary)})),
		"rsa":       string(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})),
		"too long":  strings.Repeat(canary, fileBytesMax),
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Dir(Path(dir)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(Path(dir), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := LoadOrCreate(dir, rand.Reader); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParse proves that no file makes the reader panic, and that what it takes is
// a whole key.
func FuzzParse(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parse(text)
		if err == nil && len(got) != ed25519.PrivateKeySize {
			t.Fatalf("a key of %d bytes", len(got))
		}
	})
}

// errorReader is a random source that must not be read.
type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errors.New("randomness was read") }
