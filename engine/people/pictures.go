package people

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/pictures"
	"github.com/keystead/keystead/engine/store"
)

// PictureID names a picture by its contents.
type PictureID [16]byte

// IsZero reports whether there is no picture.
func (id PictureID) IsZero() bool { return id == PictureID{} }

func (id PictureID) String() string { return hex.EncodeToString(id[:]) }

// ParsePictureID parses 32 hex characters.
func ParsePictureID(s string) (id PictureID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("picture id: %w", kbsig.ErrBadID)
	}
	copy(id[:], b)
	return id, nil
}

// PictureSource is another service that has a picture of a user.
type PictureSource int

// The services that clients name. client: go/engine/user_config.go:UserConfigEngine.Run
const (
	PictureHere    PictureSource = 0
	PictureTwitter PictureSource = 100
	PictureGitHub  PictureSource = 101
)

// ParsePictureSource parses a service's number.
func ParsePictureSource(s string) (PictureSource, error) {
	for _, p := range []PictureSource{PictureTwitter, PictureGitHub} {
		if s == strconv.Itoa(int(p)) {
			return p, nil
		}
	}
	return PictureHere, Fault("no service with pictures")
}

// PreferPicture notes whose picture of them a user would rather show, until the user
// gives another one.
func PreferPicture(tx *store.Tx, u kbsig.UID, from PictureSource) error {
	acct, err := accounts.Get(tx, u)
	if err != nil || acct.PictureSource == int(from) {
		return err
	}
	acct.PictureSource = int(from)
	accounts.Put(tx, acct)
	return nil
}

// SetPicture gives a user the picture whose sizes pictures.Make made. The one before
// stays for those who have its address; the one before that goes.
func SetPicture(tx *store.Tx, u kbsig.UID, sizes []pictures.Picture) (PictureID, error) {
	var id PictureID
	h := sha256.New()
	for _, p := range sizes {
		h.Write(p.JPEG)
	}
	copy(id[:], h.Sum(nil))
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return id, err
	}
	now, before := PictureID(acct.Picture), PictureID(acct.PictureBefore)
	if id == now && acct.PictureSource == int(PictureHere) {
		return id, nil
	}
	if id == now {
		return id, PreferPicture(tx, u, PictureHere)
	}
	if !before.IsZero() && before != id {
		if err := dropPicture(tx, u, before); err != nil {
			return id, err
		}
	}
	for _, p := range sizes {
		tx.Set(keys.Picture(u, id, p.Size), p.JPEG)
	}
	acct.Picture, acct.PictureBefore, acct.PictureSource = id, now, 0
	acct.TouchIdentity(tx.Now())
	accounts.Put(tx, acct)
	return id, nil
}

// PutPictures stores the sizes of a picture of a team, under its id. Which one it shows is
// kept elsewhere.
func PutPictures(tx *store.Tx, team [16]byte, sizes []pictures.Picture) (id PictureID) {
	h := sha256.New()
	for _, p := range sizes {
		h.Write(p.JPEG)
	}
	copy(id[:], h.Sum(nil))
	for _, p := range sizes {
		tx.Set(keys.Picture(team, id, p.Size), p.JPEG)
	}
	return id
}

// DropPictures deletes a picture of a team.
func DropPictures(tx *store.Tx, team [16]byte, id PictureID) error { return dropPicture(tx, team, id) }

// Picture is one size of a picture, as JPEG; the error is store.ErrNotFound if there is
// none.
func Picture(r store.Reader, u kbsig.UID, id PictureID, size uint16) ([]byte, error) {
	return r.Get(keys.Picture(u, id, size))
}

func dropPicture(tx *store.Tx, u kbsig.UID, id PictureID) error {
	var found [][]byte
	lo := keys.PictureSizes(u, id)
	err := tx.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		found = append(found, append([]byte(nil), k...))
		return nil
	})
	if err != nil {
		return fmt.Errorf("picture %s of %s: %w", id, u, err)
	}
	for _, k := range found {
		tx.Delete(k)
	}
	return nil
}

// dropPictures takes all pictures of a user away.
func dropPictures(tx *store.Tx, u kbsig.UID) error {
	acct, err := accounts.Get(tx, u)
	if err != nil {
		return err
	}
	for _, id := range []PictureID{acct.Picture, acct.PictureBefore} {
		if id.IsZero() {
			continue
		}
		if err := dropPicture(tx, u, id); err != nil {
			return err
		}
	}
	if acct.Picture == acct.PictureBefore {
		return nil // there never was one
	}
	acct.Picture, acct.PictureBefore = [16]byte{}, [16]byte{}
	acct.TouchIdentity(tx.Now())
	accounts.Put(tx, acct)
	return nil
}
