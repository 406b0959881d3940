package proofs

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/fetch"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/known"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/pvl"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// Fetcher gets pages and records; *fetch.Fetcher is one.
type Fetcher interface {
	Page(ctx context.Context, r fetch.Request) ([]byte, error)
	TXT(ctx context.Context, name string) ([]string, error)
}

// Options is what a Book is given.
type Options struct {
	Store  *store.Store
	Fetch  Fetcher
	Clock  clock.Clock
	Logger *slog.Logger
	// Services are the generic services that the operator configured.
	Services []*Config
	// Devel adds the networks of the client's own tests.
	Devel bool
	// Local answers for pages of this server itself, whose addresses begin with
	// develServer; nil if there are none.
	Local func(r store.Reader, path string) (page []byte, ok bool)
	// Find lists the addresses of posts of a user in a network of this server; nil if
	// there are none.
	Find func(r store.Reader, network, name string) ([]string, error)
}

// Book is the proofs of all users and the services they are about. It is safe for
// concurrent use.
type Book struct {
	o        Options
	services map[string]*service
	program  *pvl.Program
	kits     roots.Kits

	mu      sync.Mutex
	running map[string]chan struct{} // checks under way, by key
}

// New makes the book of a server. Two services of one domain are an error.
func New(o Options) (*Book, error) {
	b := &Book{o: o, services: make(map[string]*service), program: pvl.Kit(o.Devel), running: make(map[string]chan struct{})}
	for _, s := range fixed(o.Devel) {
		b.services[s.name] = s
	}
	for _, c := range o.Services {
		if err := c.prepare(); err != nil {
			return nil, fmt.Errorf("service %.80q: %w", c.Domain, err)
		}
		if b.services[c.Domain] != nil {
			return nil, fmt.Errorf("service %.80q is there twice", c.Domain)
		}
		b.services[c.Domain] = &service{name: c.Domain, typ: TypeGenericSocial, config: c}
	}
	var err error
	b.kits, err = Kits(o.Services, o.Devel)
	return b, err
}

// Kits are the documents of this server, for its roots.
func (b *Book) Kits() roots.Kits { return b.kits }

// KeepKits writes the kits where they stay when others have taken their place: clients
// that hold an older root ask for those that it names. New ones get a root at once.
func (b *Book) KeepKits(ctx context.Context) error {
	// Servers of the first days named empty ones.
	empty := roots.DefaultKits()
	kits := append(empty.All(), b.kits.All()...)
	err := b.o.Store.Update(ctx, func(tx *store.Tx) error {
		for _, k := range kits {
			key, err := kitKey(k.Hash)
			if err != nil {
				return err
			}
			known, err := store.Has(tx, key)
			if err != nil {
				return err
			}
			if !known {
				tx.Set(key, []byte(k.JSON))
			}
		}
		newest, err := roots.Newest(tx)
		if err != nil {
			return err
		}
		root, err := roots.RootAt(tx, newest)
		if err != nil {
			return err
		}
		for _, k := range b.kits.All() {
			if !strings.Contains(root.Payload, k.Hash) {
				tx.Note(roots.Beat{})
				break
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep the kits: %w", err)
	}
	return nil
}

func kitKey(hash string) (key []byte, err error) {
	h, err := hex.DecodeString(hash)
	if err != nil || len(h) != 64 || hex.EncodeToString(h) != hash {
		return nil, fmt.Errorf("not the hash of a kit")
	}
	return keys.Kit([32]byte(h[:32])), nil
}

// KitByHash finds a kit that some root has named; the error is store.ErrNotFound if
// there never was one.
func KitByHash(r store.Reader, hash string) (roots.Kit, error) {
	key, err := kitKey(hash)
	if err != nil {
		return roots.Kit{}, store.ErrNotFound
	}
	v, err := r.Get(key)
	if err != nil {
		return roots.Kit{}, err
	}
	k := roots.NewKit(string(v))
	if k.Hash != hash {
		return roots.Kit{}, store.ErrNotFound
	}
	return k, nil
}

// Accept says whether a statement about a name at a service can be checked here:
// ErrUnknownService or ErrBadName if not.
func (b *Book) Accept(at *sigchain.ServiceSection) error {
	name, who := placeOf(at)
	s := b.services[name]
	if s == nil {
		return ErrUnknownService
	}
	return s.check(who)
}

// Knows reports a service of this name, in which people are found by their names.
func (b *Book) Knows(service string) bool { return b.services[service] != nil }

// Sync makes the records agree with the chain after links were appended, in their
// transaction: new statements are looked for, and those that no longer count go.
func Sync(tx *store.Tx, after *sigchain.State) error {
	have, err := List(tx, after.UID)
	if err != nil {
		return err
	}
	active := after.ActiveProofs()
	for _, p := range have {
		if !slices.ContainsFunc(active, func(a sigchain.Proof) bool { return a.SigID == p.SigID }) {
			if err := drop(tx, &p); err != nil {
				return err
			}
		}
	}
	for _, a := range active {
		if slices.ContainsFunc(have, func(p Proof) bool { return a.SigID == p.SigID }) {
			continue
		}
		p := &Proof{UID: after.UID, SigID: a.SigID, Seqno: a.Seqno, Ctime: a.Ctime, State: StateLooking, Status: pvl.StatusUnchecked}
		p.Service, p.Name = placeOf(&a.ServiceSection)
		if err := put(tx, p); err != nil {
			return err
		}
	}
	return nil
}

// ProofsChanged is Sync for the keeper of chains. client: go/libkb/id_table.go:remoteProofInsertIntoTable
func (b *Book) ProofsChanged(tx *store.Tx, _, after *sigchain.State) error { return Sync(tx, after) }

// put writes a record, with the index entry that it must have, and its next check.
func put(tx *store.Tx, p *Proof) error {
	store.Save(tx, keys.Proof(p.UID, p.SigID), p)
	at := keys.ProofOwner(keys.ServiceName(p.Service, Normal(p.Name)), p.UID)
	if p.State.Holds() {
		store.Save(tx, at, Owning{Sig: p.SigID, Since: p.Since})
		people.SetProof(tx, p.UID, p.Service, p.Name, true)
	} else if err := unlist(tx, p); err != nil {
		return err
	}
	return schedule(tx, p)
}

// unlist takes a proof out of the index, unless another one of the user's is there, and
// passes on that the user is not known by it any more.
func unlist(tx *store.Tx, p *Proof) error {
	at := keys.ProofOwner(keys.ServiceName(p.Service, Normal(p.Name)), p.UID)
	o, err := store.Load[Owning](tx, at)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.Sig != p.SigID {
		return nil
	}
	tx.Delete(at)
	people.SetProof(tx, p.UID, p.Service, p.Name, false)
	return known.Say(tx, known.Fact{UID: p.UID, Service: p.Service, Name: Normal(p.Name)})
}

// drop forgets a proof that no longer counts.
func drop(tx *store.Tx, p *Proof) error {
	tx.Delete(keys.Proof(p.UID, p.SigID))
	if err := unlist(tx, p); err != nil {
		return err
	}
	return unschedule(tx, p)
}

func sortBySeqno(list []Proof) {
	slices.SortFunc(list, func(a, b Proof) int { return cmp.Compare(a.Seqno, b.Seqno) })
}

// Told is what the server tells somebody to publish: the text, and what some clients
// want beside it. The error is ErrNoProof if there is no such proof, and
// ErrUnknownService if its service is gone.
func (b *Book) Told(r store.Reader, u kbsig.UID, sig kbsig.SigIDBase) (p *Proof, text string, meta map[string]any, err error) {
	p, err = Get(r, u, sig)
	if err != nil {
		return nil, "", nil, err
	}
	s := b.services[p.Service]
	if s == nil {
		return nil, "", nil, ErrUnknownService
	}
	if s.text == nil {
		return p, "", nil, nil
	}
	packet, name, err := statement(r, p)
	if err != nil {
		return nil, "", nil, err
	}
	text, meta = s.text(telling{user: name, service: s, name: p.Name, sig: p.SigID, packet: packet})
	return p, text, meta, nil
}

// statement loads the signature of a proof and the name of its user.
func statement(r store.Reader, p *Proof) (packet []byte, name kbsig.Username, err error) {
	v, err := r.Get(keys.Link(p.UID, p.Seqno))
	if err != nil {
		return nil, "", fmt.Errorf("link %d of %s: %w", p.Seqno, p.UID, err)
	}
	rec, err := sigchain.DecodeRecord(v)
	if err != nil {
		return nil, "", fmt.Errorf("link %d of %s: %w", p.Seqno, p.UID, err)
	}
	v, err = r.Get(keys.Chain(p.UID))
	if err != nil {
		return nil, "", fmt.Errorf("chain of %s: %w", p.UID, err)
	}
	st, err := sigchain.DecodeState(v)
	if err != nil {
		return nil, "", fmt.Errorf("chain of %s: %w", p.UID, err)
	}
	return rec.Packet, st.Username, nil
}

// Shown is a proof as people see it.
type Shown struct {
	Proof
	Type  Type
	Human string // an address for people
	API   string // where clients look
	Group string // under which it is shown
}

// Shown adds to a proof where it is seen.
func (b *Book) Shown(p Proof) Shown {
	out := Shown{Proof: p, Group: p.Service}
	s := b.services[p.Service]
	if s == nil {
		return out
	}
	out.Type, out.API, out.Human = s.typ, p.Hint, p.Hint
	switch {
	case s.config != nil:
		out.API, _ = s.config.fill(s.config.CheckURL, p.Name)
		out.Human, _ = s.config.fill(s.config.ProfileURL, p.Name)
	case p.Hint == "":
		out.API, out.Human = s.defaultHint(p.Name), s.human(p.Name)
	case strings.HasSuffix(p.Hint, ".json"), s.typ == TypeRooter:
		out.Human = s.human(p.Name)
	}
	return out
}

// defaultHint is where a proof will be if it is where it should be.
func (s *service) defaultHint(name string) string {
	switch s.typ {
	case TypeDNS:
		return "dns://" + strings.ToLower(name)
	case TypeWebSite:
		return s.name + "://" + name + webFiles[0]
	case TypeHackerNews:
		return hackerNewsPage(name)
	}
	return ""
}
