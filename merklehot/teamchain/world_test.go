package teamchain

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
)

// world is a server's view of people and teams, and the people's secrets.
type world struct {
	rng    *rand.Rand
	people []*person
	root   kbsig.Seqno
	teams  map[kbsig.TeamID]*stored
	hidden map[kbsig.TeamID]int64 // newest generations
}

// person is a user with one device.
type person struct {
	uid    kbsig.UID
	name   kbsig.Username
	eldest kbsig.Seqno
	key    ed25519.PrivateKey
	gone   bool // the device was revoked
}

func (p *person) uv() kbsig.UserVersion { return kbsig.UserVersion{UID: p.uid, Eldest: p.eldest} }

// stored is a team as a server keeps it.
type stored struct {
	header  []byte
	rows    map[string][]byte
	records []Record
}

// Get implements Rows.
func (s *stored) Get(name []byte) ([]byte, error) { return s.rows[string(name)], nil }

// Scan implements Rows.
func (s *stored) Scan(prefix []byte, fn func(name, value []byte) error) error {
	for _, n := range slices.Sorted(maps.Keys(s.rows)) {
		if strings.HasPrefix(n, string(prefix)) {
			if err := fn([]byte(n), s.rows[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

func newWorld(seed uint64, people int) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), root: 10, teams: make(map[kbsig.TeamID]*stored), hidden: make(map[kbsig.TeamID]int64)}
	for i := range people {
		name := kbsig.Username(fmt.Sprintf("person%d", i))
		w.people = append(w.people, &person{uid: kbsig.UIDOf(name), name: name, eldest: kbsig.Seqno(1 + i%3), key: w.key()})
	}
	return w
}

func (w *world) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	return b
}

func (w *world) key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(w.bytes(32)) }

func (w *world) person(u kbsig.UID) *person {
	for _, p := range w.people {
		if p.uid == u {
			return p
		}
	}
	return nil
}

// Device implements Env.
func (w *world) Device(u kbsig.UID, k kbsig.KID) (kbsig.Seqno, bool, error) {
	p := w.person(u)
	if p == nil {
		return 0, false, nil
	}
	return p.eldest, !p.gone && kbsig.KIDOfPrivate(p.key) == k, nil
}

// Username implements Env.
func (w *world) Username(u kbsig.UID) (kbsig.Username, error) { return w.person(u).name, nil }

// Root implements Env.
func (w *world) Root(ref RootRef) error {
	if ref.Seqno > w.root || ref.HashMeta != rootHash(ref.Seqno) {
		return Refuse(KindOrder, "no root %d", ref.Seqno)
	}
	return nil
}

// Team implements Env.
func (w *world) Team(t kbsig.TeamID) (*State, error) {
	s := w.teams[t]
	if s == nil {
		return nil, nil
	}
	return Decode(s.header, s)
}

// Hidden implements Env.
func (w *world) Hidden(t kbsig.TeamID) (int64, error) { return w.hidden[t], nil }

// nextGeneration of a team's key comes after the newest of both chains.
func (w *world) nextGeneration(st *State) int {
	return int(max(st.PTK().Generation, w.hidden[st.ID()])) + 1
}

func rootHash(n kbsig.Seqno) kbsig.HashMeta { return sha256.Sum256([]byte(fmt.Sprint("root ", n))) }

// commit stores what a batch leads to.
func (w *world) commit(links []*Link, after map[kbsig.TeamID]*State) {
	for t, st := range after {
		s := w.teams[t]
		if s == nil {
			s = &stored{rows: make(map[string][]byte)}
			w.teams[t] = s
		}
		s.header = st.Header()
		st.ChangedRows(func(name, value []byte) {
			if value == nil {
				delete(s.rows, string(name))
			} else {
				s.rows[string(name)] = value
			}
		})
	}
	for _, l := range links {
		w.teams[l.Team].records = append(w.teams[l.Team].records, l.Record())
	}
	w.root++
}

// obj is a JSON object.
type obj = map[string]any

// draft is a link that is not signed yet.
type draft struct {
	by    *person
	doc   obj
	outer kbsig.TeamOuter
	ptk   ed25519.PrivateKey // signs in reverse, if the link brings a key
}

// draft begins the next link of a team; add is how many drafts came before in the batch.
func (w *world) draft(by *person, t kbsig.TeamID, typ string, add int, team obj) *draft {
	seqno, prev := kbsig.Seqno(1), kbsig.LinkID{}
	if st, _ := w.Team(t); st != nil {
		n, link, _ := st.Tail()
		seqno, prev = n+1, link
	}
	if add > 0 {
		panic("one link of a team at a time")
	}
	seqType := kbsig.SeqTypeSemiprivate
	if t.Public() {
		seqType = kbsig.SeqTypePublic
		team["is_public"] = true
	}
	team["id"] = t.String()
	kid := kbsig.KIDOfPrivate(by.key).String()
	d := &draft{by: by, outer: kbsig.TeamOuter{Seqno: seqno, Prev: prev, Type: kbsig.TeamLinkTypeOf(typ), SeqType: seqType}}
	root := rootHash(w.root)
	d.doc = obj{
		"body": obj{
			"key":         obj{"kid": kid, "eldest_kid": kid, "uid": by.uid.String(), "username": string(by.name), "host": "keybase.io"},
			"merkle_root": obj{"ctime": 1700000000, "seqno": int(w.root), "hash": strings.Repeat("ab", 64), "hash_meta": hex.EncodeToString(root[:])},
			"team":        team, "type": typ, "version": 2,
		},
		"client": obj{"name": "keybase.io go client", "version": "6.3.0"},
		"ctime":  1700000000, "expire_in": 504576000, "prev": nil, "seq_type": seqType, "seqno": int(seqno), "tag": "signature",
	}
	if seqno > 1 {
		d.doc["prev"] = prev.String()
	}
	if team["per_team_key"] != nil {
		d.ptk = w.key()
		team["per_team_key"].(obj)["signing_kid"] = kbsig.KIDOfPrivate(d.ptk).String()
	}
	return d
}

func (w *world) ptk(generation int) obj {
	return obj{"generation": generation, "encryption_kid": w.dhKID(), "signing_kid": "", "reverse_sig": nil}
}

func (w *world) dhKID() string {
	priv, err := ecdh.X25519().NewPrivateKey(w.bytes(32))
	if err != nil {
		panic(err)
	}
	return kbsig.NewKID(kbsig.KIDTypeDH, [32]byte(priv.PublicKey().Bytes())).String()
}

func (d *draft) team() obj { return d.doc["body"].(obj)["team"].(obj) }

// inner is the text that is signed.
func (d *draft) inner() []byte {
	team, _ := d.doc["body"].(obj)["team"].(obj)
	if k, ok := team["per_team_key"].(obj); ok && d.ptk != nil {
		k["reverse_sig"] = nil
		b, _ := json.Marshal(d.doc)
		k["reverse_sig"] = base64.StdEncoding.EncodeToString(kbsig.SignPacket(d.ptk, b))
	}
	b, _ := json.Marshal(d.doc)
	return b
}

// sign makes what a client would post.
func (d *draft) sign() Posted { return d.signText(d.inner()) }

func (d *draft) signText(inner []byte) Posted {
	o := d.outer
	o.Curr = sha256.Sum256(inner)
	return Posted{
		Sig: base64.StdEncoding.EncodeToString(kbsig.SignPacket(d.by.key, encodeOuter(o))), SigInner: string(inner),
		SigningKID: kbsig.KIDOfPrivate(d.by.key).String(), Type: o.Type.TeamName(), TeamID: fmt.Sprint(d.team()["id"]), SeqType: o.SeqType, Version: 2,
	}
}

// encodeOuter writes an outer link by itself.
func encodeOuter(o kbsig.TeamOuter) []byte {
	b := []byte{0x97, 2}
	switch n := o.Seqno; {
	case n < 0x80:
		b = append(b, byte(n))
	case n < 0x100:
		b = append(b, 0xcc, byte(n))
	default:
		b = append(b, 0xcd, byte(n>>8), byte(n))
	}
	if o.Prev.IsZero() {
		b = append(b, 0xc0)
	} else {
		b = append(append(b, 0xc4, 32), o.Prev[:]...)
	}
	b = append(append(b, 0xc4, 32), o.Curr[:]...)
	b = append(b, byte(o.Type), byte(o.SeqType))
	if o.IgnoreIfUnsupported {
		return append(b, 0xc3)
	}
	return append(b, 0xc2)
}

// check judges drafts together without keeping them.
func (w *world) check(ps ...Posted) ([]*Link, map[kbsig.TeamID]*State, error) {
	var links []*Link
	for _, p := range ps {
		l, err := Parse(p)
		if err != nil {
			return nil, nil, err
		}
		links = append(links, l)
	}
	after, err := CheckBatch(links, w)
	return links, after, err
}

// post judges drafts and keeps them if they may stand.
func (w *world) post(ds ...*draft) error {
	var ps []Posted
	for _, d := range ds {
		ps = append(ps, d.sign())
	}
	links, after, err := w.check(ps...)
	if err == nil {
		w.commit(links, after)
	}
	return err
}
