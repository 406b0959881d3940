package people

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

const (
	// blocksMax bounds the people whom one person has ever blocked.
	blocksMax = 10000
	// BlocksPerPostMax bounds the blocks of one request.
	BlocksPerPostMax = 200
)

// Block is what one person does not want of another.
type Block struct {
	Chat   bool  `codec:"c"` // no messages, no adding to teams
	Follow bool  `codec:"f"` // not to be shown among the followers
	CTime  int64 `codec:"ct"`
	// MTime is when it was last changed; 0 until then. Both in milliseconds.
	MTime int64 `codec:"mt,omitempty"`
}

// Any reports whether anything is blocked.
func (b Block) Any() bool { return b.Chat || b.Follow }

// BlockChange sets the parts of a block that are not nil.
type BlockChange struct {
	UID          kbsig.UID
	Chat, Follow *bool
}

// Blocked is somebody whom a person has blocked, or once had.
type Blocked struct {
	UID kbsig.UID
	Block
}

// BlockOf is what a has blocked of b; the zero Block if nothing ever.
func BlockOf(r store.Reader, a, b kbsig.UID) (Block, error) {
	bl, err := store.Load[Block](r, keys.Block(a, b))
	if errors.Is(err, store.ErrNotFound) {
		return Block{}, nil
	}
	if err != nil {
		return bl, fmt.Errorf("block of %s by %s: %w", b, a, err)
	}
	return bl, nil
}

// Blocks lists whom a has ever blocked, with what stands now.
func Blocks(r store.Reader, a kbsig.UID) ([]Blocked, error) {
	var out []Blocked
	lo := keys.Blocks(a)
	err := r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		b, err := store.Decode[Block](v)
		if err != nil {
			return err
		}
		if out = append(out, Blocked{kbsig.UID(k[17:]), b}); len(out) >= blocksMax {
			return store.ErrStop
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("blocks of %s: %w", a, err)
	}
	return out, nil
}

// SetBlocks changes whom a has blocked, the changes in their order. The people must
// exist; accounts.ErrNoUser says that one does not. It reports whom it changed.
func SetBlocks(tx *store.Tx, a kbsig.UID, changes []BlockChange) (changed []kbsig.UID, err error) {
	if len(changes) > BlocksPerPostMax {
		return nil, Fault(fmt.Sprintf("too many blocks at once, at most %d", BlocksPerPostMax))
	}
	all, err := Blocks(tx, a)
	if err != nil {
		return nil, err
	}
	count, now := len(all), tx.Now().UnixMilli()
	for _, c := range changes {
		if c.UID == a {
			return nil, Fault("people cannot block themselves")
		}
		known, err := store.Has(tx, keys.Account(c.UID))
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, accounts.ErrNoUser
		}
		old, err := BlockOf(tx, a, c.UID)
		if err != nil {
			return nil, err
		}
		next := old
		if c.Chat != nil {
			next.Chat = *c.Chat
		}
		if c.Follow != nil {
			next.Follow = *c.Follow
		}
		if next == old {
			continue
		}
		if old.CTime == 0 {
			if count++; count > blocksMax {
				return nil, Fault(fmt.Sprintf("no more than %d people can be blocked", blocksMax))
			}
			next.CTime = now
		} else {
			next.MTime = now
		}
		store.Save(tx, keys.Block(a, c.UID), next)
		changed = append(changed, c.UID)
	}
	if len(changed) == 0 {
		return nil, nil
	}
	// Who follows a is shown differently now.
	acct, err := accounts.Get(tx, a)
	if err != nil {
		return nil, err
	}
	acct.TrackVersion++
	accounts.Put(tx, acct)
	return changed, nil
}
