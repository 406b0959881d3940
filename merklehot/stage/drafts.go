package stage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Obj is a section of a link.
type Obj = map[string]any

// Key is a generation of a team's key.
type Key struct {
	Generation int64
	Sig        *client.SigningKey
	Enc        *client.DHKey
}

// Draft is a post that somebody makes; what does not fit may be made of it, too.
type Draft struct {
	Post  teams.Post
	by    *Person
	root  *client.Root
	tails map[kbsig.TeamID]tail
	fresh map[kbsig.TeamID]*Key
	blind bool  // its links do not commit to hidden chains
	err   error // the first link that a server would not even read
}

type tail struct {
	seqno client.Seqno
	link  client.LinkID
}

// Draft begins a post that quotes the newest root.
func (p *Person) Draft() *Draft {
	return &Draft{by: p, root: p.s.newest(), tails: map[kbsig.TeamID]tail{}, fresh: map[kbsig.TeamID]*Key{}}
}

// Blind begins a post of somebody who does not know of hidden chains.
func (p *Person) Blind() *Draft {
	d := p.Draft()
	d.blind = true
	return d
}

// Quote has further links quote an older root.
func (d *Draft) Quote(n kbsig.Seqno) *Draft {
	d.by.s.Read(func(v *store.View) error {
		r, err := roots.RootAt(v, n)
		if err == nil {
			d.root, err = client.ParseRoot(r.Payload)
		}
		return err
	})
	return d
}

// Root is the number of the root that the draft quotes.
func (d *Draft) Root() kbsig.Seqno { return kbsig.Seqno(d.root.Seqno) }

// Send posts the draft, twice: a refusal must have changed nothing, and posting again
// what stands neither.
func (d *Draft) Send() error {
	if d.err != nil {
		return d.err
	}
	s := d.by.s
	s.T.Helper()
	s.Clock.Advance(time.Second)
	before := s.Dump()
	failed := s.Teams.Post(s.T.Context(), d.by.UID, d.Post)
	if failed == nil {
		before = s.Dump()
		s.Must(s.Teams.Post(s.T.Context(), d.by.UID, d.Post))
	}
	if changed := Changed(before, s.Dump()); len(changed) > 0 {
		s.T.Errorf("after %v: posted again, or refused, it has changed %q", failed, changed)
	}
	if failed != nil {
		return failed
	}
	for t, k := range d.fresh {
		s.keys[t] = append(s.keys[t], k)
	}
	return nil
}

// Link signs the next link of a team.
func (d *Draft) Link(t kbsig.TeamID, typ string, section Obj) *Draft {
	section["id"] = t.String()
	seqType := kbsig.SeqTypeSemiprivate
	if t.Public() {
		section["is_public"], seqType = true, kbsig.SeqTypePublic
	}
	at := d.tail(t)
	d.ratchet(t, typ, section)
	p := d.by
	spec := &client.LinkSpec{
		Type: typ, Version: 2, UID: client.UID(p.UID), Username: p.Name, Signer: p.Devices[0].Sig, Eldest: p.eldest,
		Seqno: at.seqno + 1, Prev: at.link, Ctime: p.s.Clock.Now().Unix(), Root: d.root, Body: Obj{"team": section},
		Number: int64(kbsig.TeamLinkTypeOf(typ)), SeqType: int64(seqType),
	}
	if section["per_team_key"] != nil {
		spec.ReverseSigner, spec.ReverseSection = d.fresh[t].Sig, "team.per_team_key"
	}
	l, err := client.BuildLink(spec)
	p.s.Must(err)
	item, err := teamchain.Parse(teamchain.Posted{
		Sig: kbsig.Armor(l.Packet), SigInner: string(l.Inner), SigningKID: spec.Signer.KID().String(), Type: typ,
		TeamID: t.String(), SeqType: seqType, Version: 2,
	})
	if err != nil && d.err == nil {
		d.err = err
	}
	d.Post.Items = append(d.Post.Items, teams.Item{Visible: item})
	d.tails[t] = tail{spec.Seqno, l.ID}
	return d
}

// tail is where a chain ends, with the links of the draft.
func (d *Draft) tail(t kbsig.TeamID) tail {
	if at, ok := d.tails[t]; ok {
		return at
	}
	st := d.by.s.Team(t)
	if st == nil {
		return tail{}
	}
	n, link, _ := st.Tail()
	return tail{client.Seqno(n), client.LinkID(link)}
}

// ratchet commits a link to the hidden chain, if there is one.
func (d *Draft) ratchet(t kbsig.TeamID, typ string, section Obj) {
	h := d.by.s.hidden(t)
	if h.Tail().Seqno == 0 || typ == "team.kbfs" || d.blind {
		return
	}
	b := kbsig.Blinding{Tail: h.Tail(), Key: sha256.Sum256(fmt.Append(nil, t, len(d.Post.Blindings)))}
	b.Ratchet = kbsig.RatchetOf(b.Tail, b.Key)
	section["ratchets"] = []string{hex.EncodeToString(b.Ratchet[:])}
	d.Post.Blindings = append(d.Post.Blindings, b)
}

// NewKey is a per_team_key section with the next generation of a team's key.
func (d *Draft) NewKey(t kbsig.TeamID) Obj {
	k := d.by.s.newKey()
	k.Generation = d.by.s.Generation(t) + 1
	d.fresh[t] = k
	return Obj{
		"generation": k.Generation, "encryption_kid": k.Enc.KID().String(), "signing_kid": k.Sig.KID().String(), "reverse_sig": nil,
	}
}

// Key is the new key that the draft gives a team; nil if it gives none.
func (d *Draft) Key(t kbsig.TeamID) *Key { return d.fresh[t] }

func (s *Stage) newKey() *Key {
	var seeds [2]client.Seed
	for i := range seeds {
		_, _ = s.Rand.Read(seeds[i][:])
	}
	return &Key{Sig: client.NewSigningKey(seeds[0]), Enc: client.NewDHKey(seeds[1])}
}

// Hidden is a hidden link that gives a team the next key.
func (d *Draft) Hidden(t kbsig.TeamID) *Draft {
	s, p := d.by.s, d.by
	st, h := s.Team(t), s.hidden(t)
	d.NewKey(t)
	k := d.fresh[t]
	n, link, _ := st.Tail()
	l := &client.HiddenLink{
		Team: t, Seqno: client.Seqno(h.Tail().Seqno) + 1, Prev: client.LinkID(h.Tail().Link),
		Key:   client.HiddenKey{Generation: int(k.Generation), Enc: k.Enc.KID(), Check: [32]byte{byte(k.Generation)}},
		Ctime: s.Clock.Now().Unix(), Entropy: []byte("sixteen bytes of"), Client: &[2]string{"a client", "1.0"},
		RootCtime: d.root.Ctime, RootHash: d.root.HashMeta, RootSeqno: d.root.Seqno,
		Parent: client.HiddenTail{Seqno: client.Seqno(n), LinkID: client.LinkID(link)},
		UID:    client.UID(p.UID), Eldest: client.Seqno(p.UV().Eldest), Implicit: st.Implicit(),
	}
	if at, ok := p.adminOf(t); ok {
		l.Admin = &client.HiddenAdmin{Team: at.Team, Seqno: client.Seqno(at.Seqno), SeqType: at.SeqType}
	}
	l.Build(p.Devices[0].Sig, k.Sig)
	item, err := hidden.Parse(hidden.Posted{
		Type: "team.rotate_key_hidden", TeamID: t.String(), SigningKID: l.KID.String(), SeqType: kbsig.SeqTypeTeamHidden, Version: 3,
		Inner: l.Inner, Outer: l.Outer, Sig: l.Sig, Signing: l.Key.Sig.String(), Encryption: l.Key.Enc.String(),
	})
	if err != nil && d.err == nil {
		d.err = err
	}
	d.Post.Items = append(d.Post.Items, teams.Item{Hidden: item})
	return d
}

// Boxes are of a team's key for the present incarnations of these users.
func (d *Draft) Boxes(generation int64, prev bool, to ...kbsig.UID) *kbsig.TeamBoxes {
	out := &kbsig.TeamBoxes{Generation: generation, Sender: kbsig.KID(d.by.Devices[0].Enc.KID())}
	if prev {
		out.Prev = "the seed before, sealed"
	}
	slices.SortFunc(to, func(a, b kbsig.UID) int { return bytes.Compare(a[:], b[:]) })
	h := sha256.New()
	d.by.s.Read(func(v *store.View) error {
		for i, u := range slices.Compact(to) {
			st, err := identity.Chain(v, u)
			if err != nil {
				return err
			}
			puk, _ := st.LatestPUK()
			out.Boxes = append(out.Boxes, kbsig.TeamBox{User: u, PUKSeqno: puk.AddedAt, Counter: uint32(i + 1)})
			fmt.Fprintln(h, u, puk.AddedAt)
		}
		return nil
	})
	h.Sum(out.Summary[:0])
	return out
}

// Team is what a team's chain means; nil if there is none. It outlives no further post.
func (s *Stage) Team(t kbsig.TeamID) (st *teamchain.State) {
	s.T.Helper()
	v := s.Store.View()
	s.T.Cleanup(v.Close)
	st, err := teams.Load(v, t)
	if err != nil {
		return nil
	}
	return st
}

func (s *Stage) hidden(t kbsig.TeamID) (h *hidden.State) {
	s.T.Helper()
	s.Read(func(v *store.View) (err error) {
		h, err = hidden.Load(v, t)
		return err
	})
	return h
}

// Generation is the newest of a team's key; 0 before the first.
func (s *Stage) Generation(t kbsig.TeamID) int64 {
	st := s.Team(t)
	if st == nil {
		return 0
	}
	return max(st.PTK().Generation, s.hidden(t).PTK().Generation)
}

// Key is a generation of a team's key; 0 is the newest.
func (s *Stage) Key(t kbsig.TeamID, generation int64) *Key {
	all := s.keys[t]
	if generation == 0 {
		generation = int64(len(all))
	}
	return all[generation-1]
}
