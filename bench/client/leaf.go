package client

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// leafVersion is the only leaf version a new server has.
const leafVersion = 2

// Triple is a chain's tail in a leaf. client: go/libkb/merkle_client.go:MerkleTriple
type Triple struct {
	Seqno  Seqno
	LinkID LinkID
	SigID  SigIDBase
}

// Leaf is a user's value in the tree. The zero leaf is that of an absent user.
// client: go/libkb/merkle_client.go:parseV2
type Leaf struct {
	Exists     bool
	Public     *Triple // nil: no links yet
	Eldest     KID     // zero: no keys yet, or just reset
	ResetSeqno Seqno   // 0: never reset
	ResetHash  NodeHash
}

// tailSeqno is the last link's seqno, 0 for an empty chain.
func (l Leaf) tailSeqno() Seqno {
	if l.Public == nil {
		return 0
	}
	return l.Public.Seqno
}

func parseLeaf(subject string, v any) (Leaf, error) {
	bad := func(format string, args ...any) (Leaf, error) {
		return Leaf{}, violated(RuleLeaf, subject, format, args...)
	}
	a, ok := v.([]any)
	if !ok || len(a) < 4 || len(a) > 5 {
		return bad("not an array of 4 or 5")
	}
	if ver, err := number(a[0], "0"); err != nil || ver != leafVersion {
		return bad("version %v", a[0])
	}
	l := Leaf{Exists: true}
	var err error
	if l.Public, err = parseTriple(a[1]); err != nil {
		return bad("public chain: %v", err)
	}
	if priv, ok := a[2].([]any); !ok || len(priv) != 0 {
		return bad("private chain: %v", a[2])
	}
	if a[3] != nil {
		s, ok := a[3].(string)
		if !ok {
			return bad("eldest: %v", a[3])
		}
		if l.Eldest, err = ParseKID(s); err != nil {
			return bad("eldest: %v", err)
		}
	}
	if !l.Eldest.IsZero() && l.Public == nil {
		return bad("an eldest key without links")
	}
	if len(a) == 5 {
		if l.ResetSeqno, l.ResetHash, err = parseResetTail(a[4]); err != nil {
			return bad("reset tail: %v", err)
		}
	}
	if l.Eldest.IsZero() && l.Public != nil && l.ResetSeqno == 0 {
		return bad("links without an eldest key, and no reset")
	}
	return l, nil
}

func parseTriple(v any) (*Triple, error) {
	a, ok := v.([]any)
	if !ok || (len(a) != 0 && len(a) != 3) {
		return nil, fmt.Errorf("not [] or a triple: %v", v)
	}
	if len(a) == 0 {
		return nil, nil
	}
	seqno, err := number(a[0], "seqno")
	if err != nil || seqno < 1 {
		return nil, fmt.Errorf("seqno %v", a[0])
	}
	t := &Triple{Seqno: Seqno(seqno)}
	link, ok1 := a[1].(string)
	sig, ok2 := a[2].(string)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("hashes %v, %v", a[1], a[2])
	}
	if t.LinkID, err = ParseLinkID(link); err != nil {
		return nil, err
	}
	return t, unhex("signature id", sig, t.SigID[:])
}

func parseResetTail(v any) (seqno Seqno, hash NodeHash, err error) {
	a, ok := v.([]any)
	if !ok || (len(a) != 0 && len(a) != 2) {
		return 0, hash, fmt.Errorf("not [] or a pair: %v", v)
	}
	if len(a) == 0 {
		return 0, hash, nil
	}
	n, err := number(a[0], "seqno")
	s, ok := a[1].(string)
	if err != nil || !ok || n < 1 {
		return 0, hash, fmt.Errorf("pair %v", v)
	}
	hash, err = ParseNodeHash(s)
	return Seqno(n), hash, err
}

// ResetLink is one entry of a reset chain. client: go/protocol/keybase1/reset.go
type ResetLink struct {
	Ctime      int64
	Type       string // reset or delete
	ResetSeqno Seqno
	UID        UID
	Public     Seqno // tail of the chain that ended
	Eldest     KID   // of the incarnation that ended, zero if it had none
	Merkle     rootRef
}

// rootRef names a root inside a signed statement.
type rootRef struct {
	Seqno    Seqno
	HashMeta HashMeta
}

// verifyResets checks a reset chain against its tail in the leaf.
// client: go/libkb/merkle_reset_chain.go:verifyAndLoad
func verifyResets(subject string, uid UID, l Leaf, chain []string) ([]ResetLink, error) {
	bad := func(format string, args ...any) ([]ResetLink, error) {
		return nil, violated(RuleResetChain, subject, format, args...)
	}
	if int(l.ResetSeqno) != len(chain) {
		return bad("%d entries, leaf says %d", len(chain), l.ResetSeqno)
	}
	var out []ResetLink
	prev, deleted := "", false
	for i, s := range chain {
		o, err := parseObject([]byte(s))
		if err != nil {
			return bad("entry %d: %v", i+1, err)
		}
		r, before, err := parseReset(o)
		switch {
		case err != nil:
			return bad("entry %d: %v", i+1, err)
		case before != prev:
			return bad("entry %d does not follow its predecessor", i+1)
		case r.ResetSeqno != Seqno(i+1):
			return bad("entry %d says it is %d", i+1, r.ResetSeqno)
		case r.UID != uid:
			return bad("entry %d is about %s", i+1, r.UID)
		case deleted:
			return bad("entry %d follows a deletion", i+1)
		}
		deleted = r.Type == "delete"
		sum := sha512.Sum512([]byte(s))
		prev = hex.EncodeToString(sum[:])
		out = append(out, r)
	}
	if len(chain) > 0 && prev != l.ResetHash.String() {
		return bad("last entry hashes to %.16s..., leaf says %.16s...", prev, l.ResetHash)
	}
	return out, nil
}

func parseReset(o object) (r ResetLink, prev string, err error) {
	if r.Ctime, err = o.int("ctime"); err != nil {
		return r, "", err
	}
	if r.Type, err = o.str("type"); err != nil || (r.Type != "reset" && r.Type != "delete") {
		return r, "", fmt.Errorf("type %q: %v", r.Type, err)
	}
	n, err := o.int("reset_seqno")
	if err != nil {
		return r, "", err
	}
	r.ResetSeqno = Seqno(n)
	uid, err := o.str("uid")
	if err != nil {
		return r, "", err
	}
	if r.UID, err = ParseUID(uid); err != nil {
		return r, "", err
	}
	if n, err = o.int("prev", "public_seqno"); err != nil {
		return r, "", err
	}
	r.Public = Seqno(n)
	if v, ok := o.at("prev", "eldest_kid"); ok && v != nil {
		if r.Eldest, err = o.kid("prev", "eldest_kid"); err != nil {
			return r, "", err
		}
	}
	if v, _ := o.at("prev", "reset"); v != nil {
		if prev, err = o.str("prev", "reset"); err != nil {
			return r, "", err
		}
	}
	r.Merkle, err = parseRootRef(o, "merkle_root")
	return r, prev, err
}

func parseRootRef(o object, path ...string) (r rootRef, err error) {
	m, err := o.sub(path...)
	if err != nil {
		return r, err
	}
	n, err := m.int("seqno")
	if err != nil {
		return r, err
	}
	s, err := m.str("hash_meta")
	if err != nil {
		return r, err
	}
	r.Seqno = Seqno(n)
	r.HashMeta, err = ParseHashMeta(s)
	return r, err
}

// stringsOf reads an array of strings; null and missing are empty.
func stringsOf(raw json.RawMessage) ([]string, error) {
	if isNull(raw) {
		return nil, nil
	}
	var out []string
	return out, json.Unmarshal(raw, &out)
}
