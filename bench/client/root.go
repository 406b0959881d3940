package client

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
)

// skipDriftMax is how far ctimes may run back over a skip path, in seconds.
// client: go/libkb/merkle_client.go:SkipSequence.verify
const skipDriftMax = 5 * 60

// Root is a parsed root payload. The payload is the truth; the rest was read
// from it. client: go/libkb/merkle_client.go:MerkleRootPayloadUnpacked
type Root struct {
	Payload  string
	HashMeta HashMeta // SHA-256 of Payload
	Hash512  string   // SHA-512 of Payload in hex: the next root's prev

	Seqno         Seqno
	Ctime         int64 // unix seconds
	Node          NodeHash
	Prev          string // hex SHA-512, or ""
	LegacyUIDRoot string // hex SHA-256, or ""
	Skips         map[Seqno]HashMeta
	Kits          map[string]string // kit endpoint name to hex SHA-512 or ""
	BlindRoot     string
	// KBFS has the three roots' raw JSON by name: private, public, privateteam.
	KBFS map[string]object
}

// Kit names, as endpoints under merkle/ and their field in the root.
var kitFields = map[string]string{
	"pvl":           "pvl_hash",
	"proof_params":  "proof_services_hash",
	"external_urls": "external_urls_hash",
}

func (r *Root) subject() string { return fmt.Sprintf("root %d", r.Seqno) }

// ParseRoot reads a payload and checks everything that needs no other root.
func ParseRoot(payload string) (*Root, error) {
	bad := func(err error) (*Root, error) { return nil, under(RuleRootPayload, "root payload", err) }
	o, err := parseObject([]byte(payload))
	if err != nil {
		return bad(err)
	}
	body, err := o.sub("body")
	if err != nil {
		return bad(err)
	}
	sum := sha512.Sum512([]byte(payload))
	r := &Root{Payload: payload, HashMeta: hashMetaOf(payload), Hash512: hex.EncodeToString(sum[:])}
	seqno, err := body.int("seqno")
	if err != nil {
		return bad(err)
	}
	if r.Seqno = Seqno(seqno); seqno < 1 {
		return bad(fmt.Errorf("seqno %d", seqno))
	}
	if r.Ctime, err = o.int("ctime"); err != nil || r.Ctime <= 0 {
		return bad(fmt.Errorf("ctime %d: %v", r.Ctime, err))
	}
	node, err := body.str("root")
	if err != nil {
		return bad(err)
	}
	if r.Node, err = ParseNodeHash(node); err != nil {
		return bad(err)
	}
	if err := r.parseRest(o, body); err != nil {
		return bad(err)
	}
	return r, r.parseSkips(body)
}

func (r *Root) parseRest(o, body object) error {
	if tag, err := o.str("tag"); err != nil || tag != "signature" {
		return fmt.Errorf("tag %q, not signature", tag)
	}
	if typ, err := body.str("type"); err != nil || typ != "merkle_root" {
		return fmt.Errorf("type %q, not merkle_root", typ)
	}
	if v, err := body.int("version"); body.has("version") && (err != nil || v != 1) {
		return fmt.Errorf("version %d", v)
	}
	if txid, err := body.str("txid"); err != nil || len(txid) == 0 {
		return fmt.Errorf("txid: %v", err)
	}
	var err error
	if r.Prev, err = hexOrEmpty(body, "prev", 64); err != nil {
		return err
	}
	if r.LegacyUIDRoot, err = hexOrEmpty(body, "legacy_uid_root", 32); err != nil {
		return err
	}
	r.Kits = make(map[string]string)
	for kit, field := range kitFields {
		if !body.has(field) {
			continue // roots older than a kit do not name it
		}
		if r.Kits[kit], err = hexOrEmpty(body, field, 64); err != nil {
			return err
		}
	}
	if r.BlindRoot, err = body.str("blind_merkle_root_hash"); err != nil && body.has("blind_merkle_root_hash") {
		return err
	}
	r.KBFS = make(map[string]object)
	for _, tree := range []string{"private", "public", "privateteam"} {
		if r.KBFS[tree], err = body.sub("kbfs", tree); err != nil {
			return err
		}
	}
	return nil
}

func hexOrEmpty(body object, field string, size int) (string, error) {
	s, err := body.str(field)
	if err != nil || s == "" {
		return "", err
	}
	return s, unhex(field, s, make([]byte, size))
}

// parseSkips wants exactly the positions seqno-1, -2, -4, ...
// client: go/libkb/merkle_client.go:verifyRootSkips
func (r *Root) parseSkips(body object) error {
	table, err := body.sub("skips")
	if err != nil {
		return violated(RuleSkipTable, r.subject(), "%v", err)
	}
	r.Skips = make(map[Seqno]HashMeta, len(table))
	for k, v := range table {
		s, err := strconv.ParseInt(k, 10, 64)
		hash, isText := v.(string)
		if err != nil || !isText || strconv.FormatInt(s, 10) != k {
			return violated(RuleSkipTable, r.subject(), "entry %q: %v", k, v)
		}
		if r.Skips[Seqno(s)], err = ParseHashMeta(hash); err != nil {
			return violated(RuleSkipTable, r.subject(), "entry %q: %v", k, err)
		}
	}
	want := SkipTable(r.Seqno)
	if len(want) != len(r.Skips) {
		return violated(RuleSkipTable, r.subject(), "%d skips, not %d", len(r.Skips), len(want))
	}
	for _, s := range want {
		if _, ok := r.Skips[s]; !ok {
			return violated(RuleSkipTable, r.subject(), "no skip to %d", s)
		}
	}
	return nil
}

// SkipTable is the set of positions that root n points back to.
// client: go/libkb/merkle_client.go:computeExpectedRootSkips
func SkipTable(n Seqno) []Seqno {
	var out []Seqno
	for d := Seqno(1); d < n; d *= 2 {
		out = append(out, n-d)
	}
	return out
}

// SkipPath is the positions between newer and older, newest first, that a skip
// path visits; the ends are not in it.
// client: go/libkb/merkle_client.go:computeLogPatternMerkleSkips
func SkipPath(older, newer Seqno) []Seqno {
	var out []Seqno
	at := newer
	for diff := uint64(newer - older); bits.OnesCount64(diff) > 1; {
		high := uint64(1) << (bits.Len64(diff) - 1)
		diff &^= high
		at -= Seqno(high)
		out = append(out, at)
	}
	return out
}

// verifySkips checks the path of payloads between two roots, newest first, and
// returns the roots on it.
// client: go/libkb/merkle_client.go:SkipSequence.verify
func verifySkips(newer, older *Root, between []string) ([]*Root, error) {
	subject := fmt.Sprintf("skips %d to %d", newer.Seqno, older.Seqno)
	want := SkipPath(older.Seqno, newer.Seqno)
	if len(want) != len(between) {
		return nil, violated(RuleSkipPath, subject, "%d roots, not %d", len(between), len(want))
	}
	chain := []*Root{newer}
	for i, payload := range between {
		r, err := ParseRoot(payload)
		if err != nil {
			return nil, err
		}
		if r.Seqno != want[i] {
			return nil, violated(RuleSkipPath, subject, "root %d where %d belongs", r.Seqno, want[i])
		}
		chain = append(chain, r)
	}
	chain = append(chain, older)
	var drift int64
	for i, r := range chain[:len(chain)-1] {
		next := chain[i+1]
		hash, ok := r.Skips[next.Seqno]
		if !ok || hash != next.HashMeta {
			return nil, violated(RuleSkipHash, subject, "hop %d to %d: %s is not %s", r.Seqno, next.Seqno, hash, next.HashMeta)
		}
		if back := next.Ctime - r.Ctime; back > 0 {
			drift += back
		}
	}
	if drift > skipDriftMax {
		return nil, violated(RuleRootTime, subject, "clock runs back by %d s", drift)
	}
	return chain[1 : len(chain)-1], nil
}

// rootReply is a root as merkle/root and merkle/path carry it.
type rootReply struct {
	Seqno   *Seqno                     `json:"seqno"`
	Payload *string                    `json:"payload_json"`
	Sigs    map[string]json.RawMessage `json:"sigs"`
	Skips   *[]string                  `json:"skips"`
}

// parse reads the root in a reply and checks its signatures unless they were not
// asked for. client: go/libkb/merkle_client.go:verifyRootHelper
func (rr *rootReply) parse(keys []KID, wantSigs bool) (*Root, error) {
	if rr.Payload == nil || rr.Seqno == nil {
		return nil, violated(RuleReply, "root", "no payload or no seqno")
	}
	r, err := ParseRoot(*rr.Payload)
	if err != nil {
		return nil, err
	}
	if r.Seqno != *rr.Seqno {
		return nil, violated(RuleReply, r.subject(), "reply says seqno %d", *rr.Seqno)
	}
	if !wantSigs {
		return r, nil
	}
	known := 0
	for name, raw := range rr.Sigs {
		kid, err := ParseKID(name)
		if err != nil || !slices.Contains(keys, kid) {
			continue
		}
		known++
		var entry struct {
			Sig string `json:"sig"`
		}
		if err := json.Unmarshal(raw, &entry); err != nil {
			return nil, violated(RuleRootPacket, r.subject(), "signature entry: %v", err)
		}
		if err := verifyRootSig(r, kid, entry.Sig); err != nil {
			return nil, err
		}
	}
	if known == 0 {
		return nil, violated(RuleRootSignature, r.subject(), "no signature by a known key")
	}
	return r, nil
}

func verifyRootSig(r *Root, kid KID, armored string) error {
	b, err := unbase64(armored)
	if err != nil {
		return violated(RuleRootPacket, r.subject(), "%v", err)
	}
	p, err := ParsePacket(b)
	if err != nil {
		return violated(RuleRootPacket, r.subject(), "%v", err)
	}
	if string(p.Payload) != r.Payload {
		return violated(RuleRootSignature, r.subject(), "signature over another payload")
	}
	signer, err := p.Verify()
	if err != nil {
		return violated(RuleRootSignature, r.subject(), "%v", err)
	}
	if signer != kid {
		return violated(RuleRootSignature, r.subject(), "signed by %s, filed under %s", signer, kid)
	}
	return nil
}
