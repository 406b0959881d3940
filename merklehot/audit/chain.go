package audit

import (
	"bytes"
	"errors"
	"sort"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/tree"
)

// chain plays a user's chain again from its records, link by link, each judged as it
// was when it was taken, and checks that its keys and signatures are in the indexes.
func (a *auditor) chain(u *user) error {
	st := sigchain.NewState(u.uid, u.acct.Name)
	broken := false
	pending, err := a.resetLinks(u)
	if err != nil {
		return err
	}
	u.points = map[point][]byte{{}: leafOf(st)}
	resets := func() error {
		next, err := a.resetsDue(u, st, &pending)
		if next == nil {
			broken = true
			return errors.Join(err, store.ErrStop)
		}
		st = next
		return err
	}
	if err := resets(); err != nil {
		if errors.Is(err, store.ErrStop) {
			return nil
		}
		return err
	}
	err = a.r.Scan(keys.Links(u.uid), keys.End(keys.Links(u.uid)), func(k, v []byte) error {
		if err := a.pause(); err != nil {
			return err
		}
		_, n, ok := keys.LinkOf(k)
		if !ok || n < 1 {
			return nil // said by the pass over the keys
		}
		if n != st.Tail+1 {
			a.problem("%s link %d: missing, the next one is link %d", u.subject(), st.Tail+1, n)
			broken = true
			return store.ErrStop
		}
		next, l, err := a.link(u, st, n, v)
		if err != nil {
			a.problem("%s link %d: %v", u.subject(), n, err)
			broken = true
			return store.ErrStop
		}
		before := st
		st = next
		u.ends = append(u.ends, end{l.ID, l.SigID})
		u.points[point{st.Tail, st.Resets.Seqno}] = leafOf(st)
		a.links++
		if err := a.linkIndexes(u, before, l); err != nil {
			return err
		}
		return resets()
	})
	if len(pending) > 0 && !broken {
		a.problem("%s reset %d: after link %d, the chain has %d", u.subject(), pending[0].Seqno, pending[0].Tail, st.Tail)
		broken = true
	}
	if !broken {
		u.state = st
	}
	return err
}

// resetLinks reads a user's reset chain. What cannot be read ends it.
func (a *auditor) resetLinks(u *user) (out []*sigchain.ResetLink, err error) {
	lo := keys.Resets(u.uid)
	err = a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		_, n, ok := keys.ResetOf(k)
		if !ok || n < 1 {
			return nil // said by the pass over the keys
		}
		l, err := sigchain.ParseResetLink(v)
		switch {
		case err != nil:
			a.problem("%s reset %d: %v", u.subject(), n, err)
		case l.Seqno != n:
			a.problem("%s reset %d: the record is reset %d", u.subject(), n, l.Seqno)
		}
		if err == nil {
			out = append(out, l)
		}
		return a.pause()
	})
	return out, err
}

// resetsDue applies the resets that come after the chain's last link; nil if one may not
// stand where it stands.
func (a *auditor) resetsDue(u *user, st *sigchain.State, pending *[]*sigchain.ResetLink) (*sigchain.State, error) {
	for len(*pending) > 0 && (*pending)[0].Tail <= st.Tail {
		l := (*pending)[0]
		e, err := a.envOf(u, func(v tree.Value) bool { return v.Reset.Seqno >= l.Seqno })
		if err != nil {
			return nil, err
		}
		next, err := st.ApplyReset(l, e)
		if err != nil {
			a.problem("%s reset %d: %v", u.subject(), l.Seqno, err)
			return nil, nil
		}
		st, *pending = next, (*pending)[1:]
		u.points[point{st.Tail, st.Resets.Seqno}] = leafOf(st)
		a.resets++
	}
	return st, nil
}

// link reads, verifies and applies one link.
func (a *auditor) link(u *user, st *sigchain.State, n kbsig.Seqno, v []byte) (*sigchain.State, *sigchain.Link, error) {
	rec, err := sigchain.DecodeRecord(v)
	if err != nil {
		return nil, nil, err
	}
	l, err := rec.Link()
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(l.Record().Encode(), v) {
		return nil, nil, errors.New("the record holds more than the link")
	}
	e, err := a.envOf(u, func(v tree.Value) bool { return v.Public.Seqno >= n })
	if err != nil {
		return nil, nil, err
	}
	next, err := st.Apply(l, e)
	return next, l, err
}

// env is what a link was judged with: the roots before the one that covers it.
type env struct {
	a      *auditor
	uid    kbsig.UID
	latest kbsig.Seqno
	now    time.Time
}

// envOf finds the first root whose leaf covers a link or reset; that was judged with the
// roots before and not later than that root's time.
func (a *auditor) envOf(u *user, covers func(tree.Value) bool) (env, error) {
	e := env{a, u.uid, a.newest, time.Unix(a.newestCtime, 0)}
	at := sort.Search(len(u.leaf), func(i int) bool { return covers(u.leaf[i].value) })
	if at == len(u.leaf) {
		return e, nil // the check of the newest leaf will say so
	}
	root, err := a.rootAt(u.leaf[at].root)
	if err != nil || root == nil {
		return e, err
	}
	e.latest, e.now = root.Seqno-1, time.Unix(root.Ctime, 0)
	return e, nil
}

// Now implements sigchain.Env.
func (e env) Now() time.Time { return e.now }

// LatestRoot implements sigchain.Env.
func (e env) LatestRoot() kbsig.Seqno { return e.latest }

// Root implements sigchain.Env.
func (e env) Root(n kbsig.Seqno) (sigchain.RootRef, bool, error) {
	r, err := e.a.rootAt(n)
	if err != nil || r == nil {
		return sigchain.RootRef{}, false, err
	}
	return sigchain.RootRef{Seqno: r.Seqno, HashMeta: r.HashMeta, NodeHash: r.Hash, Ctime: r.Ctime}, true, nil
}

// KIDTaken implements sigchain.Env: another chain has the key. The chain itself knows
// its own.
func (e env) KIDTaken(k kbsig.KID) (bool, error) {
	owner, err := identity.OwnerOf(e.a.r, k)
	if err != nil || owner == nil || *owner == e.uid {
		return false, nil // the check of the index looks at it again
	}
	return e.a.chainHas(*owner, k), nil
}

// Bundle implements sigchain.Env.
func (e env) Bundle(u kbsig.UID, n kbsig.Seqno) (string, error) {
	rec, err := identity.Record(e.a.r, u, n)
	return string(rec.Bundle), err
}

// UserExists implements sigchain.Env.
func (e env) UserExists(u kbsig.UID) (bool, error) { return store.Has(e.a.r, keys.Account(u)) }

// chainHas says that a key occurs in a chain, as far as its stored state tells.
func (a *auditor) chainHas(u kbsig.UID, k kbsig.KID) bool {
	st, err := identity.Chain(a.r, u)
	if err != nil {
		return false
	}
	if _, ok := st.Key(k); ok {
		return true
	}
	for _, p := range st.PUKs {
		if p.Signing == k || p.Encryption == k {
			return true
		}
	}
	return false
}

// linkIndexes checks that a link is found by its signature, and its keys by their ids. A
// key that came back after a reset was looked at where it came first.
func (a *auditor) linkIndexes(u *user, before *sigchain.State, l *sigchain.Link) error {
	k := keys.SigID(l.SigID)
	place, err := store.Load[identity.SigPlace](a.r, k)
	switch {
	case errors.Is(err, store.ErrNotFound):
		a.problem("%s link %d: not in the signature index", u.subject(), l.Seqno)
	case err != nil:
		a.problem("%s link %d: signature index: %v", u.subject(), l.Seqno, err)
		a.keys.right[k[0]]++
	case place != identity.SigPlace{UID: u.uid, Seqno: l.Seqno}:
		a.problem("%s link %d: the signature index says link %d of %s", u.subject(), l.Seqno, place.Seqno, place.UID)
		a.keys.right[k[0]]++
	default:
		a.keys.right[k[0]]++
	}
	if l.Bundle() != nil {
		return a.pgpIndexes(u, l)
	}
	var added []kbsig.KID
	if _, again := before.Key(l.Key); !l.Key.IsZero() && !again {
		added = append(added, l.Key)
	}
	if l.PUK != nil {
		added = append(added, l.PUK.Signing, l.PUK.Encryption)
	}
	for _, kid := range added {
		a.keyCount++
		k := keys.KIDOwner(kid)
		v, err := a.r.Get(k)
		switch {
		case errors.Is(err, store.ErrNotFound):
			a.problem("%s link %d: its key %s is not in the key index", u.subject(), l.Seqno, kid)
			continue
		case err != nil:
			return err
		case !bytes.Equal(v, store.Encode(u.uid)):
			a.problem("%s link %d: the key index gives its key %s to another", u.subject(), l.Seqno, kid)
		}
		a.keys.right[k[0]]++
	}
	return nil
}

// strayKIDs names entries of the key index whose chain has no such key.
func (a *auditor) strayKIDs(lo []byte) error {
	return a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		kid, err := kbsig.KIDFromBytes(k[1:])
		if err != nil {
			return nil // said by the pass over the keys
		}
		owner, err := store.Decode[kbsig.UID](v)
		if err != nil {
			a.problem("key index entry %s: %v", kid, err)
		} else if !a.chainHas(owner, kid) {
			a.problem("key index entry %s: the chain of %s has no such key", kid, owner)
		}
		return a.pause()
	})
}

// straySigs names entries of the signature index whose link has another signature.
func (a *auditor) straySigs(lo []byte) error {
	return a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		if len(k) != 33 {
			return nil // said by the pass over the keys
		}
		id := kbsig.SigIDBase(k[1:])
		place, err := store.Decode[identity.SigPlace](v)
		if err != nil {
			a.problem("signature index entry %s: %v", id, err)
			return a.pause()
		}
		rec, err := identity.Record(a.r, place.UID, place.Seqno)
		if err == nil {
			var signed kbsig.SigIDBase
			if signed, err = rec.SigID(); err == nil && signed == id {
				return a.pause()
			}
		}
		a.problem("signature index entry %s: link %d of %s is not signed so", id, place.Seqno, place.UID)
		return a.pause()
	})
}

// state checks that the stored state is what the links lead to, byte for byte once it
// is written as this release writes it.
func (a *auditor) state(u *user) error {
	v, err := a.r.Get(keys.Chain(u.uid))
	switch {
	case errors.Is(err, store.ErrNotFound):
		a.problem("%s: no state is stored", u.subject())
		return nil
	case err != nil:
		return err
	}
	stored, err := sigchain.DecodeState(v)
	switch {
	case err != nil:
		a.problem("%s: stored state: %v", u.subject(), err)
	case u.state == nil:
		// It cannot be judged; what is wrong with the chain has been said.
	case stored.Resets.Seqno != u.state.Resets.Seqno:
		a.problem("%s: the stored state knows %d resets, the reset chain has %d", u.subject(), stored.Resets.Seqno, u.state.Resets.Seqno)
	case stored.Tail != u.state.Tail:
		a.problem("%s: the stored state ends at link %d, the chain at link %d", u.subject(), stored.Tail, u.state.Tail)
	case !bytes.Equal(stored.Encode(), u.state.Encode()):
		a.problem("%s: the stored state is not what its links lead to", u.subject())
	}
	return nil
}
