package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/vouches"
)

// markRecord is a high-water record in memory.
type markRecord struct{ mark highwater.Mark }

func (m *markRecord) Mark() highwater.Mark { return m.mark }

func (m *markRecord) Advance(_, next highwater.Mark) error {
	m.mark = next
	return nil
}

// tb is what a world wants of a test, or of one run of a property.
type tb interface {
	rapid.TB
	Cleanup(func())
	Context() context.Context
}

// world is a store in memory that accounts, chains and boxes come into by the same way
// as in a server, with links signed by an independent client.
type world struct {
	t     tb
	fs    vfs.FS
	seed  byte
	mark  *markRecord
	clock *clock.Fake
	rng   *rand.ChaCha8
	st    *store.Store
	seq   *roots.Sequencer
	svc   *identity.Service
	srv   *client.Server // for its randomness only
	inTx  bool           // on the committer, where a test must not end itself
}

func newWorld(t tb, seed byte) *world {
	w := &world{
		t: t, fs: vfs.NewMem(), seed: seed, mark: &markRecord{},
		clock: clock.NewFake(time.Unix(1795289782, 0)), rng: rand.NewChaCha8([32]byte{seed}),
	}
	w.open()
	t.Cleanup(func() { w.must(w.st.Close()) })
	w.srv = client.NewServer("http://nowhere.invalid", nil, w.clock.Now, w.rng)
	return w
}

// open starts the server's side, on what the folder holds.
func (w *world) open() {
	w.t.Helper()
	var err error
	w.st, err = store.Open(store.Options{
		Dir: "data", FS: w.fs, Clock: w.clock.Now, Rand: w.rng, CacheBytes: 1 << 20,
		Fatal: func(err error) { w.t.Errorf("store: %v", err) },
	})
	w.must(err)
	w.seq, err = roots.Start(w.t.Context(), w.st, roots.Config{
		Key: ed25519.NewKeyFromSeed(append(make([]byte, 31), w.seed)), HighWater: w.mark, Rand: w.rng,
	})
	w.must(err)
	w.svc = identity.New(w.st, w.rng)
}

// restart stops the server and starts it again.
func (w *world) restart() {
	w.t.Helper()
	w.must(w.st.Close())
	w.open()
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

// newest is the newest root, as a client has parsed it.
func (w *world) newest() *client.Root {
	w.t.Helper()
	v := w.st.View()
	defer v.Close()
	r, err := client.ParseRoot(roots.StateOf(v).Root().Payload)
	w.must(err)
	return r
}

// actor is a user with secrets.
type actor struct {
	w      *world
	name   string
	uid    kbsig.UID
	eldest client.KID
	seqno  client.Seqno
	prev   client.LinkID
	links  []*client.SignedLink
	puks   []*client.PUK
	ekGen  map[client.DeviceID]int
}

func (w *world) signUp(name, mail string) *actor {
	w.t.Helper()
	w.clock.Advance(time.Second)
	acct, _, err := w.svc.SignUp(w.t.Context(), identity.SignUp{Name: kbsig.Username(name), Cased: name, Also: func(tx *store.Tx, u kbsig.UID) error {
		if mail == "" {
			return nil
		}
		return errors.Join(accounts.AddMail(tx, u, mail, accounts.Public), accounts.VerifyMail(tx, u, mail))
	},
		PDPKA5: kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{1})})
	w.must(err)
	return &actor{w: w, name: name, uid: acct.UID, ekGen: map[client.DeviceID]int{}}
}

func (w *world) device(name, typ string) *client.Device {
	d, err := client.NewDevice(w.srv, name, typ)
	w.must(err)
	return d
}

func (w *world) newPUK() *client.PUK {
	var seed client.Seed
	_, _ = w.rng.Read(seed[:])
	return client.NewPUK(seed)
}

// link signs the next link of the actor's chain.
func (a *actor) link(s client.LinkSpec) *sigchain.Link {
	a.w.t.Helper()
	s.UID, s.Username, s.Eldest = client.UID(a.uid), a.name, a.eldest
	s.Seqno, s.Prev, s.Ctime, s.Root = a.seqno+1, a.prev, a.w.clock.Now().Unix(), a.w.newest()
	l, err := client.BuildLink(&s)
	a.w.must(err)
	a.seqno, a.prev, a.links = s.Seqno, l.ID, append(a.links, l)
	rec := sigchain.Record{Packet: l.Packet}
	if l.Outer != nil {
		rec.Inner = l.Inner
	}
	got, err := rec.Link()
	a.w.must(err)
	return got
}

func (a *actor) post(p identity.Post) {
	a.w.t.Helper()
	a.w.clock.Advance(time.Second)
	a.w.must(a.w.svc.Post(a.w.t.Context(), a.uid, p))
}

func (a *actor) boxes(generation int, sender *client.Device, to ...*client.Device) *sigchain.PUKExtra {
	a.w.t.Helper()
	puk := a.puks[generation-1]
	x := &sigchain.PUKExtra{Generation: int64(generation)}
	for _, d := range to {
		sealed, err := sender.Enc.Seal(a.w.rng, puk.Seed[:], d.Enc.KID())
		a.w.must(err)
		x.Boxes = append(x.Boxes, sigchain.Box{Generation: int64(generation), ReceiverKID: kbsig.KID(d.Enc.KID()), Box: sealed.Armor()})
	}
	return x
}

func (a *actor) pukLink(signer *client.Device) *sigchain.Link {
	a.w.t.Helper()
	puk := a.w.newPUK()
	a.puks = append(a.puks, puk)
	return a.link(client.LinkSpec{Type: "per_user_key", Version: 1, Signer: signer.Sig,
		Body: client.PUKBody(puk, len(a.puks)), ReverseSigner: puk.Sig, ReverseSection: "per_user_key"})
}

// begin posts the links of a first device.
func (a *actor) begin(d *client.Device) {
	a.w.t.Helper()
	eldest := a.link(client.LinkSpec{Type: "eldest", Version: 1, Signer: d.Sig, Body: client.EldestBody(d)})
	a.eldest = d.Sig.KID()
	links := []*sigchain.Link{eldest,
		a.link(client.LinkSpec{Type: "subkey", Version: 1, Signer: d.Sig, Body: client.SubkeyBody(d)}), a.pukLink(d)}
	a.post(identity.Post{Links: links, PUK: a.boxes(1, d, d)})
}

// add posts the links of another device.
func (a *actor) add(d, by *client.Device) {
	a.w.t.Helper()
	links := []*sigchain.Link{
		a.link(client.LinkSpec{Type: "sibkey", Version: 1, Signer: by.Sig, Body: client.SibkeyBody(d), ReverseSigner: d.Sig, ReverseSection: "sibkey"}),
		a.link(client.LinkSpec{Type: "subkey", Version: 1, Signer: d.Sig, Body: client.SubkeyBody(d)}),
	}
	a.post(identity.Post{Links: links, PUK: a.boxes(len(a.puks), by, d)})
}

// roll makes a new per-user key, and revokes a device if there is one to revoke.
func (a *actor) roll(gone, by *client.Device, stay ...*client.Device) {
	a.w.t.Helper()
	old := a.puks[len(a.puks)-1]
	p := identity.Post{Links: []*sigchain.Link{a.pukLink(by)}}
	if gone != nil {
		kids := []client.KID{gone.Sig.KID(), gone.Enc.KID()}
		lease, _, err := a.w.svc.NewLease(a.w.t.Context(), a.uid, []kbsig.KID{kbsig.KID(kids[0]), kbsig.KID(kids[1])}, nil)
		a.w.must(err)
		p.Lease = &lease
		p.Links = append(p.Links, a.link(client.LinkSpec{Type: "revoke", Version: 1, Signer: by.Sig,
			Body: client.RevokeDeviceBody(&client.DeviceInfo{ID: gone.ID, Type: gone.Type}, kids)}))
	}
	p.PUK = a.boxes(len(a.puks), by, stay...)
	var err error
	p.PUK.Prev, err = a.puks[len(a.puks)-1].SealPrev(a.w.rng, old.Seed)
	a.w.must(err)
	a.post(p)
}

// revokeLink takes a statement back.
func (a *actor) revokeLink(l *client.SignedLink, by *client.Device) {
	a.w.t.Helper()
	lease, _, err := a.w.svc.NewLease(a.w.t.Context(), a.uid, nil, []kbsig.SigIDBase{kbsig.SigIDBase(l.SigID)})
	a.w.must(err)
	a.post(identity.Post{Lease: &lease, Links: []*sigchain.Link{
		a.link(client.LinkSpec{Type: "revoke", Version: 1, Signer: by.Sig, Body: client.RevokeSigsBody([]string{l.SigID.SigID()})})}})
}

func (a *actor) follow(other *actor, by *client.Device) {
	a.w.t.Helper()
	entropy := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 18))
	them := &client.User{UID: client.UID(other.uid), Username: other.name, IDVersion: 1, LastIDChange: 1}
	a.post(identity.Post{Links: []*sigchain.Link{
		a.link(client.LinkSpec{Type: "track", Version: 2, Signer: by.Sig, Body: client.TrackBody(them, entropy)})}})
}

func (a *actor) unfollow(other *actor, by *client.Device) {
	a.w.t.Helper()
	entropy := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 18))
	them := &client.User{UID: client.UID(other.uid), Username: other.name}
	a.post(identity.Post{Links: []*sigchain.Link{
		a.link(client.LinkSpec{Type: "untrack", Version: 2, Signer: by.Sig, Body: client.UntrackBody(them, entropy)})}})
}

// say posts a link about the web of trust with what it stands for.
func (a *actor) say(typ, section, statement string, by *client.Device) *client.SignedLink {
	a.w.t.Helper()
	key := bytes.Repeat([]byte{9}, 16)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(statement))
	id := fmt.Sprintf("%x", mac.Sum(nil))
	e, err := vouches.ParseExpansion(fmt.Appendf(nil, `{"%s":{"key":"%x","obj":%s}}`, id, key, statement))
	a.w.must(err)
	a.post(identity.Post{Expansion: e, Links: []*sigchain.Link{
		a.link(client.LinkSpec{Type: typ, Version: 2, Signer: by.Sig, Ignore: true, Body: map[string]any{section: id}})}})
	return a.links[len(a.links)-1]
}

func (a *actor) vouch(other *actor, by *client.Device) *client.SignedLink {
	a.w.t.Helper()
	return a.say("wot.vouch", "wot_vouch", fmt.Sprintf(
		`{"confidence":{"username_verified_via":"video"},"user":{"eldest":{"kid":"%s","seqno":1},"seq_tail":null,"uid":"%s","username":"%s"},"vouch_text":"hello"}`,
		other.eldest, other.uid, other.name), by)
}

func (a *actor) react(vouch *client.SignedLink, by *client.Device) {
	a.w.t.Helper()
	a.say("wot.react", "wot_react", fmt.Sprintf(`{"reaction":"accept","sig_id":"%s"}`, vouch.SigID.SigID()), by)
}

func (a *actor) deviceEK(d *client.Device) {
	a.w.t.Helper()
	a.ekGen[d.ID]++
	ek, err := kbsig.OpenDeviceEK(a.statement(d.Sig, "device", a.ekGen[d.ID], `,"deviceCtime":0`))
	a.w.must(err)
	a.w.must(a.w.st.Update(a.w.t.Context(), func(tx *store.Tx) error {
		return identity.PutDeviceEK(tx, a.uid, kbsig.DeviceID(d.ID), ek)
	}))
}

func (a *actor) userEK(generation int, to ...*client.Device) {
	a.w.t.Helper()
	ek, err := kbsig.OpenUserEK(a.statement(a.puks[len(a.puks)-1].Sig, "user", generation, ""))
	a.w.must(err)
	var boxes []keyboxes.UserEKBox
	for _, d := range to {
		boxes = append(boxes, keyboxes.UserEKBox{Box: "sealed", DeviceID: kbsig.DeviceID(d.ID), DeviceEKGeneration: a.ekGen[d.ID]})
	}
	a.w.must(a.w.st.Update(a.w.t.Context(), func(tx *store.Tx) error { return identity.PutUserEK(tx, a.uid, ek, boxes) }))
}

// statement signs an ephemeral key of a device or a user.
func (a *actor) statement(key *client.SigningKey, whose string, generation int, more string) string {
	root := a.w.newest()
	return client.SignPacket(key, fmt.Appendf(nil,
		`{"current_%s_ek_metadata":{"%s_ephemeral_dh_public":"%s","hash_meta":"%s","generation":%d,"ctime":%d%s}}`,
		whose, whose, a.w.newPUK().Enc.KID(), root.HashMeta, generation, root.Ctime*1000, more)).Armor()
}

// scene is a world in which everything that the audit looks at has happened.
type scene struct {
	*world
	alice, bob, carol   *actor
	extras              []*actor       // without keys
	home, paper, laptop *client.Device // alice's; paper was revoked
	bobs                *client.Device
	lease               identity.LeaseID
}

func newScene(t tb) *scene {
	w := newWorld(t, 1)
	s := &scene{world: w, alice: w.signUp("alice", "Alice@Example.org"), bob: w.signUp("bob", ""), carol: w.signUp("carol", "")}
	s.home, s.paper, s.laptop = w.device("home computer", "desktop"), w.device("fancy word", "backup"), w.device("laptop", "desktop")
	s.bobs = w.device("bobs phone", "mobile")
	s.alice.begin(s.home)
	s.bob.begin(s.bobs)
	s.alice.add(s.paper, s.home)
	s.alice.add(s.laptop, s.home)
	// Others near alice, enough for a tree of several levels.
	for i, n := 0, 0; n < 12; i++ {
		if name := fmt.Sprintf("extra%d", i); kbsig.UIDOf(kbsig.Username(name))[0]>>4 == s.alice.uid[0]>>4 {
			s.extras = append(s.extras, w.signUp(name, ""))
			n++
		}
	}
	s.alice.follow(s.bob, s.home)
	s.alice.follow(s.carol, s.laptop)
	s.alice.follow(s.bob, s.laptop)
	s.bob.follow(s.alice, s.bobs)
	s.alice.unfollow(s.carol, s.home)
	s.alice.deviceEK(s.home)
	s.alice.deviceEK(s.paper)
	s.alice.deviceEK(s.laptop)
	s.alice.userEK(1, s.home, s.paper, s.laptop)
	w.restart()
	s.alice.roll(s.paper, s.home, s.home, s.laptop)
	s.alice.userEK(2, s.home, s.laptop)
	s.bob.deviceEK(s.bobs)
	s.alice.react(s.bob.vouch(s.alice, s.bobs), s.home)
	w.clock.Advance(2 * time.Hour)
	w.must(w.seq.Heartbeat(t.Context()))
	var err error
	s.lease, _, err = w.svc.NewLease(t.Context(), s.alice.uid, []kbsig.KID{kbsig.KID(s.laptop.Sig.KID())}, nil)
	w.must(err)
	return s
}

// audit audits the newest state.
func (w *world) audit(o Options) (string, error) {
	v := w.st.View()
	defer v.Close()
	var out bytes.Buffer
	o.KID = w.seq.KID()
	err := RunWith(w.t.Context(), v, o, &out)
	return out.String(), err
}

var errUndo = errors.New("undo")

// damaged audits the store as it would be after damage, and leaves it as it is.
func (w *world) damaged(damage func(tx *store.Tx)) (string, error) {
	w.t.Helper()
	var out bytes.Buffer
	var found error
	err := w.st.Update(w.t.Context(), func(tx *store.Tx) error {
		w.inTx = true
		defer func() { w.inTx = false }()
		damage(tx)
		found = Run(context.Background(), tx, w.seq.KID(), &out)
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		w.t.Fatal(err)
	}
	return out.String(), found
}
