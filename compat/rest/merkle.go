package rest

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/proofs"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/tree"
)

// rootSigJSON is one signature of a root, by its key.
type rootSigJSON struct {
	Sig         string  `json:"sig"`
	Fingerprint *string `json:"fingerprint"`
}

// rootJSON is a signed root. Clients read seqno, payload_json and sigs; the rest is
// for people and mirrors. client: go/libkb/merkle_client.go:NewMerkleRootFromJSON
type rootJSON struct {
	Seqno       kbsig.Seqno            `json:"seqno"`
	PayloadJSON string                 `json:"payload_json,omitempty"`
	Sigs        map[string]rootSigJSON `json:"sigs,omitempty"`
	HashMeta    string                 `json:"hash_meta,omitempty"`
	Hash        string                 `json:"hash,omitempty"`
	Ctime       int64                  `json:"ctime,omitempty"`
	Txid        string                 `json:"txid,omitempty"`
	Skips       *[]string              `json:"skips,omitempty"`
}

func (c *call) rootJSON(r *roots.Root, sigs bool) rootJSON {
	out := rootJSON{
		Seqno: r.Seqno, PayloadJSON: r.Payload, HashMeta: r.HashMeta.String(),
		Hash: r.Hash.String(), Ctime: r.Ctime,
	}
	if sigs {
		out.Sigs = map[string]rootSigJSON{r.KID.String(): {Sig: r.Armored()}}
	}
	return out
}

// merkleRoot: GET merkle/root. client: go/libkb/merkle_client.go:lookupRootAndSkipSequence
func merkleRoot(c *call) (any, error) {
	last, err := c.seqno("last")
	if err != nil {
		return nil, err
	}
	newest := c.roots().Root()
	if last == newest.Seqno && c.flag("skip_last") {
		return rootJSON{Seqno: newest.Seqno}, nil
	}
	out := c.rootJSON(newest, true)
	if last > 0 && last < newest.Seqno {
		skips, err := c.skips(last, newest.Seqno)
		if err != nil {
			return nil, err
		}
		out.Skips = &skips
	}
	return out, nil
}

// skips are the payloads that lead from the newer of two roots to the older.
func (c *call) skips(older, newer kbsig.Seqno) ([]string, error) {
	s, err := c.roots().SkipsBetween(c.view(), older, newer)
	if errors.Is(err, roots.ErrNoRoot) {
		return nil, status.New(status.NotFound, "NOT_FOUND", "there is no such Merkle root")
	}
	if s == nil {
		s = []string{}
	}
	return s, err
}

type firstRootJSON struct {
	Seqno kbsig.Seqno `json:"seqno"`
}

// firstRoot: GET merkle/first_root_with_skips.
func firstRoot(c *call) (any, error) { return firstRootJSON{c.roots().First()}, nil }

// firstRootWithHidden: GET merkle/first_root_with_hidden.
// client: go/libkb/merkle_client.go:FirstMainRootWithHiddenRootHash
func firstRootWithHidden(c *call) (any, error) { return firstRootJSON{c.roots().FirstBlind()}, nil }

// merkleKit: GET merkle/pvl, merkle/proof_params, merkle/external_urls.
// client: go/merklestore/store.go:MerkleStoreImpl.fetch
func merkleKit(c *call) (any, error) {
	k, err := proofs.KitByHash(c.view(), c.raw("hash"))
	if errors.Is(err, store.ErrNotFound) {
		return nil, status.Missing("a kit of that hash")
	}
	if err != nil {
		return nil, err
	}
	return struct {
		KitJSON string `json:"kit_json"`
	}{k.JSON}, nil
}

type pathJSON struct {
	Root          rootJSON   `json:"root"`
	UID           string     `json:"uid,omitempty"`
	Username      string     `json:"username,omitempty"`
	UsernameCased string     `json:"username_cased,omitempty"`
	IDVersion     *int64     `json:"id_version,omitempty"`
	ResetChain    []string   `json:"reset_chain"`
	Sigs          *hintsJSON `json:"sigs,omitempty"`
	Skips         *[]string  `json:"skips,omitempty"`
	hiddenJSON

	raw []rawPart // path and uid_proof_path
}

// merklePath: GET merkle/path. A current question is answered in the very root that
// the client holds (tail), or with code 300 if the leaf has changed since; a
// historical one (start_seqno, start_hash_meta) in the root it names.
// client: go/libkb/merkle_client.go:lookupLeafAndPathHelperOnce, lookupLeafHistorical
func merklePath(c *call) (any, error) {
	tail, err := c.seqno("tail")
	if err != nil {
		return nil, err
	}
	newest := c.roots().Root().Seqno
	if tail == 0 {
		tail = newest
	}
	if tail < c.roots().First() || tail > newest {
		// Telling it to fetch a newer root would not help: it has seen the roots of
		// another server, or of a copy of this one.
		return nil, status.InputField("tail", "this server never published the Merkle root that the client holds; is the client pointed at the right server?")
	}
	if c.has("start_seqno") || c.has("start_hash_meta") {
		return c.historicalPath(tail)
	}
	id, acct, err := c.leafID()
	if err != nil {
		return nil, err
	}
	out := pathJSON{Root: rootJSON{Seqno: tail}}
	if id == nil {
		return withRaw{out, out.raw}, nil
	}
	changed, err := c.roots().LeafChangedAfter(c.view(), *id, tail)
	if err != nil {
		return nil, err
	}
	if !changed && isTeam(id) {
		changed, err = c.roots().BlindChangedAfter(c.view(), *id, tail)
		if err != nil {
			return nil, err
		}
	}
	if changed {
		return nil, updateRoot()
	}
	if err := c.addPath(&out, *id, acct, tail); err != nil {
		return nil, err
	}
	return withRaw{out, out.raw}, nil
}

// updateRoot asks the client to fetch the newest root and to ask again.
func updateRoot() error {
	return status.New(status.MerkleUpdateRoot, "MERKLE_UPDATE_ROOT", "fetch the newest Merkle root and ask again")
}

// leafID reads whose leaf is wanted: a user's, with the account, or any leaf by its
// id, or none.
func (c *call) leafID() (*tree.ID, *accounts.Account, error) {
	switch {
	case c.has("uid"):
		uid, err := c.uid("uid")
		if err != nil {
			return nil, nil, err
		}
		acct, err := accounts.Get(c.view(), uid)
		if err != nil {
			return nil, nil, err
		}
		id := tree.ID(uid)
		return &id, acct, nil
	case c.has("leaf_id"):
		raw := c.raw("leaf_id")
		var id tree.ID
		if b, err := hex.DecodeString(raw); err != nil || len(b) != len(id) || strings.ToLower(raw) != raw {
			return nil, nil, status.InputField("leaf_id", "not the id of a user or a team")
		} else {
			copy(id[:], b)
		}
		return &id, nil, nil
	case c.flag("no_leaf"):
		return nil, nil, nil
	}
	return nil, nil, status.Input("merkle/path wants uid, leaf_id or no_leaf")
}

// addPath adds the path of a leaf in root at, and what clients read beside that of a user.
func (c *call) addPath(out *pathJSON, id tree.ID, acct *accounts.Account, at kbsig.Seqno) error {
	path, leaf, err := c.roots().AppendPath(nil, c.view(), id, at)
	if err != nil {
		return err
	}
	out.raw = append(out.raw, rawPart{"path", path})
	if isTeam(&id) {
		return c.addHidden(&out.hiddenJSON, id, at)
	}
	if acct == nil {
		return nil
	}
	out.UID, out.Username, out.UsernameCased = acct.UID.String(), string(acct.Name), acct.Cased
	out.IDVersion = &acct.IDVersion
	low, err := c.integer("sig_hints_low", -1)
	if err != nil {
		return err
	}
	if out.Sigs, err = c.hints(acct, low); err != nil {
		return err
	}
	out.raw = append(out.raw, rawPart{"uid_proof_path", tree.AppendPath(nil, c.roots().NamesPath(acct.Name))})
	if leaf == nil {
		return nil // root at is older than the account
	}
	// As many resets as the leaf counts: clients compare.
	// client: go/libkb/merkle_reset_chain.go:MerkleResets.verifyAndLoad
	value, err := tree.ParseLeaf(leaf)
	if err != nil {
		return err
	}
	out.ResetChain, err = identity.ResetChain(c.view(), acct.UID, value.Reset.Seqno)
	return err
}

// historicalPath answers for an earlier root, with the root itself and the skips
// from the client's root to it.
func (c *call) historicalPath(tail kbsig.Seqno) (any, error) {
	at, err := c.startRoot()
	if err != nil {
		return nil, err
	}
	root, err := c.roots().RootAt(c.view(), at)
	if errors.Is(err, roots.ErrNoRoot) {
		return nil, status.Missing("that Merkle root")
	}
	if err != nil {
		return nil, err
	}
	if at > tail {
		// The root is there, but the client does not know of it yet: it takes an
		// answer from its own future for an attack.
		return nil, updateRoot()
	}
	out := pathJSON{Root: c.rootJSON(root, !c.flag("no_root_sigs"))}
	skips, err := c.skips(at, tail)
	if err != nil {
		return nil, err
	}
	out.Skips = &skips
	id, acct, err := c.leafID()
	if err != nil {
		return nil, err
	}
	if id == nil {
		return out, nil
	}
	if err := c.addPath(&out, *id, acct, at); err != nil {
		return nil, err
	}
	return withRaw{out, out.raw}, nil
}

func (c *call) startRoot() (kbsig.Seqno, error) {
	if c.has("start_seqno") {
		return c.seqno("start_seqno")
	}
	h, err := parsed(c, "start_hash_meta", kbsig.ParseHashMeta)
	if err != nil {
		return 0, err
	}
	at, err := c.roots().SeqnoByHashMeta(c.view(), h)
	if errors.Is(err, roots.ErrNoRoot) {
		err = status.Missing("that Merkle root")
	}
	return at, err
}
