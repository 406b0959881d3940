package keyfile

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// storeName is the file that says which store the key signs for.
const storeName = "merkle.store"

// ErrOtherStore reports a key that signs for another store than the one it lies beside.
var ErrOtherStore = errors.New("the signing key is that of another store")

// Bind ties the key of dataDir to one store, by the store's id. A new store begins the
// tree from its first root; with a key that has signed a tree before, clients would see
// two of them, and would never again believe either. So a new store takes a key only if
// the key was made for it, by a first start that did not come to its end, or if there is
// none yet. A store that is not new, with a key that was never bound, keeps it.
func Bind(dataDir string, store [16]byte, isNew bool) error {
	_, err := Load(dataDir)
	hasKey := err == nil
	if err != nil && !errors.Is(err, ErrNoKey) {
		return err
	}
	id, path := hex.EncodeToString(store[:]), filepath.Join(dataDir, folderName, storeName)
	text, err := readSmall(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return fmt.Errorf("read which store the signing key is for: %w", err)
	}
	switch bound := strings.TrimSpace(string(text)); {
	case bound == id:
		return nil
	case isNew && hasKey, !isNew && !missing:
		return fmt.Errorf("%s: the store is %s, the key is for %s: %w", Path(dataDir), id, orUnknown(bound), ErrOtherStore)
	case !isNew && !hasKey:
		return nil // Load says what is wrong
	}
	if err := makeFolder(dataDir); err != nil {
		return err
	}
	if !missing {
		// Of a first start that made no key, with a store that is gone.
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("write which store the signing key is for: %w", err)
		}
	}
	if err := writeOnce(path, []byte(id+"\n"), 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func orUnknown(id string) string {
	if id == "" {
		return "one that is not known"
	}
	return id
}

// makeFolder makes the folder of the key, and its name in the data folder durable.
func makeFolder(dataDir string) error {
	if err := os.MkdirAll(filepath.Join(dataDir, folderName), 0o700); err != nil {
		return fmt.Errorf("make the key folder: %w", err)
	}
	d, err := os.Open(dataDir)
	if err != nil {
		return fmt.Errorf("make the key folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("make the key folder durable: %w", err)
	}
	return nil
}
