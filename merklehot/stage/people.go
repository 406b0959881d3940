package stage

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// Person is a user with secrets.
type Person struct {
	s       *Stage
	Name    string
	UID     kbsig.UID
	Devices []*client.Device // of the present incarnation; the first one acts
	puks    []*client.PUK
	eldest  client.KID
	seqno   client.Seqno
	prev    client.LinkID
	eks     int // how many ephemeral keys of the user there are
}

// Newcomer signs somebody up who has no device yet.
func (s *Stage) Newcomer(name string) *Person {
	s.T.Helper()
	s.Clock.Advance(time.Second)
	acct, _, err := s.Identity.SignUp(s.T.Context(), identity.SignUp{
		Name: kbsig.Username(name), Cased: name, PDPKA5: kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{1}),
	})
	s.Must(err)
	p := &Person{s: s, Name: name, UID: acct.UID}
	s.people[name] = p
	s.Call(p.UID, name)
	return p
}

// Person is somebody of that name, who is signed up with a device if there is nobody.
func (s *Stage) Person(name string) *Person {
	s.T.Helper()
	if p := s.people[name]; p != nil {
		return p
	}
	p := s.Newcomer(name)
	p.Begin()
	return p
}

// UV is the person's present incarnation.
func (p *Person) UV() kbsig.UserVersion {
	uv := kbsig.UserVersion{UID: p.UID}
	p.s.Read(func(v *store.View) (err error) {
		uv.Eldest, err = identity.EldestSeqno(v, p.UID)
		return err
	})
	return uv
}

// Begin adds the first device of an incarnation.
func (p *Person) Begin() {
	p.s.T.Helper()
	d := p.device("first device")
	eldest := p.link(client.LinkSpec{Type: "eldest", Signer: d.Sig, Body: client.EldestBody(d)})
	p.eldest = d.Sig.KID()
	p.post(identity.Post{
		Links: []*sigchain.Link{
			eldest, p.link(client.LinkSpec{Type: "subkey", Signer: d.Sig, Body: client.SubkeyBody(d)}), p.pukLink(),
		},
		PUK: p.boxes(),
	})
}

// AddDevice adds a further device.
func (p *Person) AddDevice() {
	p.s.T.Helper()
	by := p.Devices[0].Sig
	d := p.device(fmt.Sprintf("device %d", len(p.Devices)+1))
	p.post(identity.Post{
		Links: []*sigchain.Link{
			p.link(client.LinkSpec{Type: "sibkey", Signer: by, Body: client.SibkeyBody(d), ReverseSigner: d.Sig, ReverseSection: "sibkey"}),
			p.link(client.LinkSpec{Type: "subkey", Signer: d.Sig, Body: client.SubkeyBody(d)}),
		},
		PUK: p.boxes(d),
	})
}

// Roll makes a new per-user key, and ends the last device if there are several.
func (p *Person) Roll() {
	p.s.T.Helper()
	old := p.puks[len(p.puks)-1]
	post := identity.Post{Links: []*sigchain.Link{p.pukLink()}}
	if n := len(p.Devices) - 1; n > 0 {
		gone := p.Devices[n]
		p.Devices = p.Devices[:n]
		kids := []client.KID{gone.Sig.KID(), gone.Enc.KID()}
		lease, _, err := p.s.Identity.NewLease(p.s.T.Context(), p.UID, []kbsig.KID{kbsig.KID(kids[0]), kbsig.KID(kids[1])}, nil)
		p.s.Must(err)
		post.Lease = &lease
		post.Links = append(post.Links, p.link(client.LinkSpec{
			Type: "revoke", Signer: p.Devices[0].Sig, Body: client.RevokeDeviceBody(&client.DeviceInfo{ID: gone.ID, Type: gone.Type}, kids),
		}))
	}
	post.PUK = p.boxes()
	var err error
	post.PUK.Prev, err = p.puks[len(p.puks)-1].SealPrev(p.s.Rand, old.Seed)
	p.s.Must(err)
	p.post(post)
}

// End resets the account, or deletes it.
func (p *Person) End(kind sigchain.ResetKind) {
	p.s.T.Helper()
	p.s.Clock.Advance(time.Second)
	_, err := p.s.Identity.Reset(p.s.T.Context(), identity.ResetRequest{UID: p.UID, Kind: kind})
	p.s.Must(err)
	p.Devices, p.puks, p.eldest, p.eks = nil, nil, client.KID{}, 0
}

// EphemeralKey makes the person's next one, of which all devices get a box.
func (p *Person) EphemeralKey() {
	p.s.T.Helper()
	p.eks++
	d := p.Devices[0]
	own, err := kbsig.OpenDeviceEK(p.s.Statement(d.Sig, "device", p.eks, `,"deviceCtime":0`))
	p.s.Must(err)
	users, err := kbsig.OpenUserEK(p.s.Statement(p.puks[len(p.puks)-1].Sig, "user", p.eks, ""))
	p.s.Must(err)
	p.s.Must(p.s.Update(func(tx *store.Tx) error {
		if err := identity.PutDeviceEK(tx, p.UID, kbsig.DeviceID(d.ID), own); err != nil {
			return err
		}
		return identity.PutUserEK(tx, p.UID, users, []keyboxes.UserEKBox{{Box: "sealed", DeviceID: kbsig.DeviceID(d.ID), DeviceEKGeneration: p.eks}})
	}))
}

// Statement signs an ephemeral key of a device, a user or a team.
func (s *Stage) Statement(key *client.SigningKey, whose string, generation int, more string) string {
	root := s.newest()
	return client.SignPacket(key, fmt.Appendf(nil,
		`{"current_%s_ek_metadata":{"%s_ephemeral_dh_public":"%s","hash_meta":"%s","generation":%d,"ctime":%d%s}}`,
		whose, whose, s.newKey().Enc.KID(), root.HashMeta, generation, root.Ctime*1000, more)).Armor()
}

func (p *Person) device(name string) *client.Device {
	d, err := client.NewDevice(p.s.draws, name, "desktop")
	p.s.Must(err)
	p.Devices = append(p.Devices, d)
	return d
}

// link signs the next link of the person's chain.
func (p *Person) link(spec client.LinkSpec) *sigchain.Link {
	p.s.T.Helper()
	spec.Version, spec.UID, spec.Username, spec.Eldest = 1, client.UID(p.UID), p.Name, p.eldest
	spec.Seqno, spec.Prev, spec.Ctime, spec.Root = p.seqno+1, p.prev, p.s.Clock.Now().Unix(), p.s.newest()
	l, err := client.BuildLink(&spec)
	p.s.Must(err)
	p.seqno, p.prev = spec.Seqno, l.ID
	got, err := sigchain.Record{Packet: l.Packet}.Link()
	p.s.Must(err)
	return got
}

func (p *Person) pukLink() *sigchain.Link {
	p.s.T.Helper()
	var seed client.Seed
	_, _ = p.s.Rand.Read(seed[:])
	puk := client.NewPUK(seed)
	p.puks = append(p.puks, puk)
	return p.link(client.LinkSpec{
		Type: "per_user_key", Signer: p.Devices[0].Sig, Body: client.PUKBody(puk, len(p.puks)), ReverseSigner: puk.Sig, ReverseSection: "per_user_key",
	})
}

// boxes are of the newest per-user key, for these devices, or for all.
func (p *Person) boxes(to ...*client.Device) *sigchain.PUKExtra {
	p.s.T.Helper()
	if len(to) == 0 {
		to = p.Devices
	}
	n := len(p.puks)
	x := &sigchain.PUKExtra{Generation: int64(n)}
	for _, d := range to {
		sealed, err := p.Devices[0].Enc.Seal(p.s.Rand, p.puks[n-1].Seed[:], d.Enc.KID())
		p.s.Must(err)
		x.Boxes = append(x.Boxes, sigchain.Box{Generation: int64(n), ReceiverKID: kbsig.KID(d.Enc.KID()), Box: sealed.Armor()})
	}
	return x
}

func (p *Person) post(post identity.Post) {
	p.s.T.Helper()
	p.s.Clock.Advance(time.Second)
	p.s.Must(p.s.Identity.Post(p.s.T.Context(), p.UID, post))
}

// People is everybody, in the order of their names.
func (s *Stage) People() []*Person {
	var out []*Person
	for _, name := range slices.Sorted(maps.Keys(s.people)) {
		out = append(out, s.people[name])
	}
	return out
}
