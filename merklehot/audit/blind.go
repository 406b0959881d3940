package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
)

// blindSum is SHA-512/256.
type blindSum = [32]byte

// blindVersion is a version of the blind tree as it is stored.
type blindVersion struct {
	root      kbsig.Seqno // that carries it first
	hash, top blindSum
	teams     int64
	first     int64 // teams whose first tail is of this version
	changed   bool  // some team's tail is of this version
}

// blindEmpty is the hash of a leaf node without entries.
var blindEmpty = sha512.Sum512_256([]byte{2, 0xc0})

// blindVersions is the pass over all versions: they count from 1, the empty tree, and
// each names the right older ones. The roots are held against them later.
// client: go/merkletree2/tree.go:Tree.makeNextRootMetadata
func (a *auditor) blindVersions() error {
	return a.r.Scan(keys.BlindRoots(), keys.End(keys.BlindRoots()), func(k, v []byte) error {
		if err := a.pause(); err != nil {
			return err
		}
		n, ok := keys.BlindRootSeqno(k)
		if !ok || n < 1 {
			return nil // said by the pass over the keys
		}
		b, err := a.blindVersion(n, v)
		if err != nil {
			a.problem("blind tree of root %d: %v", n, err)
		}
		a.blind = append(a.blind, b)
		return nil
	})
}

// blindVersion reads a record: layout, number, teams, top, hash, older hashes.
func (a *auditor) blindVersion(n kbsig.Seqno, v []byte) (b blindVersion, err error) {
	b.root = n
	if len(v) < 81 || v[0] != 1 || (len(v)-81)%32 != 0 {
		return b, fmt.Errorf("record of %d bytes", len(v))
	}
	number := int64(binary.BigEndian.Uint64(v[1:]))
	b.teams = int64(binary.BigEndian.Uint64(v[9:]))
	b.top, b.hash = blindSum(v[17:49]), blindSum(v[49:81])
	if want := int64(len(a.blind)) + 1; number != want {
		return b, fmt.Errorf("version %d where %d belongs", number, want)
	}
	if number == 1 && (b.top != blindEmpty || b.teams != 0) {
		return b, errors.New("the first version is not empty")
	}
	// The numbers of older versions are the sums of the high bits of the one before.
	var older []byte
	rest := number - 1
	for at := int64(0); rest > 0; {
		high := int64(1)
		for high*2 <= rest {
			high *= 2
		}
		at, rest = at+high, rest-high
		h := a.blind[at-1].hash
		older = append(older, h[:]...)
	}
	if !bytes.Equal(v[81:], older) {
		return b, errors.New("names other older versions")
	}
	if blindMeta(number, b.top[:], older) != b.hash {
		return b, errors.New("has another hash than its parts give")
	}
	return b, nil
}

// blindMeta is the hash of a version. client: go/merkletree2/tree.go:RootMetadata
func blindMeta(number int64, top, older []byte) blindSum {
	m := packInt([]byte{0x96, 1, 1}, number)
	m = packBin(m, top)
	if len(older) == 0 {
		return sha512.Sum512_256(append(m, 0xc0, 0xc0))
	}
	list := packHead(nil, 0x90, len(older)/32)
	for ; len(older) > 0; older = older[32:] {
		list = packBin(list, older[:32])
	}
	sum := sha512.Sum512_256(list)
	return sha512.Sum512_256(append(packBin(m, sum[:]), 0xc0))
}

// blindAt is the version that a root must carry; nil for roots from before the first.
func (a *auditor) blindAt(n kbsig.Seqno) *blindVersion {
	at := sort.Search(len(a.blind), func(i int) bool { return a.blind[i].root > n })
	if at == 0 {
		return nil
	}
	return &a.blind[at-1]
}

// blindOfRoot checks the blind tree that a root's payload names.
func (a *auditor) blindOfRoot(n kbsig.Seqno, named string) error {
	v := a.blindAt(n)
	switch {
	case v == nil && named != "":
		return errors.New("names a blind tree that is not there")
	case v != nil && named != fmt.Sprintf("%x", v.hash):
		return errors.New("names another blind tree")
	}
	return nil
}

// blindLeaves checks all that the blind tree ever said of a team, newest first, against
// the ids of the links of its hidden chain, and adds the newest to the tree that is
// built from the chains.
// A link that is late must be committed to. client: go/teams/hidden/loader.go:MaxDelayInCommittingHiddenLinks
func (a *auditor) blindLeaves(team kbsig.TeamID, ids []kbsig.LinkID, late bool) error {
	last := kbsig.Seqno(0)
	var oldest *blindVersion
	lo := keys.BlindLeafVersions(team)
	err := a.r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		_, root, ok := keys.BlindLeafOf(k)
		if !ok {
			return nil
		}
		a.keys.right[prefixIndex(k)]++
		bad := func(format string, args ...any) {
			a.problem("blind leaf of team %s at root %d: "+format, append([]any{team, root}, args...)...)
		}
		if len(v) != 73 || v[0] != 1 {
			bad("record of %d bytes", len(v))
			return nil
		}
		n := kbsig.Seqno(binary.BigEndian.Uint64(v[1:]))
		version := a.blindAt(root)
		switch {
		case version == nil || version.root != root:
			bad("no version begins there")
			return nil
		case n < 1 || int(n) > len(ids) || kbsig.LinkID(v[9:41]) != ids[n-1]:
			bad("names link %d, which is another", n)
		case last == 0 && int(n) != len(ids) && late:
			bad("the newest names link %d, there are %d", n, len(ids))
		case last > 0 && n >= last:
			bad("names link %d, as many as later", n)
		}
		version.changed, oldest = true, version
		value := blindValue(n, v[9:41])
		sum := blindMAC(v[41:], value)
		if last == 0 {
			a.blindTree.add(team, sum)
		}
		last = n
		if a.chance(a.keys.stored[prefixIndex(k)]) {
			return a.blindProof(team, root, value)
		}
		return nil
	})
	if oldest != nil {
		oldest.first++
	}
	if err == nil && last == 0 && late {
		a.problem("hidden chain of team %s: the blind tree does not know it", team)
	}
	return err
}

// blindProof takes the proof that a client would be served and verifies it.
func (a *auditor) blindProof(team kbsig.TeamID, root kbsig.Seqno, value []byte) error {
	a.paths++
	v, err := blindtree.VersionAt(a.r, root)
	var proof []byte
	if err == nil {
		proof, err = v.Prove(a.r, team)
	}
	if err == nil {
		err = verifyBlind(proof, team, value, a.blindAt(root).hash)
	}
	if err != nil {
		a.problem("blind proof of team %s at root %d: %v", team, root, err)
	}
	return nil
}

// wholeBlindTree compares the tree over all hidden chains with the newest version, and
// looks for what belongs to no chain.
func (a *auditor) wholeBlindTree() error {
	top, teams := a.blindTree.finish()
	if n := len(a.blind); n > 0 {
		if newest := &a.blind[n-1]; top != newest.top || teams != newest.teams {
			a.problem("blind tree: %d chains give %x..., root %d says %d and %x...", teams, top[:8], newest.root, newest.teams, newest.top[:8])
		}
	} else if teams > 0 {
		a.problem("blind tree: there is none, but %d hidden chains", teams)
	}
	teams = 0
	for i := range a.blind {
		v := &a.blind[i]
		teams += v.first
		switch {
		case !a.hasRoot(v.root):
			a.problem("blind tree of root %d: there is no such root", v.root)
		case v.changed && i == 0, !v.changed && i > 0 && v.top != a.blind[i-1].top:
			a.problem("blind tree of root %d: changed teams: %v", v.root, v.changed)
		case v.teams != teams:
			a.problem("blind tree of root %d: it says %d teams, there were %d", v.root, v.teams, teams)
		}
	}
	if err := a.strays(keys.BlindLeaves(), "blind leaf"); err != nil {
		return err
	}
	return a.blindPages()
}

// blindPages is the pass over the pages of the tree, oldest first: each stands where a
// version begins, is written whole when it has to be, and the teams in it have the values
// that were theirs then.
func (a *auditor) blindPages() error {
	var above []byte // all of a page's keys begin so
	var page blindPage
	return a.r.ScanReverse(keys.BlindPages(), keys.End(keys.BlindPages()), func(k, v []byte) error {
		depth, id, n, ok := keys.BlindPageOf(k)
		if !ok {
			return nil // said by the pass over the keys
		}
		bad := func(format string, args ...any) {
			a.problem("page of the blind tree, depth %d over %x at root %d: "+format, append([]any{depth, id, n}, args...)...)
		}
		if at := a.blindAt(n); at == nil || at.root != n || at == &a.blind[0] {
			bad("no version changes there")
			return a.pause()
		}
		if family := keys.BlindPageVersions(depth, id); !bytes.Equal(family, above) {
			above, page = family, blindPage{}
		}
		teams, slots, err := blindSlots(v)
		if err != nil {
			bad("%v", err)
		} else if whole := page.next(slots); whole != (v[0] == 1) {
			bad("whole: %v, it should be %v", !whole, whole)
		}
		if !a.chance(a.keys.stored[prefixIndex(k)]) {
			return a.pause()
		}
		for _, t := range teams {
			if got, err := a.blindSumAt(t.team, n); err != nil {
				return err
			} else if got != t.sum {
				bad("team %s has another value then", t.team)
			}
		}
		return a.pause()
	})
}

// blindPage is what is known of a page on its way from record to record.
type blindPage struct {
	slots uint16 // that hold something
	parts int    // records since the last whole one
}

// next says whether a record of these slots has to be a whole one: if it has all that
// there are, and for every sixteenth.
func (p *blindPage) next(slots uint16) bool {
	p.slots |= slots
	p.parts++
	if slots != p.slots && p.parts < 15 {
		return false
	}
	p.parts = 0
	return true
}

// blindSlot is a team in a page, with the hash of its value.
type blindSlot struct {
	team kbsig.TeamID
	sum  blindSum
}

// blindSlots reads the teams out of a page's record, and which slots it has: a byte that
// is 1 if it is whole, then per slot a byte with its kind (1 a team, 2 a page) and digit,
// the team, and a hash.
func blindSlots(v []byte) (out []blindSlot, slots uint16, err error) {
	if len(v) < 2 || v[0] > 1 {
		return nil, 0, errNodeRecord
	}
	for v = v[1:]; len(v) > 0; {
		kind, bit := v[0]>>4, uint16(1)<<(v[0]&15)
		size := 33
		if kind == 1 {
			size += 16
		}
		if kind != 1 && kind != 2 || bit <= slots || len(v) < size {
			return out, slots, errNodeRecord
		}
		if kind == 1 {
			out = append(out, blindSlot{kbsig.TeamID(v[1:17]), blindSum(v[17:49])})
		}
		slots, v = slots|bit, v[size:]
	}
	return out, slots, nil
}

// blindSumAt is the hash of the value that a team had at a root; zero if it had none.
func (a *auditor) blindSumAt(team kbsig.TeamID, n kbsig.Seqno) (sum blindSum, err error) {
	err = a.r.Scan(keys.BlindLeaf(team, n), keys.End(keys.BlindLeafVersions(team)), func(_, v []byte) error {
		if len(v) == 73 {
			sum = blindMAC(v[41:], blindValue(kbsig.Seqno(binary.BigEndian.Uint64(v[1:])), v[9:41]))
		}
		return store.ErrStop
	})
	return sum, err
}

// strays names records of a family of teams that no hidden chain calls for.
func (a *auditor) strays(family []byte, name string) error {
	if !a.keys.extra(family) {
		return nil
	}
	return a.r.Scan(family, keys.End(family), func(k, _ []byte) error {
		if len(k) < 18 {
			return nil
		}
		team := kbsig.TeamID(k[2:18])
		some := false
		lo := keys.HiddenLinks(team)
		err := a.r.Scan(lo, keys.End(lo), func(_, _ []byte) error { some = true; return store.ErrStop })
		if err != nil {
			return err
		}
		if !some {
			a.problem("%s of team %s: it has no hidden chain", name, team)
		}
		return a.pause()
	})
}

// blindValue is a team's value. client: go/blindtree/values.go:TeamV1Value
func blindValue(n kbsig.Seqno, link []byte) []byte {
	b := packBin([]byte{1, 0x91, 0x81, 17, 0x83, 0xa1, 'h'}, link)
	b = packInt(append(b, 0xa1, 's'), int64(n))
	return append(b, 0xa1, 't', 17)
}

func blindMAC(secret, value []byte) (out blindSum) {
	m := hmac.New(sha512.New512_256, secret)
	m.Write(value)
	m.Sum(out[:0])
	return out
}
