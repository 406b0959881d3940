// Package events is the outbox: what the users concerned must be told of a fact is
// written in the transaction that makes the fact, and read from there in order.
//
// It owns the key families "G" and "V" of engine/keys and promises:
//   - News is kept exactly when the fact is: Add writes into the fact's transaction.
//   - Entries are numbered without a gap in the order of the transactions, and each
//     has an ID that no other entry of any store has.
//   - Each consumer has a name and a durable place. It gets all entries after its
//     place, in order and at least once, across restarts and failures; what it does
//     with an entry it must be able to do twice, for which there is the ID.
//   - A consumer sees only what is on stable storage.
//   - An entry is deleted when all consumers have passed it, and not before.
//   - What thousands are told alike is kept once (AddMany) and given to consumers as
//     one entry for each of them, all with the same number, ID and body.
//
// A consumer that fails is given the same entries again; what it cannot digest it has
// to skip by itself, for nothing else ends its backlog. When the backlog reaches
// backlogMax, Add refuses, and with it the facts: the disk is not filled for ever.
//
// It imports engine/store and engine/keys.
package events

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Limits of the outbox.
const (
	// categoryBytesMax and bodyBytesMax bound one piece of news, in bytes.
	categoryBytesMax = 256
	bodyBytesMax     = 64 << 10
	// addresseesMax bounds the users whom one entry tells the same; what is for more
	// becomes several entries. addressedMax bounds those of one call of AddMany.
	addresseesMax = 1024
	addressedMax  = 64 << 10
	// endsMax bounds the items that one piece of news dismisses.
	endsMax = 64
	// backlogMax is how many entries the slowest consumer may be behind.
	backlogMax = 1 << 20
	// batchMax, batchBytesMax and batchToldMax bound what a consumer is given at a
	// time: entries as they are kept, their bytes, and entries as they are given.
	batchMax      = 256
	batchBytesMax = 4 << 20
	batchToldMax  = 4096
	// trimMax is how many entries are deleted in one transaction.
	trimMax = 1024
	// consumerBytesMax bounds a consumer's name.
	consumerBytesMax = 64
	// retryFirst and retryMax are the waits after a consumer's failure; each is twice
	// the one before.
	retryFirst = 100 * time.Millisecond
	retryMax   = 30 * time.Second
)

// Errors of Add.
var (
	// ErrMalformed reports news that no device could be told.
	ErrMalformed = errors.New("malformed news")
	// ErrBacklog reports that the slowest consumer is too far behind.
	ErrBacklog = errors.New("too much news is waiting")
)

// News is what a user's devices are told of a fact.
type News struct {
	To       kbsig.UID
	Category string // of gregor, or the system if OutOfBand
	// Body is what clients expect in this category, JSON nearly always. Nil only with
	// Replace: then nothing is told but what is gone.
	Body []byte
	// OutOfBand goes to the devices that are connected when it is delivered, and is
	// not kept.
	OutOfBand bool
	// Replace dismisses the earlier items of the category first.
	Replace bool
	// Skip is a device that is not told, such as the one that did it; zero: none.
	Skip kbsig.DeviceID
	// Lasts is how long after its delivery the item ends by itself; zero: what is
	// usual in its category. Whole milliseconds.
	Lasts time.Duration
	// ID is the item's, by which a later piece of news Ends it; the zero ID: one that
	// nobody knows. An ID that was used before is not delivered again.
	ID ID
	// Ends are items that are dismissed, at most endsMax.
	Ends []ID
}

// ID names an item of a user.
type ID [16]byte

// IDOf makes the ID of an item that is about these things and no others.
func IDOf(about ...string) (id ID) {
	h := sha256.New()
	for _, a := range about {
		fmt.Fprintf(h, "%d:%s", len(a), a)
	}
	copy(id[:], h.Sum(nil))
	return id
}

func (n News) check() error {
	switch {
	case n.To.IsZero():
		return fmt.Errorf("news for nobody: %w", ErrMalformed)
	case n.Category == "" || len(n.Category) > categoryBytesMax:
		return fmt.Errorf("news with a category of %d bytes: %w", len(n.Category), ErrMalformed)
	case len(n.Body) > bodyBytesMax:
		return fmt.Errorf("news %s of %d bytes: %w", n.Category, len(n.Body), ErrMalformed)
	case n.Body == nil && (!n.Replace && len(n.Ends) == 0 || n.OutOfBand):
		return fmt.Errorf("news %s says nothing: %w", n.Category, ErrMalformed)
	case len(n.Ends) > endsMax:
		return fmt.Errorf("news %s ends %d items: %w", n.Category, len(n.Ends), ErrMalformed)
	case n.OutOfBand && (n.Replace || len(n.Ends) > 0):
		return fmt.Errorf("news %s is not kept and cannot replace: %w", n.Category, ErrMalformed)
	case n.Lasts < 0:
		return fmt.Errorf("news %s lasts %s: %w", n.Category, n.Lasts, ErrMalformed)
	}
	return nil
}

// Record is an entry as it is kept.
type Record struct {
	At        int64          `codec:"a"` // milliseconds
	To        kbsig.UID      `codec:"u"`
	Category  string         `codec:"c"`
	Body      []byte         `codec:"b"` // nil: dismisses only
	OutOfBand bool           `codec:"o,omitempty"`
	Replace   bool           `codec:"r,omitempty"`
	Skip      kbsig.DeviceID `codec:"s"`
	Lasts     int64          `codec:"l,omitempty"` // milliseconds
	ID        ID             `codec:"d"`
	Ends      []ID           `codec:"e,omitempty"`
	// Also are further users who are told the same: their ids one after the other.
	Also []byte `codec:"m,omitempty"`
}

// place is where a consumer is, or, under the empty name, where the outbox is: the
// numbers of the last entry that was passed or trimmed, and of the last that was added.
type place struct {
	Passed int64 `codec:"p"`
	Added  int64 `codec:"n,omitempty"`
}

// Add puts news into the outbox as part of tx.
func Add(tx *store.Tx, n News) error { return AddMany(tx, []kbsig.UID{n.To}, n) }

// AddMany tells all of these users the same as part of tx, such as the members of a
// team: n.To is not looked at, who is named twice is told once, and nobody at all is no
// error. It costs one record for every addresseesMax users, whatever the body; each
// user hears it in the order of the facts as if it had been added for that user alone.
// News that differs from user to user wants an Add for each.
func AddMany(tx *store.Tx, to []kbsig.UID, n News) error {
	if len(to) > addressedMax {
		return fmt.Errorf("news %s for %d users: %w", n.Category, len(to), ErrMalformed)
	}
	to, err := addressees(to)
	if err != nil || len(to) == 0 {
		return err
	}
	n.To = to[0]
	if err := n.check(); err != nil {
		return err
	}
	at, err := loadPlace(tx, "")
	if err != nil {
		return err
	}
	for len(to) > 0 {
		if at.Added-at.Passed >= backlogMax {
			return fmt.Errorf("news %s for %s: %w", n.Category, n.To, ErrBacklog)
		}
		some := to[:min(len(to), addresseesMax)]
		to = to[len(some):]
		at.Added++
		store.Save(tx, keys.Event(at.Added), n.record(tx.Now(), some))
	}
	store.Save(tx, keys.EventCursor(""), at)
	return nil
}

// addressees is everybody in to once, in the order of their first mention.
func addressees(to []kbsig.UID) ([]kbsig.UID, error) {
	once := make([]kbsig.UID, 0, len(to))
	seen := make(map[kbsig.UID]bool, len(to))
	for _, u := range to {
		if u.IsZero() {
			return nil, fmt.Errorf("news for nobody: %w", ErrMalformed)
		}
		if !seen[u] {
			seen[u] = true
			once = append(once, u)
		}
	}
	return once, nil
}

// record is how news for these users is kept.
func (n News) record(now time.Time, to []kbsig.UID) Record {
	r := Record{
		At: now.UnixMilli(), To: to[0], Category: n.Category, Body: n.Body, OutOfBand: n.OutOfBand,
		Replace: n.Replace, Skip: n.Skip, Lasts: n.Lasts.Milliseconds(), ID: n.ID, Ends: n.Ends,
	}
	for _, u := range to[1:] {
		r.Also = append(r.Also, u[:]...)
	}
	return r
}

// Entry is news with its place in the outbox. Body is shared and must not be changed.
type Entry struct {
	News
	Number int64     // from 1 on, without a gap; all whom AddMany told may share one
	At     time.Time // of the transaction
	ID     ID
}

// entries are a record's, one for each user who is told, with one body for all.
func (r Record) entries(storeID [16]byte, n int64) ([]Entry, error) {
	if len(r.Also)%len(kbsig.UID{}) != 0 {
		return nil, fmt.Errorf("%d bytes of further users: %w", len(r.Also), ErrMalformed)
	}
	e := Entry{
		News: News{
			To: r.To, Category: r.Category, Body: r.Body, OutOfBand: r.OutOfBand, Replace: r.Replace,
			Skip: r.Skip, Lasts: time.Duration(r.Lasts) * time.Millisecond, ID: r.ID, Ends: r.Ends,
		},
		Number: n, At: time.UnixMilli(r.At), ID: r.ID,
	}
	if e.ID == (ID{}) {
		e.ID = idOf(storeID, n)
	}
	out := []Entry{e}
	for also := r.Also; len(also) > 0; also = also[len(e.To):] {
		copy(e.To[:], also)
		out = append(out, e)
	}
	return out, nil
}

// idOf is the same whenever it is asked, and not to be guessed or met by chance.
func idOf(storeID [16]byte, n int64) (id ID) {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(append([]byte("outbox entry "), storeID[:]...), uint64(n)))
	copy(id[:], h[:])
	return id
}

func loadPlace(r store.Reader, consumer string) (place, error) {
	p, err := store.Load[place](r, keys.EventCursor(consumer))
	if errors.Is(err, store.ErrNotFound) {
		return place{}, nil
	}
	if err != nil {
		return p, fmt.Errorf("read the outbox's place %q: %w", consumer, err)
	}
	return p, nil
}
