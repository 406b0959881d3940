package client

import (
	"context"
	"net/url"
	"strconv"
)

// Kinds of folders. client: go/protocol/keybase1/favorite.go:FolderType
const (
	FolderPrivate = 1
	FolderPublic  = 2
	FolderTeam    = 3
)

// Folder is a favourite folder. client: go/protocol/keybase1/favorite.go:Folder
type Folder struct {
	Name    string `json:"name"`
	Private bool   `json:"private"`
	Kind    int    `json:"folderType"`
}

// SetFavorite makes a folder a favourite, or puts it away.
// client: go/engine/favorite_add.go:FavoriteAdd.Run, go/engine/favorite_ignore.go:FavoriteIgnore.Run
func (a *Account) SetFavorite(ctx context.Context, kind int, name string, ignored bool) error {
	status := "favorite"
	if ignored {
		status = "ignored"
	}
	_, err := a.Server().Post(ctx, "kbfs/favorite/add", url.Values{
		"tlf_name": {name}, "folder_type": {strconv.Itoa(kind)}, "status": {status},
	}, a.NIST(a.Device))
	return err
}

// Favorites lists the favourites, and those that were put away.
// client: go/engine/favorite_list.go:FavoriteList.Run
func (a *Account) Favorites(ctx context.Context) (favorites, ignored []Folder, err error) {
	reply, err := a.Server().Get(ctx, "kbfs/favorite/list", nil, a.NIST(a.Device))
	if err != nil {
		return nil, nil, err
	}
	var out struct {
		Favorites []Folder `json:"favorites"`
		Ignored   []Folder `json:"ignored"`
	}
	err = reply.Decode(&out)
	return out.Favorites, out.Ignored, err
}
