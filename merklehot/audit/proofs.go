package audit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/proofs"
)

// proofs checks that the server keeps a record of just the proofs that count in a
// user's chain, each about what the link says, and that the index of proven names has
// just those that hold. Whether they do is for the checks to say.
func (a *auditor) proofs(u *user) error {
	if u.state == nil {
		return nil
	}
	type place struct{ service, name string }
	want := make(map[kbsig.SigIDBase]place)
	for _, p := range u.state.ActiveProofs() {
		at := place{p.Name, p.Username}
		if p.Protocol != "" {
			at = place{strings.TrimSuffix(p.Protocol, ":"), p.Host}
		}
		want[p.SigID] = at
	}
	err := a.ofUser(keys.Proof(u.uid, kbsig.SigIDBase{}), func(rest, v []byte) error {
		sig := kbsig.SigIDBase(rest)
		subject := fmt.Sprintf("proof %s of %s", sig, u.uid)
		at, known := want[sig]
		if !known {
			a.problem("%s: no link that counts says so", subject)
			return nil
		}
		delete(want, sig)
		p, err := store.Decode[proofs.Proof](v)
		switch {
		case err != nil:
			a.problem("%s: %v", subject, err)
			return nil
		case p.UID != u.uid || p.SigID != sig || p.Service != at.service || p.Name != at.name:
			a.problem("%s: the record is about another statement", subject)
			return nil
		}
		return a.provenName(subject, &p)
	})
	for sig := range want {
		if err == nil {
			a.problem("proof %s of %s: no record of it", sig, u.uid)
		}
	}
	return err
}

// provenName checks the entry of one proof in the index of names.
func (a *auditor) provenName(subject string, p *proofs.Proof) error {
	entry, err := store.Load[proofs.Owning](a.r, keys.ProofOwner(keys.ServiceName(p.Service, proofs.Normal(p.Name)), p.UID))
	missing := errors.Is(err, store.ErrNotFound)
	if err != nil && !missing {
		a.problem("%s: in the index of names: %v", subject, err)
		return nil
	}
	mine := !missing && entry.Sig == p.SigID
	switch {
	case p.State.Holds() && !mine:
		a.problem("%s: it holds, but is not in the index of names", subject)
	case !p.State.Holds() && mine:
		a.problem("%s: it does not hold, but is in the index of names", subject)
	case mine && entry.Since != p.Since:
		a.problem("%s: another time in the index of names", subject)
	}
	if mine {
		a.keys.right[keys.ProofOwner([32]byte{}, p.UID)[0]]++
	}
	return nil
}

// strayProvenNames names entries of the index of names that no proof calls for.
func (a *auditor) strayProvenNames() error {
	lo := keys.ProofOwner([32]byte{}, zero.uid)[:1]
	return a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		name, u, ok := keys.ProofOwnerOf(k)
		if !ok {
			return nil // said by the pass over the keys
		}
		entry, err := store.Decode[proofs.Owning](v)
		if err != nil {
			a.problem("proven name under %s: %v", keyText(k), err)
			return nil
		}
		p, err := proofs.Get(a.r, u, entry.Sig)
		if errors.Is(err, proofs.ErrNoProof) || err == nil && keys.ServiceName(p.Service, proofs.Normal(p.Name)) != name {
			a.problem("proven name of %s: there is no proof %s of it", u, entry.Sig)
			return nil
		}
		return err
	})
}
