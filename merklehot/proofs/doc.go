// Package proofs knows what users have proven about themselves elsewhere: web sites,
// domains, names in networks. It really looks, and says what it saw.
//
// The statement is a link of the chain and stays there; here is what the server found
// when it looked: a Proof, one for each statement that counts. It owns
//
//   - which services there are, what people are told to publish, and the kits that tell
//     clients how to check (merklehot/pvl has the programs);
//   - the checks: when a client asks, and by itself again and again in growing
//     intervals (engine/jobs), through the one guarded fetcher (engine/fetch);
//   - who has proven a name: the newest proof that holds;
//   - the kits that roots have named, all of them, for ever.
//
// Invariants: there is a Proof exactly for each statement of the chain that is not
// superseded (Sync, in the transaction of the link); a name is in the index exactly while
// its proof holds; a change of a proof's state moves the account's versions, so that
// clients fetch again, and is told to the user and the followers in the same batch. The
// server's opinion is a service to clients, which check anew by the same programs.
//
// It writes the key families w, O and U of engine/keys.
package proofs

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/pvl"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// ErrNoProof says that a user has no such proof, or none that counts.
var ErrNoProof = errors.New("no such proof")

// State says what a proof counts for. client: go/protocol/keybase1/prove_common.go:ProofState
type State int

// States that the server gives.
const (
	StateOK          State = 1 // seen
	StateTempFailure State = 2 // seen once, not the last time
	StatePermFailure State = 3 // gone
	StateLooking     State = 4 // not seen yet
)

// Holds reports a proof that the server stands for.
func (s State) Holds() bool { return s == StateOK || s == StateTempFailure }

// Proof is what the server knows of a statement about another place.
type Proof struct {
	UID     kbsig.UID       `codec:"u"`
	SigID   kbsig.SigIDBase `codec:"i"`
	Seqno   kbsig.Seqno     `codec:"n"`
	Service string          `codec:"s"` // "github", "dns", "https", "example.org"
	Name    string          `codec:"m"` // as signed
	Ctime   int64           `codec:"c"` // of the link, Unix seconds

	State  State      `codec:"st"`
	Status pvl.Status `codec:"ss"` // of the last check
	Reason string     `codec:"r,omitempty"`
	// Hint is where the proof was found, or is looked for, for clients.
	Hint string `codec:"h"`
	// Checked and Seen are when it was looked for and found last, in Unix
	// milliseconds; 0 before.
	Checked int64 `codec:"k"`
	Seen    int64 `codec:"o"`
	// Since is when it came to hold, in Unix milliseconds; 0 while it does not.
	Since int64 `codec:"w"`
	// Checks counts looks in a row with the same outcome, Hard those that failed for good.
	Checks int `codec:"t"`
	Hard   int `codec:"d"`
}

// ID is the name of the proof beside its signature's.
func (p *Proof) ID() string { return p.SigID.String()[:22] + "10" }

// Get finds a proof; the error is ErrNoProof if there is none.
func Get(r store.Reader, u kbsig.UID, sig kbsig.SigIDBase) (*Proof, error) {
	p, err := store.Load[Proof](r, keys.Proof(u, sig))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoProof
	}
	if err != nil {
		return nil, fmt.Errorf("proof %s of %s: %w", sig, u, err)
	}
	return &p, nil
}

// List finds all proofs of a user, oldest first.
func List(r store.Reader, u kbsig.UID) ([]Proof, error) {
	var out []Proof
	lo := keys.Proofs(u)
	err := r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		p, err := store.Decode[Proof](v)
		out = append(out, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("proofs of %s: %w", u, err)
	}
	sortBySeqno(out)
	return out, nil
}

// placeOf is which service and name a statement is about.
func placeOf(s *sigchain.ServiceSection) (service, name string) {
	switch s.Protocol {
	case "":
		return s.Name, s.Username
	case "http:":
		return serviceHTTP, s.Host
	case "https:":
		return serviceHTTPS, s.Host
	}
	return serviceDNS, s.Host
}

// Owning is an entry of the index of names: which proof of the user holds, and since when.
type Owning struct {
	Sig   kbsig.SigIDBase `codec:"i"`
	Since int64           `codec:"w"`
}

// Owner is who has proven a name at a service: of several the newest. The error is
// ErrNoProof if nobody has.
func Owner(r store.Reader, service, name string) (kbsig.UID, error) {
	var best Owning
	var who kbsig.UID
	lo := keys.ProofOwners(keys.ServiceName(service, Normal(name)))
	err := r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		o, err := store.Decode[Owning](v)
		if err != nil {
			return err
		}
		_, u, ok := keys.ProofOwnerOf(k)
		if !ok {
			return fmt.Errorf("malformed key in the index of names")
		}
		if o.Since > best.Since {
			best, who = o, u
		}
		return nil
	})
	if err != nil {
		return who, fmt.Errorf("who is %.40s at %.40s: %w", name, service, err)
	}
	if best.Since == 0 {
		return who, ErrNoProof
	}
	return who, nil
}
