// Package tlf owns what people see of top-level folders: today the favourites, the list
// of folders that a person's devices show first.
//
// A favourite is a name and a kind of folder as clients spell them; it says nothing about
// who may read the folder, nor that there is anything in it. Who has an account has its
// two own folders, a private and a public one, among the favourites without asking, until
// they are put away.
//
// Every function takes a store.Reader or a store.Tx and leaves the rest to the caller's
// transaction. It promises:
//   - each folder stands once in a person's list, as a favourite or as an ignored one;
//   - with every change of a list goes the news of it to the person's devices;
//   - the list of somebody is bounded, and so is every name in it.
//
// It owns the key family "a" of engine/keys, and imports engine/accounts, engine/events,
// engine/keys and engine/store.
//
// client: go/engine/favorite_add.go:FavoriteAdd, go/engine/favorite_list.go:FavoritesAPIResult
package tlf

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keystead/keystead/compat/kbsig"
)

// Kind is a kind of folder. client: go/protocol/keybase1/favorite.go:FolderType
type Kind byte

// The kinds that a folder can have.
const (
	Private Kind = 1
	Public  Kind = 2
	Team    Kind = 3
)

// ErrBadFolder reports what no folder is called; the text before it says why.
var ErrBadFolder = errors.New("not a folder")

// nameBytesMax bounds the name of a folder: of a folder of many people the names of all
// of them.
const nameBytesMax = 4 << 10

// Folder names a top-level folder.
type Folder struct {
	Kind Kind
	// Name is how clients spell it: who writes in it, comma separated, "#" and who only
	// reads, and what tells it from folders of the same people; or the name of a team.
	Name string
}

// ParseFolder reads a folder as clients name it: kind is the number of a Kind, in
// decimal.
func ParseFolder(kind, name string) (Folder, error) {
	n, err := strconv.ParseUint(kind, 10, 8)
	if err != nil || Kind(n) < Private || Kind(n) > Team {
		return Folder{}, fmt.Errorf("no kind of folder: %w", ErrBadFolder)
	}
	f := Folder{Kind(n), name}
	if f.Kind == Public {
		// As old clients wrote it. client: go/kbfs/favorites/data_types.go:NewFolderFromProtocol
		f.Name = strings.TrimSuffix(name, "#public")
	}
	return f, f.check()
}

func (f Folder) check() error {
	switch {
	case f.Name == "":
		return fmt.Errorf("a folder without a name: %w", ErrBadFolder)
	case len(f.Name) > nameBytesMax:
		return fmt.Errorf("a name of more than %d bytes: %w", nameBytesMax, ErrBadFolder)
	case !utf8.ValidString(f.Name) || strings.ContainsFunc(f.Name, func(r rune) bool { return r == '/' || r == '\\' || unicode.IsControl(r) }):
		return fmt.Errorf("a name with characters that no folder has: %w", ErrBadFolder)
	case strings.TrimSpace(f.Name) != f.Name:
		return fmt.Errorf("a name with spaces around it: %w", ErrBadFolder)
	case f.Kind == Team:
		return nil
	}
	people, _, _ := strings.Cut(f.Name, " ") // what follows tells folders of the same people apart
	writers, readers, limited := strings.Cut(people, "#")
	if !list(writers) || limited && (f.Kind == Public || !list(readers)) {
		return fmt.Errorf("a name that is no list of people: %w", ErrBadFolder)
	}
	return nil
}

// list says whether a text names one or more people, comma separated.
func list(text string) bool {
	for _, who := range strings.Split(text, ",") {
		if who == "" || strings.Contains(who, "#") {
			return false
		}
	}
	return true
}

// own are the folders that everybody has.
func own(name kbsig.Username) []Folder {
	return []Folder{{Private, string(name)}, {Public, string(name)}}
}
