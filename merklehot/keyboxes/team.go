package keyboxes

import (
	"errors"
	"fmt"
	"io"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// TeamBox is the newest seed of a team's key that a user can open.
// client: go/teams/box.go:TeamBox
type TeamBox struct {
	Generation int64       `codec:"g"`
	Sender     kbsig.KID   `codec:"s"` // the device key that sealed it
	Nonce      [24]byte    `codec:"n"`
	Sealed     []byte      `codec:"c"`
	PUKSeqno   kbsig.Seqno `codec:"p"` // the link of the user that brought the key it is for
	// Eldest begins the incarnation of the user that it was sealed for; later ones
	// cannot open it.
	Eldest kbsig.Seqno `codec:"e"`
}

// ErrNoTeamMasks reports a generation of a team's key that has no masks.
var ErrNoTeamMasks = errors.New("the team's key has no such generation")

// PutTeamBoxes stores boxes of a team's key, each in place of the older one of the same
// user, and the sealed seed before. That they are for the right users has been checked;
// eldest tells which incarnation of each.
func PutTeamBoxes(tx *store.Tx, t kbsig.TeamID, b *kbsig.TeamBoxes, eldest func(kbsig.UID) kbsig.Seqno) {
	for _, box := range b.Boxes {
		store.Save(tx, keys.TeamBox(t, box.User), TeamBox{
			Generation: b.Generation, Sender: b.Sender, Nonce: b.Nonce24(box), Sealed: box.Sealed[:],
			PUKSeqno: box.PUKSeqno, Eldest: eldest(box.User),
		})
	}
	if b.Prev != "" {
		tx.Set(keys.TeamPrev(t, b.Generation), []byte(b.Prev))
	}
}

// TeamBoxOf loads the newest box of a user's present incarnation; nil if there is none.
func TeamBoxOf(r store.Reader, t kbsig.TeamID, u kbsig.UID, eldest kbsig.Seqno) (*TeamBox, error) {
	b, err := store.Load[TeamBox](r, keys.TeamBox(t, u))
	if errors.Is(err, store.ErrNotFound) || err == nil && b.Eldest != eldest {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("box of team %s for %s: %w", t, u, err)
	}
	return &b, nil
}

// DropTeamBox forgets the box of somebody who is no more to have the team's key.
func DropTeamBox(tx *store.Tx, t kbsig.TeamID, u kbsig.UID) { tx.Delete(keys.TeamBox(t, u)) }

// TeamPrevs calls fn for the sealed seeds of a team above a generation, oldest first:
// the text of generation g opens with seed g and holds seed g-1.
// client: go/teams/loader2.go:unboxPerTeamSecrets
func TeamPrevs(r store.Reader, t kbsig.TeamID, above int64, fn func(generation int64, sealed string) error) error {
	lo := keys.TeamPrev(t, max(above, 0)+1)
	return r.Scan(lo, keys.End(keys.TeamPrevs(t)), func(k, v []byte) error {
		g, ok := keys.TeamPrevOf(k)
		if !ok {
			return fmt.Errorf("malformed key of a sealed seed of team %s", t)
		}
		return fn(g, string(v))
	})
}

// Applications that have masks, numbered from 1: folders, chat, saltpack, git, seitan,
// Stellar, the key-value store. client: go/protocol/keybase1/teams.go:TeamApplication
const TeamApplications = kbsig.TeamApplications

const maskBytes = 32

// TeamMasks are what the server adds to a generation of a team's key, one for each
// application: without it nobody can derive the application's key. They are made once
// and never change. client: go/teams/appkeys.go:ApplicationKeyAtGeneration
type TeamMasks [TeamApplications][maskBytes]byte

// Mask is the mask of an application, by its number.
func (m *TeamMasks) Mask(application int) (mask [maskBytes]byte, ok bool) {
	if application < 1 || application > TeamApplications {
		return mask, false
	}
	return m[application-1], true
}

// NewTeamMasks invents the masks of a new generation.
func NewTeamMasks(tx *store.Tx, t kbsig.TeamID, generation int64, rand io.Reader) error {
	if known, err := store.Has(tx, keys.TeamMasks(t, generation)); err != nil || known {
		return err
	}
	v := make([]byte, TeamApplications*maskBytes)
	if _, err := io.ReadFull(rand, v); err != nil {
		return fmt.Errorf("masks of team %s: %w", t, err)
	}
	tx.Set(keys.TeamMasks(t, generation), v)
	return nil
}

func decodeTeamMasks(v []byte) (m TeamMasks, err error) {
	if len(v) != TeamApplications*maskBytes {
		return m, fmt.Errorf("masks of %d bytes", len(v))
	}
	for i := range m {
		copy(m[i][:], v[i*maskBytes:])
	}
	return m, nil
}

// CheckTeamMasks reports a record that is no masks.
func CheckTeamMasks(_, v []byte) error {
	_, err := decodeTeamMasks(v)
	return err
}

// TeamMasksAt loads the masks of one generation, or fails with ErrNoTeamMasks.
func TeamMasksAt(r store.Reader, t kbsig.TeamID, generation int64) (m TeamMasks, err error) {
	v, err := r.Get(keys.TeamMasks(t, generation))
	if errors.Is(err, store.ErrNotFound) {
		return m, ErrNoTeamMasks
	}
	if err == nil {
		m, err = decodeTeamMasks(v)
	}
	if err != nil {
		return m, fmt.Errorf("masks of team %s: %w", t, err)
	}
	return m, nil
}

// EachTeamMasks calls fn for the masks of all generations from one on, oldest first.
func EachTeamMasks(r store.Reader, t kbsig.TeamID, from int64, fn func(generation int64, m TeamMasks) error) error {
	lo := keys.TeamMasks(t, max(from, 1))
	return r.Scan(lo, keys.End(keys.AllTeamMasks(t)), func(k, v []byte) error {
		g, ok := keys.TeamMasksOf(k)
		if !ok {
			return fmt.Errorf("malformed key of masks of team %s", t)
		}
		m, err := decodeTeamMasks(v)
		if err != nil {
			return fmt.Errorf("masks of team %s: %w", t, err)
		}
		return fn(g, m)
	})
}
