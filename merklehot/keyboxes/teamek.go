package keyboxes

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// teamEKsKept is how many generations of a team's ephemeral key are kept with their
// boxes: see userEKsKept.
const teamEKsKept = 60

// TeamEK is one generation of a team's ephemeral key. client: go/ephemeral/team_ek.go
type TeamEK struct {
	Generation int64  `codec:"g"`
	Sig        string `codec:"s"` // the statement as received
	// Link is the newest link of the team's chain that it was made after.
	Link kbsig.Seqno `codec:"l"`
}

// TeamEKBox is its seed encrypted to a user's ephemeral key.
type TeamEKBox struct {
	Box        string      `codec:"b"`
	Generation int64       `codec:"g"` // of the user's ephemeral key
	Eldest     kbsig.Seqno `codec:"e"` // begins the user's incarnation
}

// NewestTeamEK loads a team's newest generation; nil if there is none.
func NewestTeamEK(r store.Reader, t kbsig.TeamID) (*TeamEK, error) {
	var out *TeamEK
	lo := keys.TeamEKs(t)
	err := r.ScanReverse(lo, keys.End(lo), func(_, v []byte) error {
		ek, err := store.Decode[TeamEK](v)
		if err != nil {
			return err
		}
		out = &ek
		return store.ErrStop
	})
	if err != nil {
		return nil, fmt.Errorf("ephemeral keys of team %s: %w", t, err)
	}
	return out, nil
}

// PutTeamEK stores the next generation.
func PutTeamEK(tx *store.Tx, t kbsig.TeamID, ek TeamEK) error {
	newest, err := NewestTeamEK(tx, t)
	if err != nil {
		return err
	}
	if ek.Generation < 1 || newest != nil && ek.Generation != newest.Generation+1 {
		return fmt.Errorf("team ephemeral key %d: %w", ek.Generation, ErrBadGeneration)
	}
	store.Save(tx, keys.TeamEK(t, ek.Generation), ek)
	last := ek.Generation - teamEKsKept
	if last < 1 {
		return nil
	}
	tx.Delete(keys.TeamEK(t, last))
	lo := keys.TeamEKBoxes(t, last)
	return drop(tx, lo, keys.End(lo))
}

// PutTeamEKBox stores a user's box of a generation, in place of the one before.
func PutTeamEKBox(tx *store.Tx, t kbsig.TeamID, generation int64, u kbsig.UID, b TeamEKBox) {
	store.Save(tx, keys.TeamEKBox(t, generation, u), b)
}

// GetTeamEKBox loads a generation, and the box of a user's present incarnation in it;
// each is nil if it is not there.
func GetTeamEKBox(r store.Reader, t kbsig.TeamID, generation int64, uv kbsig.UserVersion) (*TeamEK, *TeamEKBox, error) {
	ek, err := store.Load[TeamEK](r, keys.TeamEK(t, generation))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("ephemeral key %d of team %s: %w", generation, t, err)
	}
	b, err := store.Load[TeamEKBox](r, keys.TeamEKBox(t, generation, uv.UID))
	if errors.Is(err, store.ErrNotFound) || err == nil && b.Eldest != uv.Eldest {
		return &ek, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("ephemeral key %d of team %s: %w", generation, t, err)
	}
	return &ek, &b, nil
}

// BotKey is a key that a team's members made for a restricted bot, encrypted to it.
// client: go/teambot/member_keyer.go, go/ephemeral/teambot_ek.go
type BotKey struct {
	Generation int64     `codec:"g"`
	Sig        string    `codec:"s"` // the statement as received
	Box        string    `codec:"b"`
	Signer     kbsig.KID `codec:"k"` // the team's key that signed
	Sealed     int64     `codec:"p"` // generation of the bot's key that it is encrypted to
	// Eldest is the bot's incarnation; a later one cannot open the box.
	Eldest kbsig.Seqno `codec:"e,omitempty"`
}

// BotKeyID names a series of keys of an incarnation of a bot.
type BotKeyID struct {
	Team        kbsig.TeamID
	Bot         kbsig.UID
	Eldest      kbsig.Seqno
	Application int
	Ephemeral   bool
}

func (id BotKeyID) key(generation int64) []byte {
	return keys.BotKey(id.Team, id.Bot, byte(id.Application), id.Ephemeral, generation)
}

// PutBotKey stores a generation, in place of that of an earlier incarnation.
func PutBotKey(tx *store.Tx, id BotKeyID, k BotKey) {
	k.Eldest = id.Eldest
	store.Save(tx, id.key(k.Generation), k)
}

// DropBotKey forgets a generation.
func DropBotKey(tx *store.Tx, id BotKeyID, generation int64) { tx.Delete(id.key(generation)) }

// GetBotKey loads a generation; nil if there is none.
func GetBotKey(r store.Reader, id BotKeyID, generation int64) (*BotKey, error) {
	k, err := store.Load[BotKey](r, id.key(generation))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("key of bot %s in team %s: %w", id.Bot, id.Team, err)
	}
	if k.Eldest != id.Eldest {
		return nil, nil
	}
	return &k, nil
}

// NewestBotKey loads the newest generation; nil if there is none.
func NewestBotKey(r store.Reader, id BotKeyID) (out *BotKey, err error) {
	lo := keys.BotKeys(id.Team, id.Bot, byte(id.Application), id.Ephemeral)
	err = r.ScanReverse(lo, keys.End(lo), func(_, v []byte) error {
		k, err := store.Decode[BotKey](v)
		if err != nil {
			return err
		}
		if k.Eldest == id.Eldest {
			out = &k
		}
		return store.ErrStop // those of an earlier incarnation are not newer
	})
	if err != nil {
		return nil, fmt.Errorf("keys of bot %s in team %s: %w", id.Bot, id.Team, err)
	}
	return out, nil
}

// Pseudonym is what a key's pseudonym stands for; whoever makes one publishes it, so that
// recipients of a message find the key. client: go/libkb/key_pseudonym.go:KeyPseudonymInfo
type Pseudonym struct {
	ID          [16]byte `codec:"i"` // of a user or a team
	Application int      `codec:"a"`
	Generation  int64    `codec:"g"`
	Nonce       [32]byte `codec:"n"`
}

// PutPseudonym stores what a pseudonym stands for; the first to say so stays.
func PutPseudonym(tx *store.Tx, name [32]byte, p Pseudonym) error {
	k := keys.Pseudonym(name)
	if known, err := store.Has(tx, k); err != nil || known {
		return err
	}
	store.Save(tx, k, p)
	return nil
}

// GetPseudonym loads what a pseudonym stands for; nil if nobody knows.
func GetPseudonym(r store.Reader, name [32]byte) (*Pseudonym, error) {
	p, err := store.Load[Pseudonym](r, keys.Pseudonym(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pseudonym: %w", err)
	}
	return &p, nil
}
