package keyfile

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestBind proves that a key serves the store that it was made for and no other: a new
// store takes no key that was there before it, and an old one none of another's.
func TestBind(t *testing.T) {
	one, two := [16]byte{1}, [16]byte{2}
	for _, c := range []struct {
		name         string
		key          bool      // there is a key
		bound        *[16]byte // what it is bound to
		store        [16]byte
		isNew, taken bool
	}{
		{"first start", false, nil, one, true, true},
		{"first start again, after one without a key", false, &one, one, true, true},
		{"first start of another store, after one without a key", false, &two, one, true, true},
		{"first start again, with the key of it", true, &one, one, true, true},
		{"new store, key of another", true, &two, one, true, false},
		{"new store, key of nobody knows", true, nil, one, true, false},
		{"any start", true, &one, one, false, true},
		{"key that was never bound", true, nil, one, false, true},
		{"key of another store", true, &two, one, false, false},
		{"without a key", false, nil, one, false, true}, // for Load to refuse
	} {
		dir := t.TempDir()
		if c.bound != nil {
			if err := Bind(dir, *c.bound, true); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if c.key {
			if _, _, err := LoadOrCreate(dir, rand.Reader); err != nil {
				t.Fatal(err)
			}
		}
		err := Bind(dir, c.store, c.isNew)
		if (err == nil) != c.taken || (err != nil && !errors.Is(err, ErrOtherStore)) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && (c.key || c.isNew) {
			if err := Bind(dir, [16]byte{3}, false); !errors.Is(err, ErrOtherStore) {
				t.Errorf("%s: and then bound to another: %v", c.name, err)
			}
		}
	}
}

// TestBindReadsOnlyAnID proves that a damaged binding binds to nothing.
func TestBindReadsOnlyAnID(t *testing.T) {
	dir := t.TempDir()
	if err := Bind(dir, [16]byte{1}, true); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, folderName, storeName), []byte("01"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Bind(dir, [16]byte{1}, false); !errors.Is(err, ErrOtherStore) {
		t.Errorf("a damaged binding: %v", err)
	}
}
