package sigchain

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/nacl/box"

	"github.com/keystead/keystead/compat/kbsig"
)

// world is an Env in memory, and a client that signs as the stock one does.
type world struct {
	t       testing.TB
	now     time.Time
	roots   []RootRef // roots[i] has seqno i+1
	taken   map[kbsig.KID]bool
	users   map[kbsig.UID]bool
	st      *State
	records []Record
	resets  []*ResetLink
}

func newWorld(t testing.TB, name string) *world {
	w := &world{t: t, now: time.Unix(1795290000, 0), taken: map[kbsig.KID]bool{}, users: map[kbsig.UID]bool{}}
	for i := 0; i < 5; i++ {
		w.addRoot()
	}
	for _, n := range []string{"alice", "bob", "carol"} {
		w.users[kbsig.UIDOf(kbsig.Username(n))] = true
	}
	w.st = NewState(kbsig.UIDOf(kbsig.Username(name)), kbsig.Username(name))
	return w
}

func (w *world) addRoot() {
	n := kbsig.Seqno(len(w.roots) + 1)
	b := binary.BigEndian.AppendUint64(nil, uint64(n))
	w.roots = append(w.roots, RootRef{Seqno: n, HashMeta: sha256.Sum256(b), NodeHash: sha512.Sum512(b), Ctime: w.now.Unix()})
	w.now = w.now.Add(time.Second)
}

func (w *world) Now() time.Time          { return w.now }
func (w *world) LatestRoot() kbsig.Seqno { return kbsig.Seqno(len(w.roots)) }
func (w *world) Root(s kbsig.Seqno) (RootRef, bool, error) {
	if s < 1 || int(s) > len(w.roots) {
		return RootRef{}, false, nil
	}
	return w.roots[s-1], true, nil
}
func (w *world) KIDTaken(k kbsig.KID) (bool, error)   { return w.taken[k], nil }
func (w *world) UserExists(u kbsig.UID) (bool, error) { return w.users[u], nil }
func (w *world) Bundle(_ kbsig.UID, n kbsig.Seqno) (string, error) {
	return string(w.records[n-1].Bundle), nil
}
func (w *world) record(s kbsig.Seqno) (Record, bool, error) {
	if s < 1 || int(s) > len(w.records) {
		return Record{}, false, nil
	}
	return w.records[s-1], true, nil
}

func signer(label string) ed25519.PrivateKey {
	h := sha256.Sum256([]byte("sign " + label))
	return ed25519.NewKeyFromSeed(h[:])
}

func signKID(label string) kbsig.KID { return kbsig.KIDOfPrivate(signer(label)) }

func encPriv(label string) [32]byte { return sha256.Sum256([]byte("enc " + label)) }

func encKID(label string) kbsig.KID {
	priv := encPriv(label)
	pub, err := curve25519.X25519(priv[:], curve25519.Basepoint)
	if err != nil {
		panic(err)
	}
	return kbsig.NewKID(kbsig.KIDTypeDH, [32]byte(pub))
}

func deviceID(label string) kbsig.DeviceID {
	h := sha256.Sum256([]byte("device " + label))
	var d kbsig.DeviceID
	copy(d[:], h[:15])
	d[15] = 0x18
	return d
}

// obj is a JSON object under construction.
type obj = map[string]any

// draft is a link before it is signed: everything can still be bent.
type draft struct {
	typ    string
	by     string // label of the signing key
	v      int
	body   obj // sections of the type
	edit   func(inner obj)
	reseal func(inner obj) string // reverse signature, filled last
	revAt  []string               // path of reverse_sig within body
	posted func(*Posted)
	key    kbsig.KID // what a delegation adds
	puk    string    // label of the per-user key
	gpg    *testPGP  // signs instead of by
	bundle string    // PGP key that a delegation adds
}

func (w *world) frame(d *draft, seqno kbsig.Seqno, prev kbsig.LinkID, eldest kbsig.KID) obj {
	root := w.roots[len(w.roots)-1]
	key := obj{"host": "keybase.io", "kid": signKID(d.by).String(), "uid": w.st.UID.String(), "username": string(w.st.Username)}
	if d.gpg != nil {
		d.gpg.name(key, d.typ == "eldest")
	}
	if d.typ != "eldest" {
		key["eldest_kid"] = eldest.String()
	}
	body := obj{"key": key, "type": d.typ, "version": d.v, "merkle_root": obj{
		"ctime": root.Ctime, "hash": root.NodeHash.String(), "hash_meta": root.HashMeta.String(), "seqno": int64(root.Seqno)}}
	for k, v := range d.body {
		body[k] = v
	}
	inner := obj{"body": body, "client": obj{"name": "keybase.io go client", "version": "6.3.0"},
		"ctime": w.now.Unix(), "expire_in": 504576000, "prev": nil, "seqno": int64(seqno), "tag": "signature"}
	if seqno > 1 {
		inner["prev"] = prev.String()
	}
	if ignorableTypes[kbsig.LinkTypeOf(d.typ, false)] {
		inner["ignore_if_unsupported"] = true
	}
	return inner
}

// sign finishes a draft as the next link after st.
func (w *world) sign(d *draft, seqno kbsig.Seqno, prev kbsig.LinkID, eldest kbsig.KID) Posted {
	inner := w.frame(d, seqno, prev, eldest)
	if d.edit != nil {
		d.edit(inner)
	}
	if d.revAt != nil {
		section, ok := inner["body"].(obj)[d.revAt[0]].(obj)
		if ok && d.reseal != nil {
			section[d.revAt[1]] = nil
			section[d.revAt[1]] = d.reseal(inner)
		}
	}
	return w.signText(d, marshal(inner))
}

// signText signs finished inner JSON, whatever it is.
func (w *world) signText(d *draft, text []byte) Posted {
	p := Posted{Type: d.typ, SigningKID: signKID(d.by).String()}
	payload := text
	if d.v == 2 {
		p.SigInner = string(text)
		payload = w.outer(text)
	}
	packet := kbsig.SignPacket(signer(d.by), payload)
	p.Sig = kbsig.Armor(packet)
	if d.gpg != nil {
		p.SigningKID, p.Sig = d.gpg.kid.String(), d.gpg.sign(payload)
	}
	p.PublicKey = d.bundle
	if !d.key.IsZero() {
		p.PublicKey = d.key.String()
	}
	if d.puk != "" {
		p.PublicSigning, p.PublicEncrypt = signKID(d.puk).String(), encKID(d.puk).String()
	}
	if d.posted != nil {
		d.posted(&p)
	}
	return p
}

// outer makes the outer link that agrees with inner JSON as well as it can.
func (w *world) outer(inner []byte) []byte {
	var v struct {
		Body struct {
			Type   string
			Revoke *obj
		}
		Seqno    int64
		Prev     string
		Ignore   bool `json:"ignore_if_unsupported"`
		HighSkip *struct {
			Seqno int64
			Hash  string
		} `json:"high_skip"`
	}
	_ = json.Unmarshal(inner, &v)
	o := kbsig.Outer{Fields: 7, Seqno: kbsig.Seqno(max(v.Seqno, 0)), Curr: kbsig.LinkIDOf(inner),
		Type: kbsig.LinkTypeOf(v.Body.Type, v.Body.Revoke != nil), IgnoreIfUnsupported: v.Ignore}
	o.Prev, _ = kbsig.ParseLinkID(v.Prev)
	if v.HighSkip != nil {
		o.Fields = 9
		o.HighSkip = &kbsig.HighSkip{Seqno: kbsig.Seqno(v.HighSkip.Seqno)}
		o.HighSkip.Hash, _ = kbsig.ParseLinkID(v.HighSkip.Hash)
	}
	return o.Encode()
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func eldest(label, name string) *draft {
	d := &draft{typ: "eldest", by: label, v: 1, key: signKID(label)}
	d.body = obj{"device": obj{"id": deviceID(label).String(), "kid": signKID(label).String(), "name": name, "status": 1, "type": "desktop"}}
	return d
}

func sibkey(label, by, name, typ string) *draft {
	d := &draft{typ: "sibkey", by: by, v: 1, key: signKID(label), revAt: []string{"sibkey", "reverse_sig"}}
	d.body = obj{
		"device": obj{"id": deviceID(label).String(), "kid": signKID(label).String(), "name": name, "status": 1, "type": typ},
		"sibkey": obj{"kid": signKID(label).String(), "reverse_sig": nil},
	}
	d.reseal = func(inner obj) string { return kbsig.Armor(kbsig.SignPacket(signer(label), marshal(inner))) }
	return d
}

func subkey(label string) *draft {
	return &draft{typ: "subkey", by: label, v: 1, key: encKID(label), body: obj{
		"device": obj{"id": deviceID(label).String(), "kid": encKID(label).String(), "status": 1},
		"subkey": obj{"kid": encKID(label).String(), "parent_kid": signKID(label).String()},
	}}
}

func perUserKey(label, by string, gen int64) *draft {
	d := &draft{typ: "per_user_key", by: by, v: 1, puk: label, revAt: []string{"per_user_key", "reverse_sig"}}
	d.body = obj{"per_user_key": obj{"encryption_kid": encKID(label).String(), "generation": gen,
		"reverse_sig": nil, "signing_kid": signKID(label).String()}}
	d.reseal = func(inner obj) string { return kbsig.Armor(kbsig.SignPacket(signer(label), marshal(inner))) }
	return d
}

func revokeDevice(label, by, typ string) *draft {
	return &draft{typ: "revoke", by: by, v: 1, body: obj{
		"device": obj{"id": deviceID(label).String(), "status": 2, "type": typ},
		"revoke": obj{"kids": []any{signKID(label).String(), encKID(label).String()}},
	}}
}

func revokeSig(by string, ids ...kbsig.SigIDBase) *draft {
	list := []any{}
	for _, id := range ids {
		list = append(list, id.SigID())
	}
	return &draft{typ: "revoke", by: by, v: 1, body: obj{"revoke": obj{"sig_ids": list}}}
}

func entropy() string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 18)) }

func track(name, by string) *draft {
	uid := kbsig.UIDOf(kbsig.Username(name))
	d := &draft{typ: "track", by: by, v: 2, body: obj{"track": obj{
		"basics":        obj{"id_version": 4, "last_id_change": 1700000000, "username": name},
		"entropy":       entropy(),
		"id":            uid.String(),
		"key":           obj{"kid": signKID(name).String()},
		"remote_proofs": []any{obj{"ctime": 1, "remote_key_proof": obj{"check_data_json": obj{"name": "twitter", "username": "x"}, "proof_type": 2, "state": 1}}},
		"seq_tail":      obj{"payload_hash": kbsig.LinkIDOf([]byte(name)).String(), "seqno": 3, "sig_id": kbsig.SigIDBase(kbsig.LinkIDOf([]byte(name))).SigID()},
	}}}
	d.posted = func(p *Posted) { p.UID = uid.String() }
	return d
}

func untrack(name, by string) *draft {
	uid := kbsig.UIDOf(kbsig.Username(name))
	d := &draft{typ: "untrack", by: by, v: 2, body: obj{"untrack": obj{
		"basics": obj{"username": name}, "entropy": entropy(), "id": uid.String()}}}
	d.posted = func(p *Posted) { p.UID = uid.String() }
	return d
}

// sealed makes a box of 32 bytes for one key.
func sealed(receiver, sender string) string {
	r := encKID(receiver)
	pub, priv := [32]byte(r[2:34]), encPriv(sender)
	var nonce [24]byte
	ct := box.Seal(nil, make([]byte, 32), &nonce, &pub, &priv)
	return kbsig.Armor(kbsig.EncodeEncryption(r, encKID(sender), nonce, ct))
}

func sealedPrev() string {
	b := append([]byte{0x93, 1, 0xc4, 24}, make([]byte, 24)...)
	b = append(append(b, 0xc4, 48), make([]byte, 48)...)
	return base64.StdEncoding.EncodeToString(b)
}

// boxes makes the section for a generation.
func boxes(gen int64, sender string, receivers ...string) *PUKExtra {
	p := &PUKExtra{Generation: gen}
	for _, r := range receivers {
		p.Boxes = append(p.Boxes, Box{Generation: gen, ReceiverKID: encKID(r), Box: sealed(r, sender)})
	}
	if gen > 1 {
		p.Prev = sealedPrev()
	}
	return p
}

// links parses drafts one after the other, as one request would carry them.
func (w *world) links(drafts ...*draft) ([]*Link, error) {
	seqno, prev, el := w.st.Tail, w.st.TailLink, w.st.Eldest
	var out []*Link
	for _, d := range drafts {
		if d.typ == "eldest" {
			el = signKID(d.by)
		}
		l, err := Parse(w.sign(d, seqno+1, prev, el))
		if err != nil {
			return nil, err
		}
		seqno, prev = l.Seqno, l.ID
		out = append(out, l)
	}
	return out, nil
}

// post does what a door does; on success the world moves on.
func (w *world) post(x Extras, drafts ...*draft) error {
	links, err := w.links(drafts...)
	if err != nil {
		return err
	}
	next, err := CheckBatch(w.st, links, x, w)
	if err != nil {
		return err
	}
	w.accept(next, links)
	return nil
}

func (w *world) accept(next *State, links []*Link) {
	w.st = next
	for _, l := range links {
		w.records = append(w.records, l.Record())
	}
	for _, k := range next.AllKIDs() {
		w.taken[k] = true
	}
	for _, p := range next.PUKs {
		w.taken[p.Signing], w.taken[p.Encryption] = true, true
	}
	w.addRoot()
}

// reset ends the account's incarnation, or the account.
func (w *world) reset(kind ResetKind) error {
	l := w.st.NextReset(kind, w.roots[len(w.roots)-1], w)
	next, err := w.st.ApplyReset(l, w)
	if err != nil {
		return err
	}
	w.st, w.resets = next, append(w.resets, l)
	w.addRoot()
	return nil
}

func (w *world) leaseFor(l *Link) *Lease {
	return &Lease{Root: w.LatestRoot(), KIDs: l.Revoke.KIDs, SigIDs: l.Revoke.SigIDs}
}

// must fails the test on an error.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
