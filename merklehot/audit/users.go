package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// usersAheadMax is how many users are audited ahead of the one whose turn it is.
const usersAheadMax = 256

// user is what the audit holds of the user it is at.
type user struct {
	uid     kbsig.UID
	record  []byte // of the account
	acct    accounts.Account
	leaf    []leafValue   // all that were stored, oldest first
	changed []kbsig.Seqno // roots that a leaf value was written for
	ends    []end         // of the chain after each of its links
	points  map[point][]byte
	indexed map[string]bool // entries about PGP keys that were found, by key
	// state is what the links lead to; nil if the chain does not play.
	state *sigchain.State
}

// end is the end of a chain after one link.
type end struct {
	link kbsig.LinkID
	sig  kbsig.SigIDBase
}

// point is a place in a user's history: so many links, so many resets. The leaf there
// follows from the two chains alone.
type point struct{ links, resets kbsig.Seqno }

// users is the pass over all users, in the order of their ids. A view can be read by
// many at once, and most of the time goes into signatures: then all processors audit
// users, while what they found is put together in order.
func (a *auditor) users() error {
	if _, ok := a.r.(*store.View); !ok {
		return a.eachAccount(func(u *user) error { return a.merge(a.part(u)) })
	}
	inOrder := make(chan chan *part, usersAheadMax)
	end := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		defer close(inOrder)
		busy := make(chan struct{}, runtime.GOMAXPROCS(0))
		end <- a.eachAccount(func(u *user) error {
			done := make(chan *part, 1)
			select {
			case inOrder <- done:
			case <-stop:
				return store.ErrStop
			}
			busy <- struct{}{}
			go func() { done <- a.part(u); <-busy }()
			return nil
		})
	}()
	var err error
	for done := range inOrder {
		p := <-done
		if err == nil {
			if err = a.merge(p); err != nil {
				close(stop)
			}
		}
	}
	return errors.Join(err, <-end)
}

// eachAccount calls fn for each account, in the order of their ids.
func (a *auditor) eachAccount(fn func(*user) error) error {
	return a.r.Scan(keys.Accounts(), keys.End(keys.Accounts()), func(k, v []byte) error {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		u, ok := keys.AccountUID(k)
		if !ok {
			return nil // said by the pass over the keys
		}
		return fn(&user{uid: u, record: bytes.Clone(v)})
	})
}

// part is what was found about one user.
type part struct {
	user *user
	find *auditor // with nothing in it but what was found
	said bytes.Buffer
	err  error
}

// part audits one user. It changes nothing of a, and may run beside others.
func (a *auditor) part(u *user) *part {
	p := &part{user: u}
	p.find = &auditor{
		ctx: a.ctx, r: a.r, opts: a.opts, out: &p.said,
		first: a.first, newest: a.newest, newestCtime: a.newestCtime, hashes: a.hashes,
		rng: a.rng ^ binary.BigEndian.Uint64(u.uid[:8]),
	}
	p.find.keys.stored = a.keys.stored
	p.err = p.find.user(u)
	return p
}

// merge adds what was found about the next user, and the user's leaf to the tree.
func (a *auditor) merge(p *part) error {
	if p.err != nil && !errors.Is(p.err, errEnough) {
		return p.err
	}
	for line := range strings.Lines(p.said.String()) {
		a.problem("%s", strings.TrimSuffix(line, "\n"))
	}
	f := p.find
	a.accounts++
	a.links += f.links
	a.resets += f.resets
	a.keyCount += f.keyCount
	a.leafValues += f.leafValues
	a.paths += f.paths
	for prefix, n := range f.keys.right {
		a.keys.right[prefix] += n
	}
	for _, n := range p.user.changed {
		a.leafChanged.add(n - a.first)
	}
	if err := a.pause(); err != nil {
		return err
	}
	return a.addToTree(p.user)
}

func (a *auditor) user(u *user) error {
	steps := []func(*user) error{
		a.names, a.leafHistory, a.chain, a.state, a.leaves, a.activeDevices, a.follows, a.followers,
		a.boxes, a.prevs, a.deviceKeys, a.userKeys, a.userKeyBoxes, a.vouches, a.secretKeys, a.leases, a.historicalPaths,
		a.proofs,
	}
	var err error
	if u.acct, err = store.Decode[accounts.Account](u.record); err != nil {
		a.problem("account %s: %v", u.uid, err)
		steps = []func(*user) error{a.leafHistory} // without a name no link can be judged
	}
	for _, step := range steps {
		if err := step(u); err != nil {
			return err
		}
	}
	return nil
}

// names checks an account and the indexes by which it is found.
func (a *auditor) names(u *user) error {
	acct := &u.acct
	name, err := kbsig.ParseUsername(string(acct.Name))
	switch {
	case acct.UID != u.uid:
		a.problem("account %s: its record is about %s", u.uid, acct.UID)
	case err != nil || name != acct.Name:
		a.problem("account %s: its name is not one", u.uid)
	case kbsig.UIDOf(name) != u.uid:
		a.problem("account %s: not the id of its name %s", u.uid, name)
	case strings.ToLower(acct.Cased) != string(name):
		a.problem("account %s: written as another name than %s", u.uid, name)
	case acct.IDVersion < 1 || acct.PrivateVersion < 1 || acct.TrackVersion < 1 || acct.Generation < 1:
		a.problem("account %s: a version is missing", u.uid)
	}
	if err := a.pointsTo(u, "name "+string(acct.Name), keys.Name(acct.Name)); err != nil {
		return err
	}
	contact, err := accounts.GetContact(a.r, u.uid)
	if err != nil {
		a.problem("%v", err)
		return nil
	}
	return contact.PublicAddresses(func(normal string) error {
		return a.pointsTo(u, "address of "+u.uid.String(), keys.Mail(normal))
	})
}

// pointsTo checks an index entry whose value is a user.
func (a *auditor) pointsTo(u *user, subject string, k []byte) error {
	v, err := a.r.Get(k)
	switch {
	case errors.Is(err, store.ErrNotFound):
		a.problem("%s: not in its index, though account %s has it", subject, u.uid)
	case err != nil:
		return err
	case !bytes.Equal(v, store.Encode(u.uid)):
		a.problem("%s: its index names another than account %s", subject, u.uid)
		a.keys.right[k[0]]++
	default:
		a.keys.right[k[0]]++
	}
	return nil
}

// strayNames names index entries that belong to no account.
func (a *auditor) strayNames(lo []byte, what string, owns func(*accounts.Account, []byte) bool) error {
	return a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		owner, err := store.Decode[kbsig.UID](v)
		if err != nil {
			a.problem("%s under %s: %v", what, keyText(k), err)
			return a.pause()
		}
		acct, err := accounts.Get(a.r, owner)
		switch {
		case errors.Is(err, accounts.ErrNoUser):
			a.problem("%s %s: belongs to %s, who has no account", what, k[1:], owner)
		case err != nil:
			a.problem("%s %s: %v", what, k[1:], err)
		case !owns(acct, k):
			a.problem("%s %s: account %s has another", what, k[1:], owner)
		}
		return a.pause()
	})
}

// indexes is the pass over indexes that are not kept by user: entries that nothing
// calls for. It looks only where there are more entries than are called for.
func (a *auditor) indexes() error {
	name, mail := keys.Name("x")[:1], keys.Mail("x")[:1]
	kid, sig := keys.KIDOwner(zero.kid)[:1], keys.SigID(kbsig.SigIDBase{})[:1]
	for _, x := range []struct {
		prefix []byte
		look   func() error
	}{
		{keys.RootHash(kbsig.HashMeta{})[:1], a.strayRootHashes},
		{name, func() error {
			return a.strayNames(name, "name", func(acct *accounts.Account, k []byte) bool { return bytes.Equal(keys.Name(acct.Name), k) })
		}},
		{mail, func() error {
			return a.strayNames(mail, "address", func(acct *accounts.Account, k []byte) (found bool) {
				contact, err := accounts.GetContact(a.r, acct.UID)
				if err == nil {
					err = contact.PublicAddresses(func(normal string) error {
						found = found || bytes.Equal(keys.Mail(normal), k)
						return nil
					})
				}
				return found && err == nil
			})
		}},
		{kid, func() error { return a.strayKIDs(kid) }},
		{sig, func() error { return a.straySigs(sig) }},
		{keys.PGPFingers(nil), a.strayPGP},
		{keys.ProofOwner([32]byte{}, zero.uid)[:1], a.strayProvenNames},
	} {
		if !a.keys.extra(x.prefix) {
			continue
		}
		if err := x.look(); err != nil {
			return err
		}
	}
	return nil
}

// subject names a user's chain.
func (u *user) subject() string { return fmt.Sprintf("chain of %s", u.uid) }
