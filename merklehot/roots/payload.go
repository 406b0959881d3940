package roots

import (
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/tree"
)

// body is what a root says.
type body struct {
	seqno     kbsig.Seqno
	ctime     int64
	prev      string // SHA-512 of the payload before, hex; empty for the first root
	root      kbsig.NodeHash
	legacyUID tree.ShortSum
	skips     []skip
	txid      [16]byte
	kits      *Kits
	blind     *blindtree.Sum // names the version of the blind tree; nil if there is none
}

// skip is a pointer from a root to an older one.
type skip struct {
	to   kbsig.Seqno
	hash kbsig.HashMeta
}

// payload is the JSON that is signed: keys sorted on every level, no spaces.
//
// The KBFS roots are null: clients then have nothing to compare.
// client: go/libkb/merkle_client.go:MerkleRootPayloadUnpacked
func (p *body) payload() []byte {
	b := make([]byte, 0, 1536+len(p.skips)*80)
	b = append(b, `{"body":{"blind_merkle_root_hash":"`...)
	if p.blind != nil {
		b = hex.AppendEncode(b, p.blind[:])
	}
	b = append(b, `","external_urls_hash":"`...)
	b = append(b, p.kits.ExternalURLs.Hash...)
	b = append(b, `","kbfs":{"private":{"root":null,"version":null},"privateteam":{"root":null,"version":null},"public":{"root":null,"version":null}},"legacy_uid_root":"`...)
	b = hex.AppendEncode(b, p.legacyUID[:])
	b = append(b, `","prev":"`...)
	b = append(b, p.prev...)
	b = append(b, `","proof_services_hash":"`...)
	b = append(b, p.kits.ProofParams.Hash...)
	b = append(b, `","pvl_hash":"`...)
	b = append(b, p.kits.PVL.Hash...)
	b = append(b, `","root":"`...)
	b = hex.AppendEncode(b, p.root[:])
	b = append(b, `","seqno":`...)
	b = strconv.AppendInt(b, int64(p.seqno), 10)
	b = append(b, `,"skips":{`...)
	b = appendSkips(b, p.skips)
	b = append(b, `},"txid":"`...)
	b = hex.AppendEncode(b, p.txid[:])
	b = append(b, `","type":"merkle_root","version":1},"ctime":`...)
	b = strconv.AppendInt(b, p.ctime, 10)
	return append(b, `,"tag":"signature"}`...)
}

// appendSkips appends the table's entries in the order of their keys as strings.
func appendSkips(b []byte, skips []skip) []byte {
	type entry struct {
		key  string
		hash *kbsig.HashMeta
	}
	entries := make([]entry, len(skips))
	for i := range skips {
		entries[i] = entry{strconv.FormatInt(int64(skips[i].to), 10), &skips[i].hash}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, e.key...)
		b = append(b, `":"`...)
		b = hex.AppendEncode(b, e.hash[:])
		b = append(b, '"')
	}
	return b
}
