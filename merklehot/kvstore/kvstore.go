// Package kvstore keeps the encrypted entries of teams' key-value stores, each under a
// namespace and a name that the server can read, with a revision.
//
// It promises:
//   - A write succeeds only as the revision after the present one: of two who write at
//     once, one is refused. Revisions begin at 1 and go on after a deletion.
//   - An entry is given back with who wrote it, on which device, as it was received:
//     writers sign that.
//
// Who may read and write, and which generation of the team's key is the newest, has been
// decided before; functions take the caller's transaction. It writes the key family 0K of
// engine/keys. client: go/service/kvstore.go, go/kvstore/boxer.go
package kvstore

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/store"
)

// Limits of entries.
const (
	// nameBytesMax bounds namespaces and names.
	nameBytesMax = 4 << 10
	// CiphertextCharsMax bounds what an entry holds, as text.
	CiphertextCharsMax = 128 << 10
	// entriesMax bounds the names in one namespace, and the namespaces, of one list.
	entriesMax = 50_000
)

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("nameBytesMax", nameBytesMax, "of a namespace or a name in a key-value store"),
		limits.Bytes("CiphertextCharsMax", CiphertextCharsMax, "of an entry in a key-value store"),
		limits.Count("entriesMax", entriesMax, "names", "in the answer to one list of a key-value store"),
	}
}

// Errors of entries.
var (
	// ErrName reports a namespace or name that entries cannot have.
	ErrName = errors.New("a namespace or name is empty, too long or holds a zero byte")
	// ErrTooLarge reports an entry that is too large.
	ErrTooLarge = errors.New("the entry is too large")
	// ErrNone reports an entry that cannot be deleted because it is not there.
	ErrNone = errors.New("there is no such entry")
	// ErrTooMany reports a list that is too long.
	ErrTooMany = errors.New("there are too many entries to list")
)

// RevisionError reports a write that is not the next one.
type RevisionError struct{ Sent, Present int64 }

func (e *RevisionError) Error() string {
	return fmt.Sprintf("revision out of date: expected revision %d but got %d", e.Present+1, e.Sent)
}

// ID names an entry.
type ID struct {
	Team      kbsig.TeamID
	Namespace string
	Name      string
}

func (id ID) check() error {
	if !nameOK(id.Namespace) || !nameOK(id.Name) {
		return ErrName
	}
	return nil
}

func nameOK(s string) bool {
	if len(s) == 0 || len(s) > nameBytesMax {
		return false
	}
	for i := range len(s) {
		if s[i] == 0 {
			return false
		}
	}
	return true
}

// Entry is what is kept under a name. A deleted one has no ciphertext.
type Entry struct {
	Revision   int64             `codec:"r"`
	Ciphertext string            `codec:"c,omitempty"`
	Generation int64             `codec:"g"` // of the team's key
	Format     int               `codec:"f"`
	Writer     kbsig.UserVersion `codec:"w"`
	Device     kbsig.DeviceID    `codec:"d"`
}

// Get loads an entry; the zero Entry of revision 0 if none was ever written.
func Get(r store.Reader, id ID) (Entry, error) {
	if err := id.check(); err != nil {
		return Entry{}, err
	}
	e, err := store.Load[Entry](r, keys.Entry(id.Team, id.Namespace, id.Name))
	if errors.Is(err, store.ErrNotFound) {
		return Entry{}, nil
	}
	if err != nil {
		return e, fmt.Errorf("entry of team %s: %w", id.Team, err)
	}
	return e, nil
}

// Put writes an entry as the next revision, or fails with a *RevisionError.
func Put(tx *store.Tx, id ID, e Entry) error {
	if len(e.Ciphertext) > CiphertextCharsMax {
		return ErrTooLarge
	}
	old, err := Get(tx, id)
	if err != nil {
		return err
	}
	if e.Revision != old.Revision+1 {
		return &RevisionError{e.Revision, old.Revision}
	}
	store.Save(tx, keys.Entry(id.Team, id.Namespace, id.Name), e)
	return nil
}

// Delete takes an entry away as the next revision. e says who does it. It fails with
// ErrNone if nothing was ever written, else with a *RevisionError.
func Delete(tx *store.Tx, id ID, e Entry) error {
	old, err := Get(tx, id)
	if err != nil {
		return err
	}
	if old.Revision == 0 || old.Ciphertext == "" && e.Revision == old.Revision+1 {
		return ErrNone
	}
	e.Ciphertext = ""
	return Put(tx, id, e)
}

// Namespaces are those of a team in which entries are.
func Namespaces(r store.Reader, t kbsig.TeamID) ([]string, error) {
	var out []string
	lo := keys.Entries(t)
	err := each(r, lo, func(namespace, _ string, _ Entry) error {
		if n := len(out); n > 0 && out[n-1] == namespace {
			return nil
		}
		if len(out) == entriesMax {
			return ErrTooMany
		}
		out = append(out, namespace)
		return nil
	})
	return out, err
}

// Named is an entry in a list.
type Named struct {
	Name     string
	Revision int64
}

// Names are the entries of a namespace.
func Names(r store.Reader, t kbsig.TeamID, namespace string) ([]Named, error) {
	if !nameOK(namespace) {
		return nil, ErrName
	}
	var out []Named
	err := each(r, keys.EntriesIn(t, namespace), func(_, name string, e Entry) error {
		if len(out) == entriesMax {
			return ErrTooMany
		}
		out = append(out, Named{name, e.Revision})
		return nil
	})
	return out, err
}

// each calls fn for the entries under a prefix that are not deleted.
func each(r store.Reader, lo []byte, fn func(namespace, name string, e Entry) error) error {
	err := r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		_, namespace, name, ok := keys.EntryOf(k)
		e, err := store.Decode[Entry](v)
		if err != nil || !ok || e.Ciphertext == "" {
			return err
		}
		return fn(namespace, name, e)
	})
	if err != nil {
		return fmt.Errorf("list entries: %w", err)
	}
	return nil
}
