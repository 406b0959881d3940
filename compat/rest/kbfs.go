package rest

import (
	"errors"
	"time"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/kbfsblocks/tlf"
)

// Files are not served yet. What a client asks on its own is answered with the
// truth: there is nothing in any folder. Favourites are kept, because clients keep
// folders there that they have only heard of.

// upgradeDelay is how far ahead a client is told to look again for folders to
// upgrade. The answer is a point in time, and one in the past would make the client
// ask without pause. client: go/tlfupgrade/tlfupgrade.go:BackgroundTLFUpdater.getTLFToUpgrade
const upgradeDelay = 7 * 24 * time.Hour

// kbfsUpgrade: GET kbfs/upgrade. No folder of the old kind can exist here.
func kbfsUpgrade(c *call) (any, error) {
	type disabled struct {
		Delay int64 `json:"delay"` // ms since the epoch
	}
	return struct {
		Typ      int      `json:"typ"` // 3: disabled
		Disabled disabled `json:"disabled"`
	}{3, disabled{c.s.Clock().Add(upgradeDelay).UnixMilli()}}, nil
}

// kbfsUnkeyed: GET kbfs/unkeyed_tlfs_from_pair, shown as a warning before a device
// is removed. An error here would keep people from removing a device.
func kbfsUnkeyed(*call) (any, error) {
	return struct {
		TLFs []any `json:"tlfs"`
	}{[]any{}}, nil
}

// kbfsProblemSets: POST kbfs/problem_sets.
// client: go/service/rekey_master.go:queryAPIServerForRekeyInfo
func kbfsProblemSets(c *call) (any, error) {
	type user struct {
		UID      string `json:"uid"`
		Username string `json:"username"`
	}
	type set struct {
		User user   `json:"user"`
		KID  string `json:"kid"`
		TLFs []any  `json:"tlfs"`
	}
	kid := ""
	if !c.who.KID.IsZero() {
		kid = c.who.KID.String()
	}
	return struct {
		ProblemSet set `json:"problem_set"`
	}{set{User: user{c.who.UID.String(), string(c.who.Name)}, KID: kid, TLFs: []any{}}}, nil
}

// folder is a favourite as clients read it.
// client: go/protocol/keybase1/favorite.go:Folder
type folder struct {
	Name         string `json:"name"`
	Private      bool   `json:"private"` // of old clients: not public
	Created      bool   `json:"created"`
	FolderType   int    `json:"folderType"`
	ResetMembers []any  `json:"reset_members"`
}

// favoriteList: GET kbfs/favorite/list. There are no new folders besides the favourites
// and no members of folders who were reset, as nobody has files here yet.
// client: go/engine/favorite_list.go:FavoritesAPIResult
func favoriteList(c *call) (any, error) {
	list, err := tlf.Favorites(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	out := struct {
		Favorites []folder `json:"favorites"`
		Ignored   []folder `json:"ignored"`
		New       []folder `json:"new"`
	}{[]folder{}, []folder{}, []folder{}}
	for _, f := range list {
		row := folder{Name: f.Name, Private: f.Kind != tlf.Public, FolderType: int(f.Kind), ResetMembers: []any{}}
		if f.Ignored {
			out.Ignored = append(out.Ignored, row)
		} else {
			out.Favorites = append(out.Favorites, row)
		}
	}
	return out, nil
}

// favoriteAdd: POST kbfs/favorite/add, which also puts folders away.
// client: go/engine/favorite_add.go:FavoriteAdd.Run, go/engine/favorite_ignore.go:FavoriteIgnore.Run
func favoriteAdd(c *call) (any, error) {
	f, err := tlf.ParseFolder(c.raw("folder_type"), c.raw("tlf_name"))
	if err != nil {
		return nil, status.Input("%v", err)
	}
	var ignored bool
	switch what := c.raw("status"); what {
	case "favorite":
	case "ignored":
		ignored = true
	default:
		return nil, status.InputField("status", "a folder is made a favorite or ignored")
	}
	err = c.update(func(tx *store.Tx) error { return tlf.SetFavorite(tx, c.who.UID, f, ignored) })
	if errors.Is(err, tlf.ErrTooMany) {
		return nil, status.Input("%v; favorites cannot be taken off the list, but the folders can still be used", err)
	}
	return none{}, err
}

// gitRepos: GET kbfs/git/team/get.
func gitRepos(*call) (any, error) {
	return struct {
		Repos []any `json:"repos"`
	}{[]any{}}, nil
}
