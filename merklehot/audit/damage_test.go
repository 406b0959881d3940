package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/directory"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/vouches"
)

// Places in a root's record; see merklehot/roots.
const (
	rootNodeAt    = 33
	rootCtimeAt   = 97
	rootTxidAt    = 105
	rootKIDAt     = 121
	rootSigAt     = 156
	rootPayloadAt = 220
)

// change rewrites one record.
func change(s *scene, tx *store.Tx, k []byte, edit func(v []byte) []byte) {
	v, err := tx.Get(k)
	s.must(err)
	tx.Set(k, edit(v))
}

func flip(at int) func([]byte) []byte {
	return func(v []byte) []byte {
		if at < 0 {
			at += len(v)
		}
		v[at] ^= 1
		return v
	}
}

// edit rewrites one record of a type that store.Save writes.
func edit[T any](s *scene, tx *store.Tx, k []byte, fn func(*T)) {
	v, err := store.Load[T](tx, k)
	s.must(err)
	fn(&v)
	store.Save(tx, k, v)
}

// state rewrites a chain's stored state.
func (s *scene) state(tx *store.Tx, u kbsig.UID, fn func(*sigchain.State)) {
	change(s, tx, keys.Chain(u), func(v []byte) []byte {
		st, err := sigchain.DecodeState(v)
		s.must(err)
		fn(st)
		return st.Encode()
	})
}

// versions are the roots at which a user's leaf changed, newest first.
func (s *scene) versions(tx *store.Tx, u kbsig.UID) (out []kbsig.Seqno) {
	lo := keys.LeafVersions(keys.TreeMain, u[:])
	s.must(tx.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		_, _, n, _ := keys.LeafOf(k)
		out = append(out, n)
		return nil
	}))
	return out
}

func swap(s *scene, tx *store.Tx, a, b []byte) {
	x, err := tx.Get(a)
	s.must(err)
	y, err := tx.Get(b)
	s.must(err)
	tx.Set(a, y)
	tx.Set(b, x)
}

// resign gives a root another payload that is signed by the right key, as a server
// that lies would.
func (s *scene) resign(tx *store.Tx, n kbsig.Seqno, from, to string) {
	r, err := roots.RootAt(tx, n)
	s.must(err)
	payload := strings.Replace(r.Payload, from, to, 1)
	if payload == r.Payload {
		s.t.Fatalf("root %d does not say %s", n, from)
	}
	key := ed25519.NewKeyFromSeed(append(make([]byte, 31), 1))
	sum := kbsig.HashMeta(kbsig.LinkIDOf([]byte(payload)))
	change(s, tx, keys.Root(n), func(v []byte) []byte {
		copy(v[1:], sum[:])
		copy(v[rootSigAt:], ed25519.Sign(key, []byte(payload)))
		return append(v[:rootPayloadAt], payload...)
	})
	tx.Delete(keys.RootHash(r.HashMeta))
	tx.Set(keys.RootHash(sum), binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// damage is one thing that goes wrong, and how the audit must name it.
type damage struct {
	name    string
	plant   func(s *scene, tx *store.Tx)
	subject func(s *scene) string // a line must begin so
}

func line(format string, args ...any) func(*scene) string {
	return func(*scene) string { return fmt.Sprintf(format, args...) }
}

const first = roots.FirstSeqno

// damages are single damages of every kind of record.
func (s *scene) damages() []damage {
	alice, bob, carol := s.alice.uid, s.bob.uid, s.carol.uid
	home, laptop, paper := kbsig.DeviceID(s.home.ID), kbsig.DeviceID(s.laptop.ID), kbsig.DeviceID(s.paper.ID)
	homeSig, laptopSig, laptopEnc := kbsig.KID(s.home.Sig.KID()), kbsig.KID(s.laptop.Sig.KID()), kbsig.KID(s.laptop.Enc.KID())
	sig7 := kbsig.SigIDBase(s.alice.links[6].SigID)
	stranger := kbsig.UIDOf("stranger")
	strangerKID := kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{9})
	newest := kbsig.Seqno(s.newest().Seqno)
	chainOf := func(u kbsig.UID, n int) func(*scene) string { return line("chain of %s link %d: ", u, n) }
	return []damage{
		{"root: byte of its payload", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Root(first+5), flip(-30))
		}, line("root %d: ", first+5)},
		{"root: byte of its signature", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Root(first+6), flip(rootSigAt+3))
		}, line("root %d: signature", first+6)},
		{"root: another key", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Root(first+6), flip(rootKIDAt+9))
		}, line("root %d: signature", first+6)},
		{"root: time beside the payload", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Root(first+7), flip(rootCtimeAt+7))
		}, line("root %d: the time beside", first+7)},
		{"root: txid beside the payload", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Root(first+7), flip(rootTxidAt))
		}, line("root %d: the txid beside", first+7)},
		{"root: tree hash beside the payload", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Root(first+8), flip(rootNodeAt))
		}, line("root %d: the tree's hash beside", first+8)},
		{"root: missing", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Root(first + 9))
		}, line("root %d: missing", first+9)},
		{"root: the first missing", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Root(first))
		}, line("root %d: it is the first one stored", first+1)},
		{"root: the newest missing", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Root(newest))
		}, func(*scene) string { return "root index entry " }},
		{"root: under another number", func(s *scene, tx *store.Tx) {
			v, err := tx.Get(keys.Root(newest))
			s.must(err)
			tx.Set(keys.Root(newest+1), v)
		}, line("root %d: its payload is that of root %d", newest+1, newest)},
		{"root: far away", func(s *scene, tx *store.Tx) {
			v, err := tx.Get(keys.Root(newest))
			s.must(err)
			tx.Set(keys.Root(1<<50), v)
		}, line("root %d: stands ", 1<<50)},
		{"root: signed with a time that goes back", func(s *scene, tx *store.Tx) {
			r := s.newest()
			s.resign(tx, newest, fmt.Sprintf(`"ctime":%d`, r.Ctime), fmt.Sprintf(`"ctime":%d`, r.Ctime-9000))
			change(s, tx, keys.Root(newest), func(v []byte) []byte {
				binary.BigEndian.PutUint64(v[rootCtimeAt:], uint64(r.Ctime-9000))
				return v
			})
		}, line("root %d: time goes back", newest)},
		{"root: signed with a wrong skip", func(s *scene, tx *store.Tx) {
			r, err := roots.RootAt(tx, newest-4)
			s.must(err)
			s.resign(tx, newest, r.HashMeta.String(), strings.Repeat("ab", 32))
		}, line("root %d: the skip to root %d", newest, newest-4)},
		{"root: signed with one skip too many", func(s *scene, tx *store.Tx) {
			s.resign(tx, newest, `"skips":{`, `"skips":{"12":"`+strings.Repeat("0", 64)+`",`)
		}, line("root %d: 24 skips", newest)},
		{"root: signed over another root before it", func(s *scene, tx *store.Tx) {
			s.resign(tx, newest, `"prev":"`, `"prev":"00`)
		}, line("root %d: does not follow", newest)},
		{"root: signed over another tree", func(s *scene, tx *store.Tx) {
			r, err := roots.RootAt(tx, newest)
			s.must(err)
			other := kbsig.NodeHash{1}
			s.resign(tx, newest, r.Hash.String(), other.String())
			change(s, tx, keys.Root(newest), func(v []byte) []byte { copy(v[rootNodeAt:], other[:]); return v })
		}, func(*scene) string { return "tree: all chains give " }},
		{"root index: entry missing", func(s *scene, tx *store.Tx) {
			r, err := roots.RootAt(tx, first+3)
			s.must(err)
			tx.Delete(keys.RootHash(r.HashMeta))
		}, line("root %d: not in the index", first+3)},
		{"root index: entry of another root", func(s *scene, tx *store.Tx) {
			r, err := roots.RootAt(tx, first+3)
			s.must(err)
			change(s, tx, keys.RootHash(r.HashMeta), flip(7))
		}, line("root %d: the index by hash", first+3)},
		{"root index: foreign entry", func(s *scene, tx *store.Tx) {
			tx.Set(keys.RootHash(kbsig.HashMeta{5}), binary.BigEndian.AppendUint64(nil, uint64(first+3)))
		}, line("root index entry %s: ", kbsig.HashMeta{5})},

		{"link: byte flipped", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Link(alice, 7), flip(100))
		}, chainOf(alice, 7)},
		{"link: last byte flipped", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Link(alice, 9), flip(-1))
		}, chainOf(alice, 9)},
		{"link: inner JSON missing", func(s *scene, tx *store.Tx) {
			tx.Set(keys.Link(alice, 9), sigchain.Record{Packet: s.alice.links[8].Packet}.Encode())
		}, chainOf(alice, 9)},
		{"link: missing in the middle", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Link(alice, 4))
		}, chainOf(alice, 4)},
		{"link: last one missing", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Link(alice, kbsig.Seqno(s.alice.seqno)))
		}, line("chain of %s: the stored state ends at link %d", alice, s.alice.seqno)},
		{"link: another user's", func(s *scene, tx *store.Tx) {
			v, err := tx.Get(keys.Link(bob, 1))
			s.must(err)
			tx.Set(keys.Link(carol, 1), v)
		}, chainOf(carol, 1)},
		{"link: two swapped", func(s *scene, tx *store.Tx) {
			swap(s, tx, keys.Link(alice, 5), keys.Link(alice, 6))
		}, chainOf(alice, 5)},
		{"link: one more, well signed, that no root covers", func(s *scene, tx *store.Tx) {
			l := s.extraLink()
			tx.Set(keys.Link(bob, l.Seqno), l.Record().Encode())
		}, chainOf(bob, 6)},
		{"link: a key that is another chain's", func(s *scene, tx *store.Tx) {
			l := s.stolenKey()
			tx.Set(keys.Link(carol, 1), l.Record().Encode())
		}, line("chain of %s link 1: key %s is in use", carol, homeSig)},
		{"link: covered by a root before the one that it quotes", func(s *scene, tx *store.Tx) {
			n := s.versions(tx, alice)
			v, err := tx.Get(keys.Leaf(keys.TreeMain, alice[:], n[0]))
			s.must(err)
			tx.Delete(keys.Leaf(keys.TreeMain, alice[:], n[0]))
			tx.Set(keys.Leaf(keys.TreeMain, alice[:], n[1]), v)
		}, line("chain of %s link %d: quotes root ", alice, s.alice.seqno)},
		{"state: missing", func(s *scene, tx *store.Tx) { tx.Delete(keys.Chain(bob)) }, line("chain of %s: no state", bob)},
		{"state: a revoked device is active again", func(s *scene, tx *store.Tx) {
			s.state(tx, alice, func(st *sigchain.State) { st.Devices[1].Status = sigchain.DeviceActive })
		}, line("chain of %s: the stored state is not", alice)},
		{"state: another tail", func(s *scene, tx *store.Tx) {
			s.state(tx, alice, func(st *sigchain.State) { st.Tail-- })
		}, line("chain of %s: the stored state ends", alice)},
		{"state: bytes behind it", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Chain(alice), func(v []byte) []byte { return append(v, 0) })
		}, line("chain of %s: stored state", alice)},
		{"state: of nobody", func(s *scene, tx *store.Tx) {
			tx.Set(keys.Chain(stranger), sigchain.NewState(stranger, "stranger").Encode())
		}, line("chain state of %s: there is no such account", stranger)},

		{"signature index: entry missing", func(s *scene, tx *store.Tx) { tx.Delete(keys.SigID(sig7)) }, chainOf(alice, 7)},
		{"signature index: another link", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.SigID(sig7), func(p *identity.SigPlace) { p.Seqno = 3 })
		}, chainOf(alice, 7)},
		{"signature index: another user", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.SigID(sig7), func(p *identity.SigPlace) { p.UID = bob })
		}, chainOf(alice, 7)},
		{"signature index: foreign entry", func(s *scene, tx *store.Tx) {
			store.Save(tx, keys.SigID(kbsig.SigIDBase{7}), identity.SigPlace{UID: alice, Seqno: 2})
		}, line("signature index entry %s: ", kbsig.SigIDBase{7})},
		{"key index: entry missing", func(s *scene, tx *store.Tx) { tx.Delete(keys.KIDOwner(laptopSig)) }, chainOf(alice, 6)},
		{"key index: another owner", func(s *scene, tx *store.Tx) {
			store.Save(tx, keys.KIDOwner(laptopSig), bob)
		}, chainOf(alice, 6)},
		{"key index: foreign entry", func(s *scene, tx *store.Tx) {
			store.Save(tx, keys.KIDOwner(strangerKID), alice)
		}, line("key index entry %s: ", strangerKID)},

		{"active device: missing", func(s *scene, tx *store.Tx) {
			accounts.SetInactive(tx, alice, laptop)
		}, line("active device %s of %s: ", laptop, alice)},
		{"active device: a revoked one", func(s *scene, tx *store.Tx) {
			accounts.SetActive(tx, alice, paper, kbsig.KID(s.paper.Sig.KID()))
		}, line("active device %s of %s: ", paper, alice)},
		{"active device: another key", func(s *scene, tx *store.Tx) {
			accounts.SetActive(tx, alice, laptop, homeSig)
		}, line("active device %s of %s: ", laptop, alice)},
		{"active device: of somebody without a chain", func(s *scene, tx *store.Tx) {
			accounts.SetActive(tx, carol, laptop, laptopSig)
		}, line("active device %s of %s: ", laptop, carol)},
		{"device record: missing", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Device(alice, home))
		}, line("device %s of %s: ", home, alice)},
		{"device record: of another device", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.Device(alice, home), func(d *accounts.Device) { d.ID = laptop })
		}, line("device record under ")},

		{"follow: missing", func(s *scene, tx *store.Tx) { tx.Delete(keys.Follow(alice, bob)) }, line("follow of %s by %s: not listed", bob, alice)},
		{"follow: of somebody not followed any more", func(s *scene, tx *store.Tx) {
			directory.SetFollow(tx, alice, carol, kbsig.LinkID{1}, 0)
		}, line("follow of %s by %s: the chain", carol, alice)},
		{"follow: an older link", func(s *scene, tx *store.Tx) {
			directory.SetFollow(tx, alice, bob, kbsig.LinkID(s.alice.links[7].ID), 1)
		}, line("follow of %s by %s: listed with another link", bob, alice)},
		{"vouch: missing", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Vouch(alice, keys.VouchFor, bob))
		}, line("vouch of %s for %s: only in the index", bob, alice)},
		{"vouch: not in the index", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Vouch(bob, keys.VouchBy, alice))
		}, line("vouch of %s for %s: not listed with the voucher", bob, alice)},
		{"vouch: another link", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.Vouch(alice, keys.VouchFor, bob), func(v *vouches.Vouch) { v.Seqno-- })
		}, line("vouch of %s for %s: link ", bob, alice)},
		{"vouch: another text", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.Vouch(alice, keys.VouchFor, bob), func(v *vouches.Vouch) {
				v.Expansion = bytes.Replace(v.Expansion, []byte("hello"), []byte("hallo"), 1)
			})
		}, line("vouch of %s for %s: an expansion that is not", bob, alice)},
		{"vouch: for another incarnation", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.Vouch(alice, keys.VouchFor, bob), func(v *vouches.Vouch) { v.VoucheeEldest++ })
		}, line("vouch of %s for %s: it is about somebody else", bob, alice)},
		{"vouch: turned reaction", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.Vouch(alice, keys.VouchFor, bob), func(v *vouches.Vouch) { v.Reaction.Accepts = false })
		}, line("vouch of %s for %s: reaction to something else", bob, alice)},
		{"follower: missing", func(s *scene, tx *store.Tx) { tx.Delete(keys.Follower(bob, alice)) }, line("follow of %s by %s: not listed as a follower", bob, alice)},
		{"follower: another time", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.Follower(bob, alice), func(f *directory.Follow) { f.Ctime++ })
		}, line("follow of %s by %s: listed differently", bob, alice)},
		{"follower: one too many", func(s *scene, tx *store.Tx) {
			store.Save(tx, keys.Follower(alice, carol), directory.Follow{UID: carol})
		}, line("follower %s of %s: ", carol, alice)},

		{"box: missing", func(s *scene, tx *store.Tx) { tx.Delete(keys.PUKBox(alice, 2, laptopEnc)) },
			line("per-user-key box of %s, generation 2, for %s: missing", alice, laptopEnc)},
		{"box: for a revoked device", func(s *scene, tx *store.Tx) {
			b, err := store.Load[keyboxes.Box](tx, keys.PUKBox(alice, 2, laptopEnc))
			s.must(err)
			b.Receiver = kbsig.KID(s.paper.Enc.KID())
			keyboxes.PutBox(tx, alice, b)
		}, line("per-user-key box of %s, generation 2, for %s: no active device", alice, s.paper.Enc.KID())},
		{"box: sealed for another device", func(s *scene, tx *store.Tx) {
			b, err := store.Load[keyboxes.Box](tx, keys.PUKBox(alice, 2, kbsig.KID(s.home.Enc.KID())))
			s.must(err)
			b.Receiver = laptopEnc
			keyboxes.PutBox(tx, alice, b)
		}, line("per-user-key box of %s, generation 2, for %s: sealed for", alice, laptopEnc)},
		{"box: of an old generation", func(s *scene, tx *store.Tx) {
			b, err := store.Load[keyboxes.Box](tx, keys.PUKBox(alice, 2, laptopEnc))
			s.must(err)
			b.Generation = 1
			keyboxes.PutBox(tx, alice, b)
		}, line("per-user-key box of %s, generation 1, ", alice)},
		{"box: sealed by a stranger", func(s *scene, tx *store.Tx) {
			sealed, err := s.bobs.Enc.Seal(s.rng, make([]byte, 32), s.laptop.Enc.KID())
			s.must(err)
			keyboxes.PutBox(tx, alice, keyboxes.Box{Generation: 2, Receiver: laptopEnc, Box: sealed.Armor()})
		}, line("per-user-key box of %s, generation 2, for %s: sealed by", alice, laptopEnc)},
		{"prev: missing", func(s *scene, tx *store.Tx) { tx.Delete(keys.PUKPrev(alice, 2)) }, line("per-user-key prev of %s, generation 2: missing", alice)},
		{"prev: of a generation that is not", func(s *scene, tx *store.Tx) {
			store.Save(tx, keys.PUKPrev(bob, 2), keyboxes.Prev{Generation: 1, Ciphertext: "xx"})
		}, line("per-user-key prev of %s, generation 2: ", bob)},
		{"device ephemeral key: of a revoked device", func(s *scene, tx *store.Tx) {
			v, err := tx.Get(keys.DeviceEK(alice, home))
			s.must(err)
			tx.Set(keys.DeviceEK(alice, paper), v)
		}, line("ephemeral key of device %s of %s: the device is not active", paper, alice)},
		{"device ephemeral key: another device's", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.DeviceEK(alice, home), func(e *keyboxes.DeviceEK) {
				other, err := keyboxes.GetDeviceEK(tx, alice, laptop)
				s.must(err)
				e.Sig = other.Sig
			})
		}, line("ephemeral key of device %s of %s: signed by", home, alice)},
		{"device ephemeral key: another generation", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.DeviceEK(alice, home), func(e *keyboxes.DeviceEK) { e.Generation++ })
		}, line("ephemeral key of device %s of %s: generation 1", home, alice)},
		{"user ephemeral key: a gap", func(s *scene, tx *store.Tx) {
			v, err := tx.Get(keys.UserEK(alice, 2))
			s.must(err)
			tx.Set(keys.UserEK(alice, 4), v)
		}, line("ephemeral key 4 of %s: ", alice)},
		{"user ephemeral key: missing under its boxes", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.UserEK(alice, 2))
		}, line("box of ephemeral key 2 of %s ", alice)},
		{"user ephemeral key: signed by another user", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.UserEK(alice, 1), func(e *keyboxes.UserEK) { e.Sig = s.bob.statement(s.bob.puks[0].Sig, "user", 1, "") })
		}, line("ephemeral key 1 of %s: signed by", alice)},
		{"lease: at a root that is not", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.Lease(alice, s.lease), func(l *identity.Lease) { l.Root += 1000 })
		}, line("lease %s of %s: ", s.lease, alice)},

		{"account: missing", func(s *scene, tx *store.Tx) { tx.Delete(keys.Account(carol)) }, line("chain state of %s: there is no such account", carol)},
		{"account: another name", func(s *scene, tx *store.Tx) {
			edit(s, tx, keys.Account(carol), func(a *accounts.Account) { a.Name = "carla" })
		}, line("account %s: not the id of its name", carol)},
		{"account: undecodable", func(s *scene, tx *store.Tx) { tx.Set(keys.Account(carol), []byte{0xc1}) }, line("account %s: ", carol)},
		{"name: missing", func(s *scene, tx *store.Tx) { tx.Delete(keys.Name("carol")) }, line("name carol: not in its index")},
		{"name: of another account", func(s *scene, tx *store.Tx) { store.Save(tx, keys.Name("carol"), bob) }, line("name carol: its index names another")},
		{"name: one too many", func(s *scene, tx *store.Tx) { store.Save(tx, keys.Name("caroline"), carol) }, line("name caroline: account %s has another", carol)},
		{"mail address: missing", func(s *scene, tx *store.Tx) { tx.Delete(keys.Mail("alice@example.org")) }, line("address of %s: ", alice)},
		{"mail address: one too many", func(s *scene, tx *store.Tx) {
			store.Save(tx, keys.Mail("carol@example.org"), carol)
		}, line("address carol@example.org: account %s has another", carol)},

		{"leaf: newest value missing", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Leaf(keys.TreeMain, alice[:], s.versions(tx, alice)[0]))
		}, line("leaf of %s: names link ", alice)},
		{"leaf: older value missing", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Leaf(keys.TreeMain, alice[:], s.versions(tx, alice)[3]))
		}, line("root %d: has another tree than the root before, but no leaf changed", s.rootOf(alice, 3))},
		{"leaf: two values swapped", func(s *scene, tx *store.Tx) {
			n := s.versions(tx, alice)
			swap(s, tx, keys.Leaf(keys.TreeMain, alice[:], n[2]), keys.Leaf(keys.TreeMain, alice[:], n[3]))
		}, line("leaf of %s at root %d: the chain goes back", alice, s.rootOf(alice, 2))},
		{"leaf: a second end for one chain length", func(s *scene, tx *store.Tx) {
			n := s.versions(tx, bob)
			change(s, tx, keys.Leaf(keys.TreeMain, bob[:], n[0]), func(v []byte) []byte {
				return bytes.Replace(v, []byte(s.bob.prev.String()), []byte(strings.Repeat("cd", 32)), 1)
			})
		}, line("leaf of %s at root %d: not what the chain gives", bob, s.rootOf(bob, 0))},
		{"leaf: the same again in a later root", func(s *scene, tx *store.Tx) {
			v, err := tx.Get(keys.Leaf(keys.TreeMain, carol[:], s.versions(tx, carol)[0]))
			s.must(err)
			tx.Set(keys.Leaf(keys.TreeMain, carol[:], newest), v)
		}, line("leaf of %s at root %d: the same value again", carol, newest)},
		{"leaf: a root that is not", func(s *scene, tx *store.Tx) {
			v, err := tx.Get(keys.Leaf(keys.TreeMain, carol[:], s.versions(tx, carol)[0]))
			s.must(err)
			tx.Set(keys.Leaf(keys.TreeMain, carol[:], newest+5), v)
		}, line("leaf of %s at root %d: ", carol, newest+5)},
		{"leaf: of nobody", func(s *scene, tx *store.Tx) {
			tx.Set(keys.Leaf(keys.TreeMain, stranger[:], newest), []byte("[2,[],[],null]"))
		}, line("leaf value of %s: there is no such account", stranger)},
		{"changes: list missing", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Changes(s.versions(tx, bob)[0]))
		}, line("changes of root %d: missing", s.rootOf(bob, 0))},
		{"changes: a leaf too few", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Changes(s.versions(tx, bob)[0]), func([]byte) []byte { return carol[:] })
		}, line("changes of root %d: leaf %s is not listed", s.rootOf(bob, 0), bob)},
		{"changes: a leaf too many", func(s *scene, tx *store.Tx) {
			change(s, tx, keys.Changes(s.versions(tx, bob)[0]), func(v []byte) []byte { return append(carol[:], v...) })
		}, line("changes of root %d: leaf %s has no value of it", s.rootOf(bob, 0), carol)},
		{"changes: of a root that changed nothing", func(s *scene, tx *store.Tx) {
			tx.Set(keys.Changes(newest), alice[:])
		}, line("changes of root %d: leaf %s has no value of it", newest, alice)},
		{"tree: full record of the top missing", func(s *scene, tx *store.Tx) {
			tx.Delete(keys.Node(keys.TreeMain, 0, alice[:], s.oldest(tx, keys.NodeVersions(keys.TreeMain, 0, alice[:]))))
		}, line(`tree record of node "": the oldest`)},
		{"tree: byte of the top's newest record", func(s *scene, tx *store.Tx) {
			change(s, tx, s.newestNode(tx, 0, alice), flip(-1))
		}, line(`tree record of node "": they give another child`)},
		{"tree: record of no node", func(s *scene, tx *store.Tx) {
			v, err := tx.Get(s.newestNode(tx, 0, alice))
			s.must(err)
			tx.Set(keys.Node(keys.TreeMain, 9, alice[:], newest-1), v)
		}, line(`tree record of node "%.9s" at root %d: the tree has no such node`, alice, newest-1)},

		{"key: unknown family", func(s *scene, tx *store.Tx) { tx.Set([]byte("?abc"), nil) }, line(`key '?'/616263: `)},
		{"key: too long", func(s *scene, tx *store.Tx) {
			tx.Set(append(keys.Chain(alice), 1), nil)
		}, line(`key 's'/%s01: malformed key of a chain state`, alice)},
		{"key: no user id", func(s *scene, tx *store.Tx) {
			tx.Set(keys.Chain(kbsig.UID{15: 0x77}), nil)
		}, line(`key 's'/%s: malformed`, kbsig.UID{15: 0x77})},
	}
}

// rootOf is the root of a user's leaf value, counted from the newest.
func (s *scene) rootOf(u kbsig.UID, at int) (n kbsig.Seqno) {
	err := s.st.Update(s.t.Context(), func(tx *store.Tx) error {
		n = s.versions(tx, u)[at]
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		s.t.Fatal(err)
	}
	return n
}

func (s *scene) newestNode(tx *store.Tx, depth int, id kbsig.UID) (out []byte) {
	lo := keys.NodeVersions(keys.TreeMain, depth, id[:])
	s.must(tx.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		out = bytes.Clone(k)
		return store.ErrStop
	}))
	return out
}

func (s *scene) oldest(tx *store.Tx, lo []byte) (n kbsig.Seqno) {
	s.must(tx.Scan(lo, keys.End(lo), func(k, _ []byte) error {
		_, _, _, n, _ = keys.NodeOf(k)
		return nil
	}))
	return n
}

// extraLink is bob's next link, signed but never posted.
func (s *scene) extraLink() *sigchain.Link {
	b := *s.bob
	s.clock.Advance(time.Second)
	body := client.UntrackBody(&client.User{UID: client.UID(s.alice.uid), Username: "alice"}, strings.Repeat("BwcH", 6))
	return b.link(client.LinkSpec{Type: "untrack", Version: 2, Signer: s.bobs.Sig, Body: body})
}

// stolenKey is a first link of carol's with a key that alice has.
func (s *scene) stolenKey() *sigchain.Link {
	c := *s.carol
	return c.link(client.LinkSpec{Type: "eldest", Version: 1, Signer: s.home.Sig, Body: client.EldestBody(s.home)})
}

// Each single damage is found, and a line of the report begins with its subject.
func TestEachDamageIsNamed(t *testing.T) {
	s := newScene(t)
	for _, d := range s.damages() {
		t.Run(d.name, func(t *testing.T) {
			out, err := s.damaged(func(tx *store.Tx) { d.plant(s, tx) })
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("not found: %v\n%s", err, out)
			}
			want := d.subject(s)
			if !strings.HasPrefix(out, want) && !strings.Contains(out, "\n"+want) {
				t.Errorf("no line begins with %q:\n%s", want, out)
			}
		})
	}
	if out, err := s.audit(Options{}); err != nil {
		t.Fatalf("the store has not stayed as it was: %v\n%s", err, out)
	}
}
