package archive

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
	"github.com/keystead/keystead/merklehot/tree"
)

// markRecord is a high-water record in memory.
type markRecord struct{ mark highwater.Mark }

func (m *markRecord) Mark() highwater.Mark { return m.mark }

func (m *markRecord) Advance(_, next highwater.Mark) error { m.mark = next; return nil }

// tb is what a world wants of a test, or of one run of a property.
type tb interface {
	rapid.TB
	Cleanup(func())
	Context() context.Context
}

// world is a store in memory with users and teams, whose links an independent client has
// signed, and an archive of it on another disk.
type world struct {
	t     tb
	clock *clock.Fake
	rng   *rand.ChaCha8
	st    *store.Store
	seq   *roots.Sequencer
	svc   *identity.Service
	srv   *client.Server // for its randomness only
	disk  *vfs.MemFS     // of the archive
	users []*person
	teams []*group
	inTx  bool // on the committer, where a test must not end itself
}

const dir = "archive"

func newWorld(t tb) *world {
	w := &world{t: t, clock: clock.NewFake(time.Unix(1795289782, 0)), rng: rand.NewChaCha8([32]byte{1}), disk: vfs.NewCrashableMem()}
	var err error
	w.st, err = store.Open(store.Options{
		Dir: "data", FS: vfs.NewMem(), Clock: w.clock.Now, Rand: w.rng, CacheBytes: 1 << 20,
		Fatal: func(err error) { w.t.Errorf("store: %v", err) },
	})
	w.must(err)
	t.Cleanup(func() { w.must(w.st.Close()) })
	w.seq, err = roots.Start(t.Context(), w.st, roots.Config{Key: ed25519.NewKeyFromSeed(make([]byte, 32)), HighWater: new(markRecord), Rand: w.rng})
	w.must(err)
	w.svc = identity.New(w.st, w.rng)
	w.srv = client.NewServer("http://nowhere.invalid", nil, w.clock.Now, w.rng)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil && w.inTx {
		panic(err) // the store makes an error of it
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(fn func(tx *store.Tx)) {
	w.t.Helper()
	w.must(w.st.Update(w.t.Context(), func(tx *store.Tx) error {
		w.inTx = true
		defer func() { w.inTx = false }()
		fn(tx)
		return nil
	}))
}

// newest is the newest root.
func (w *world) newest() *roots.Root {
	v := w.st.View()
	defer v.Close()
	return roots.StateOf(v).Root()
}

// quoted is the newest root, as a client has parsed it.
func (w *world) quoted() *client.Root {
	w.t.Helper()
	r, err := client.ParseRoot(w.newest().Payload)
	w.must(err)
	return r
}

// person is a user with one device.
type person struct {
	w      *world
	name   string
	uid    kbsig.UID
	device *client.Device
	seqno  client.Seqno
	prev   client.LinkID
}

func (p *person) uv() string { return fmt.Sprintf("%s%%1", p.uid) }

// signUp makes a user, with or without keys.
func (w *world) signUp(keyed bool) {
	w.t.Helper()
	w.clock.Advance(time.Second)
	p := &person{w: w, name: fmt.Sprintf("user%d", len(w.users))}
	acct, _, err := w.svc.SignUp(w.t.Context(), identity.SignUp{
		Name: kbsig.Username(p.name), Cased: p.name, PDPKA5: kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{1}),
		Also: func(*store.Tx, kbsig.UID) error { return nil },
	})
	w.must(err)
	p.uid, w.users = acct.UID, append(w.users, p)
	if !keyed {
		return
	}
	p.device, err = client.NewDevice(w.srv, "the device", "desktop")
	w.must(err)
	var seed client.Seed
	_, _ = w.rng.Read(seed[:])
	puk := client.NewPUK(seed)
	sealed, err := p.device.Enc.Seal(w.rng, puk.Seed[:], p.device.Enc.KID())
	w.must(err)
	sig := p.device.Sig
	w.must(w.svc.Post(w.t.Context(), p.uid, identity.Post{
		Links: []*sigchain.Link{
			p.link(client.LinkSpec{Type: "eldest", Version: 1, Body: client.EldestBody(p.device)}),
			p.link(client.LinkSpec{Type: "subkey", Version: 1, Eldest: sig.KID(), Body: client.SubkeyBody(p.device)}),
			p.link(client.LinkSpec{Type: "per_user_key", Version: 1, Eldest: sig.KID(), Body: client.PUKBody(puk, 1),
				ReverseSigner: puk.Sig, ReverseSection: "per_user_key"}),
		},
		PUK: &sigchain.PUKExtra{Generation: 1, Boxes: []sigchain.Box{
			{Generation: 1, ReceiverKID: kbsig.KID(p.device.Enc.KID()), Box: sealed.Armor()},
		}},
	}))
}

// link signs the next link of a user's chain.
func (p *person) link(s client.LinkSpec) *sigchain.Link {
	p.w.t.Helper()
	s.UID, s.Username, s.Signer = client.UID(p.uid), p.name, p.device.Sig
	s.Seqno, s.Prev, s.Ctime, s.Root = p.seqno+1, p.prev, p.w.clock.Now().Unix(), p.w.quoted()
	l, err := client.BuildLink(&s)
	p.w.must(err)
	p.seqno, p.prev = s.Seqno, l.ID
	got, err := (&sigchain.Record{Packet: l.Packet}).Link()
	p.w.must(err)
	return got
}

// group is a team of one owner.
type group struct {
	id         kbsig.TeamID
	owner      *person
	seqno      client.Seqno
	prev       client.LinkID
	generation int
}

// create makes a team.
func (w *world) create(owner *person) {
	w.t.Helper()
	name, err := kbsig.ParseTeamName(fmt.Sprintf("team%d", len(w.teams)))
	w.must(err)
	g := &group{id: kbsig.TeamIDOf(name, false), owner: owner}
	w.teams = append(w.teams, g)
	none := []string{}
	w.visible(g, "team.root", int64(kbsig.LinkTeamRoot), map[string]any{"name": name.String(), "members": map[string]any{
		"owner": []string{owner.uv()}, "admin": none, "writer": none, "reader": none, "bot": none, "restricted_bot": none,
	}})
}

// rotate gives a team a new key on its visible chain.
func (w *world) rotate(g *group) {
	w.t.Helper()
	w.visible(g, "team.rotate_key", int64(kbsig.LinkTeamRotateKey), map[string]any{})
}

// teamKey is a generation of a team's key.
func (g *group) teamKey(generation int) (*client.SigningKey, client.KID) {
	seed := client.Seed{byte(generation)}
	copy(seed[1:], g.id[:])
	return client.NewSigningKey(seed), client.NewDHKey(seed).KID()
}

// visible signs a link with a new key and writes what a post would write of the chain.
func (w *world) visible(g *group, typ string, number int64, section map[string]any) {
	w.t.Helper()
	w.clock.Advance(time.Second)
	sig, enc := g.teamKey(g.generation + 1)
	section["id"] = g.id.String()
	section["per_team_key"] = map[string]any{
		"generation": g.generation + 1, "encryption_kid": enc.String(), "signing_kid": sig.KID().String(), "reverse_sig": nil,
	}
	s := &client.LinkSpec{
		Type: typ, Version: 2, UID: client.UID(g.owner.uid), Username: g.owner.name, Signer: g.owner.device.Sig,
		Eldest: g.owner.device.Sig.KID(), Seqno: g.seqno + 1, Prev: g.prev, Ctime: w.clock.Now().Unix(), Root: w.quoted(),
		Body: map[string]any{"team": section}, Number: number, SeqType: 3, ReverseSigner: sig, ReverseSection: "team.per_team_key",
	}
	built, err := client.BuildLink(s)
	w.must(err)
	l, err := teamchain.Parse(teamchain.Posted{
		Sig: base64.StdEncoding.EncodeToString(built.Packet), SigInner: string(built.Inner), SigningKID: s.Signer.KID().String(),
		Type: typ, TeamID: g.id.String(), SeqType: 3, Version: 2,
	})
	w.must(err)
	w.update(func(tx *store.Tx) {
		after, err := teamchain.CheckBatch([]*teamchain.Link{l}, fairJudge{tx, g.owner})
		w.must(err)
		st := after[g.id]
		tx.Set(keys.TeamLink(g.id, l.Seqno), l.Record().Encode())
		tx.Set(keys.TeamChain(g.id), st.Header())
		st.ChangedRows(func(name, value []byte) { tx.Set(keys.TeamRow(g.id, name), value) })
		tx.Note(roots.LeafChange{ID: tree.ID(g.id), Leaf: teams.Leaf(st)})
	})
	g.seqno, g.prev, g.generation = s.Seqno, built.ID, g.generation+1
}

// rotateHidden gives teams new keys on their hidden chains, all in one root.
func (w *world) rotateHidden(groups ...*group) {
	w.t.Helper()
	w.clock.Advance(time.Second)
	root := w.quoted()
	w.update(func(tx *store.Tx) {
		for _, g := range groups {
			w.hidden(tx, root, g)
		}
	})
}

func (w *world) hidden(tx *store.Tx, root *client.Root, g *group) {
	st, err := hidden.Load(tx, g.id)
	w.must(err)
	sig, enc := g.teamKey(g.generation + 1)
	l := &client.HiddenLink{
		Team: client.TeamID(g.id), Seqno: client.Seqno(st.Tail().Seqno) + 1, Prev: client.LinkID(st.Tail().Link),
		Key:   client.HiddenKey{Generation: g.generation + 1, Enc: enc},
		Ctime: w.clock.Now().Unix(), Entropy: []byte("sixteen bytes of"),
		RootCtime: root.Ctime, RootHash: root.HashMeta, RootSeqno: root.Seqno,
		Parent: client.HiddenTail{Seqno: g.seqno, LinkID: g.prev}, UID: client.UID(g.owner.uid), Eldest: 1,
	}
	l.Build(g.owner.device.Sig, sig)
	parsed, err := hidden.Parse(hidden.Posted{
		Type: "team.rotate_key_hidden", TeamID: g.id.String(), SigningKID: l.KID.String(), SeqType: 17, Version: 3,
		Inner: l.Inner, Outer: l.Outer, Sig: l.Sig, Signing: l.Key.Sig.String(), Encryption: l.Key.Enc.String(),
	})
	w.must(err)
	next, err := st.Apply(parsed, fairJudge{tx, g.owner})
	w.must(err)
	w.must(hidden.Append(tx, next, parsed))
	g.generation++
}

// fairJudge knows of teams what stands, and believes their owner the rest: links are
// judged when the archive is rebuilt.
type fairJudge struct {
	tx    *store.Tx
	owner *person
}

func (j fairJudge) Device(kbsig.UID, kbsig.KID) (kbsig.Seqno, bool, error) { return 1, true, nil }
func (j fairJudge) Username(kbsig.UID) (kbsig.Username, error) {
	return kbsig.Username(j.owner.name), nil
}
func (j fairJudge) Root(teamchain.RootRef) error { return nil }

func (j fairJudge) Team(t kbsig.TeamID) (*teamchain.State, error) {
	st, err := teams.Load(j.tx, t)
	if errors.Is(err, teams.ErrNoTeam) {
		return nil, nil
	}
	return st, err
}

func (j fairJudge) Hidden(t kbsig.TeamID) (int64, error) {
	st, err := hidden.Load(j.tx, t)
	return st.PTK().Generation, err
}

func (j fairJudge) Visible(t kbsig.TeamID) (hidden.Visible, error) {
	st, err := teams.Load(j.tx, t)
	if err != nil {
		return hidden.Visible{}, err
	}
	n, link, _ := st.Tail()
	return hidden.Visible{Tail: kbsig.Sig3Tail{Seqno: n, Link: link}, Generation: st.PTK().Generation}, nil
}

func (j fairJudge) Signer(*hidden.Link) error { return nil }
