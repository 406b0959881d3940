package tlf

import (
	"errors"
	"fmt"
	"slices"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/store"
)

// favoritesMax bounds the list of one person, favourites and ignored ones together.
const favoritesMax = 2000

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("nameBytesMax", nameBytesMax, "of the name of a folder"),
		limits.Count("favoritesMax", favoritesMax, "folders", "in one person's favourites, those put away included"),
	}
}

// ErrTooMany reports a list that is full.
var ErrTooMany = errors.New("too many favourite folders")

// newsFavorites has a person's devices fetch the list again.
// client: go/service/kbfs_favorites_handler.go:kbfsFavoritesHandler.Create
const newsFavorites = "kbfs.favorites"

// Favorite is a folder in somebody's list.
type Favorite struct {
	Folder
	// Ignored folders are not shown, and not offered as new ones again.
	Ignored bool
}

// record is what is kept of one.
type record struct {
	Ignored bool  `codec:"i"`
	Since   int64 `codec:"t"` // milliseconds
}

// SetFavorite puts a folder into the list of u, as a favourite or as an ignored one, and
// tells the devices of u if that changed the list.
func SetFavorite(tx *store.Tx, u kbsig.UID, f Folder, ignored bool) error {
	if err := f.check(); err != nil {
		return err
	}
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	k := keys.Favorite(u, byte(f.Kind), f.Name)
	was, err := store.Load[record](tx, k)
	known := err == nil
	switch {
	case known && was.Ignored == ignored:
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("favourite of %s: %w", u, err)
	case !known && !ignored && slices.Contains(own(acct.Name), f):
		return nil // it is there already
	case !known:
		n := 0
		lo := keys.Favorites(u)
		if err := tx.Scan(lo, keys.End(lo), func(_, _ []byte) error { n++; return nil }); err != nil {
			return fmt.Errorf("favourites of %s: %w", u, err)
		}
		if n >= favoritesMax {
			return ErrTooMany
		}
	}
	store.Save(tx, k, record{Ignored: ignored, Since: tx.Now().UnixMilli()})
	return events.Add(tx, events.News{To: u, Category: newsFavorites, Body: []byte("{}"), Replace: true})
}

// Favorites is the list of u, by kind and name, the own folders first.
func Favorites(r store.Reader, u kbsig.UID) ([]Favorite, error) {
	acct, err := accounts.Get(r, u)
	if err != nil {
		return nil, err
	}
	var out []Favorite
	for _, f := range own(acct.Name) {
		out = append(out, Favorite{Folder: f})
	}
	mine := len(out)
	lo := keys.Favorites(u)
	err = r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		kind, name, ok := keys.FavoriteOf(k)
		if !ok {
			return errors.New("malformed key")
		}
		kept, err := store.Decode[record](v)
		if err != nil {
			return err
		}
		f := Favorite{Folder{Kind(kind), name}, kept.Ignored}
		if at := slices.IndexFunc(out[:mine], func(o Favorite) bool { return o.Folder == f.Folder }); at >= 0 {
			out[at] = f
		} else {
			out = append(out, f)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("favourites of %s: %w", u, err)
	}
	return out, nil
}

// Forget takes the list of u away, for the deletion of the account.
func Forget(tx *store.Tx, u kbsig.UID) error {
	lo := keys.Favorites(u)
	err := tx.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		tx.Delete(slices.Clone(k))
		return nil
	})
	if err != nil {
		return fmt.Errorf("favourites of %s: %w", u, err)
	}
	return nil
}
