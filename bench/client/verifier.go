package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// rootRefreshMax is how often one lookup may be told to refresh the root.
// client: go/libkb/merkle_client.go:lookupLeafAndPathHelper
const rootRefreshMax = 5

// Verifier is what one client knows and never forgets: the newest root, the
// witness of all roots, and of each user the leaf and the links seen. Every
// method that asks the server verifies the answer against it first and then adds
// to it. Safe for many goroutines.
type Verifier struct {
	srv     *Server
	Witness *Witness

	mu    sync.Mutex
	last  *Root
	users map[UID]*memory
}

// memory is what is known about one user.
type memory struct {
	loading sync.Mutex // held while the user is loaded, so that loads append in order

	// Guarded by Verifier.mu.
	seen  bool
	root  Seqno // root of the newest leaf
	leaf  Leaf
	name  string
	links map[Seqno]LinkID

	// Guarded by loading.
	basics *basics
	chain  []*Link // links 1.. as verified
}

// NewVerifier starts with no knowledge; w may be shared, nil makes a new one.
func NewVerifier(srv *Server, w *Witness) *Verifier {
	if w == nil {
		w = NewWitness()
	}
	return &Verifier{srv: srv, Witness: w, users: make(map[UID]*memory)}
}

// Server is the server this verifier asks.
func (v *Verifier) Server() *Server { return v.srv }

// LastRoot is the newest root known, nil before the first refresh.
func (v *Verifier) LastRoot() *Root {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last
}

// adopt remembers verified roots and moves to r if it is the newest.
func (v *Verifier) adopt(r *Root, between []*Root, current bool) error {
	for _, x := range append(between, r) {
		if x.Seqno < v.srv.FirstRoot {
			return violated(RuleRollback, x.subject(), "from before the first root, %d", v.srv.FirstRoot)
		}
		if err := v.Witness.see(x, v.srv.FirstRoot); err != nil {
			return err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if current && (v.last == nil || v.last.Seqno < r.Seqno) {
		v.last = r
	}
	return nil
}

// RefreshRoot asks for the newest root and verifies it against the newest known.
// client: go/libkb/merkle_client.go:fetchAndStoreRootFromServerLocked
func (v *Verifier) RefreshRoot(ctx context.Context) (*Root, error) {
	last := v.LastRoot()
	args := url.Values{"c": {"1"}}
	if last != nil {
		args.Set("last", fmt.Sprint(last.Seqno))
		args.Set("skip_last", "1")
	}
	reply, err := v.srv.Get(ctx, "merkle/root", args, nil)
	if err != nil {
		return nil, err
	}
	var rr rootReply
	if err := reply.Decode(&rr); err != nil {
		return nil, err
	}
	if rr.Seqno == nil {
		return nil, violated(RuleReply, "merkle/root", "no seqno")
	}
	if last != nil && *rr.Seqno < last.Seqno {
		return nil, violated(RuleRollback, "merkle/root", "root %d after root %d", *rr.Seqno, last.Seqno)
	}
	if last != nil && *rr.Seqno == last.Seqno && rr.Payload == nil {
		return last, nil
	}
	r, err := rr.parse(v.srv.RootKIDs, true)
	if err != nil {
		return nil, err
	}
	if last == nil || last.Seqno == r.Seqno {
		return r, v.adopt(r, nil, true)
	}
	if rr.Skips == nil {
		return nil, violated(RuleSkipPath, r.subject(), "no skips from %d", last.Seqno)
	}
	between, err := verifySkips(r, last, *rr.Skips)
	if err != nil {
		return nil, err
	}
	return r, v.adopt(r, between, true)
}

// rootSince is the newest root known, fetched anew if that is older than least.
func (v *Verifier) rootSince(ctx context.Context, least Seqno) (*Root, error) {
	if r := v.LastRoot(); r != nil && r.Seqno >= least {
		return r, nil
	}
	return v.RefreshRoot(ctx)
}

// pathReply is the part of merkle/path that all lookups share.
type pathReply struct {
	Root  *rootReply `json:"root"`
	Path  []pathStep `json:"path"`
	Skips *[]string  `json:"skips"`

	hiddenReply // of teams
}

// askPath runs the 300 protocol: the answer must be about the root the client
// has; code 300 means "refresh it, then ask again".
func (v *Verifier) askPath(ctx context.Context, args url.Values, c Credential) (*Reply, *pathReply, *Root, error) {
	for range rootRefreshMax {
		root, err := v.rootSince(ctx, 1)
		if err != nil {
			return nil, nil, nil, err
		}
		args.Set("tail", fmt.Sprint(root.Seqno))
		args.Set("c", "1")
		reply, err := v.srv.Get(ctx, "merkle/path", args, c, CodeMerkleUpdateRoot)
		if err != nil {
			return nil, nil, nil, err
		}
		if reply.Code == CodeMerkleUpdateRoot {
			if _, err := v.RefreshRoot(ctx); err != nil {
				return nil, nil, nil, err
			}
			continue
		}
		var p pathReply
		if err := reply.Decode(&p); err != nil {
			return nil, nil, nil, err
		}
		if p.Root == nil || p.Root.Seqno == nil {
			return nil, nil, nil, violated(RuleReply, "merkle/path", "no root.seqno")
		}
		return reply, &p, root, nil
	}
	return nil, nil, nil, violated(RuleUpdateLoop, "merkle/path", "%d refreshes were not enough", rootRefreshMax)
}

// Lookup is a user's verified place in one root.
type Lookup struct {
	Root      *Root
	UID       UID
	Username  string // lower case
	Cased     string // as the server displays it, unverified
	IDVersion int64  // unsigned: when it rises, user/lookup has news
	Leaf      Leaf
	Resets    []ResetLink
}

// LookupUser finds a user in the newest root that the server answers for.
// A user the server does not know is a *StatusError with code 205.
// client: go/libkb/merkle_client.go:LookupUser
func (v *Verifier) LookupUser(ctx context.Context, uid UID, c Credential) (*Lookup, error) {
	args := url.Values{
		"uid": {uid.String()}, "load_deleted": {"1"}, "load_reset_chain": {"1"}, "sig_hints_low": {"0"},
	}
	if v.srv.PathPollSeconds > 0 {
		args.Set("poll", strconv.Itoa(v.srv.PathPollSeconds))
	}
	reply, p, root, err := v.askPath(ctx, args, c)
	if err != nil {
		return nil, err
	}
	if *p.Root.Seqno != root.Seqno {
		return nil, violated(RulePathRoot, "path to "+uid.String(), "rooted in %d, asked for %d", *p.Root.Seqno, root.Seqno)
	}
	l := &Lookup{Root: root, UID: uid}
	if l.Leaf, err = v.userLeaf(root, uid, p.Path); err != nil {
		return nil, err
	}
	if err := l.readUser(reply); err != nil {
		return nil, err
	}
	return l, v.remember(l)
}

func (v *Verifier) userLeaf(root *Root, uid UID, path []pathStep) (Leaf, error) {
	value, found, err := verifyPath(root.Node.String(), uid.String(), path)
	if err != nil || !found {
		return Leaf{}, err
	}
	return parseLeaf("leaf of "+uid.String(), value)
}

// readUser checks what merkle/path says about the user beside the path.
// client: go/libkb/merkle_client.go:readUserFromAPIRes, verifyUsername
func (l *Lookup) readUser(reply *Reply) error {
	subject := "user " + l.UID.String()
	uid, err := reply.text("uid")
	if err != nil {
		return err
	}
	if uid != l.UID.String() {
		return violated(RuleUsername, subject, "answer is about %s", uid)
	}
	if err := reply.into("id_version", &l.IDVersion); err != nil {
		return err
	}
	if l.Username, err = reply.text("username"); err != nil {
		return err
	}
	if reply.Field("username_cased") != nil {
		if err := reply.into("username_cased", &l.Cased); err != nil {
			return err
		}
	}
	if err := l.verifyUsername(subject, reply.Field("uid_proof_path")); err != nil {
		return err
	}
	var hints struct {
		Version *int64             `json:"version"`
		Hints   *[]json.RawMessage `json:"hints"`
	}
	if err := reply.into("sigs", &hints); err != nil {
		return err
	}
	if hints.Hints == nil || hints.Version == nil {
		return violated(RuleReply, subject, "signature hints were asked for")
	}
	chain, err := stringsOf(reply.Field("reset_chain"))
	if err != nil {
		return violated(RuleReply, subject, "reset_chain: %v", err)
	}
	l.Resets, err = verifyResets(subject, l.UID, l.Leaf, chain)
	return err
}

// verifyUsername accepts a hash-derived id, or the proof in the legacy tree.
func (l *Lookup) verifyUsername(subject string, proof json.RawMessage) error {
	if err := checkUsername(l.Username); err != nil {
		return violated(RuleUsername, subject, "%v", err)
	}
	if UIDOf(l.Username) == l.UID {
		return nil
	}
	if isNull(proof) {
		return violated(RuleUsername, subject, "%q belongs to %s", l.Username, UIDOf(l.Username))
	}
	if l.Root.LegacyUIDRoot == "" {
		return violated(RuleUsername, subject, "no legacy tree in root %d", l.Root.Seqno)
	}
	var path []pathStep
	if err := json.Unmarshal(proof, &path); err != nil {
		return violated(RuleReply, subject, "uid_proof_path: %v", err)
	}
	key := hashMetaOf(strings.ToLower(l.Username)).String()
	value, found, err := verifyPath(l.Root.LegacyUIDRoot, key, path)
	if err != nil {
		return err
	}
	if !found || value != any(l.UID.String()) {
		return violated(RuleUsername, subject, "legacy tree maps %q to %v", l.Username, value)
	}
	return nil
}

// At names a root of the past by number or by hash.
type At struct {
	Seqno    Seqno
	HashMeta HashMeta
}

// LookupAt looks up any leaf (user or team id in hex, "" for none) as of an older
// root. Without signatures only the skip path vouches for that root, as in the
// stock client's audits. client: go/libkb/merkle_client.go:lookupLeafHistorical
func (v *Verifier) LookupAt(ctx context.Context, id string, at At, withSigs bool, c Credential) (root *Root, value any, found bool, err error) {
	p, root, err := v.pathAt(ctx, id, at, withSigs, c)
	if err != nil || id == "" {
		return root, nil, false, err
	}
	value, found, err = verifyPath(root.Node.String(), id, p.Path)
	return root, value, found, err
}

// pathAt asks for the path to a leaf as of an older root, and verifies that root.
func (v *Verifier) pathAt(ctx context.Context, id string, at At, withSigs bool, c Credential) (*pathReply, *Root, error) {
	if _, err := v.rootSince(ctx, max(at.Seqno, 1)); err != nil {
		return nil, nil, err
	}
	args := url.Values{}
	if id == "" {
		args.Set("no_leaf", "1")
	} else {
		args.Set("leaf_id", id)
	}
	if at.Seqno != 0 {
		args.Set("start_seqno", fmt.Sprint(at.Seqno))
	} else {
		args.Set("start_hash_meta", at.HashMeta.String())
	}
	if !withSigs {
		args.Set("no_root_sigs", "1")
	}
	_, p, current, err := v.askPath(ctx, args, c)
	if err != nil {
		return nil, nil, err
	}
	root, err := v.historicalRoot(p, current, withSigs)
	if err != nil {
		return nil, nil, err
	}
	if (at.Seqno != 0 && root.Seqno != at.Seqno) || (at.Seqno == 0 && root.HashMeta != at.HashMeta) {
		return nil, nil, violated(RulePathRoot, root.subject(), "asked for another root")
	}
	return p, root, nil
}

func (v *Verifier) historicalRoot(p *pathReply, current *Root, withSigs bool) (*Root, error) {
	switch {
	case *p.Root.Seqno == current.Seqno:
		return current, nil
	case *p.Root.Seqno > current.Seqno:
		return nil, violated(RulePathRoot, "merkle/path", "root %d is ahead of %d", *p.Root.Seqno, current.Seqno)
	}
	r, err := p.Root.parse(v.srv.RootKIDs, withSigs)
	if err != nil {
		return nil, err
	}
	if p.Skips == nil {
		return nil, violated(RuleSkipPath, r.subject(), "no skips from %d", current.Seqno)
	}
	between, err := verifySkips(current, r, *p.Skips)
	if err != nil {
		return nil, err
	}
	return r, v.adopt(r, between, false)
}

// RootAt is an older root by number.
func (v *Verifier) RootAt(ctx context.Context, s Seqno) (*Root, error) {
	r, _, _, err := v.LookupAt(ctx, "", At{Seqno: s}, true, nil)
	return r, err
}

// UserLeafAt is a user's leaf as of an older root, checked against the leaves of
// that user seen in other roots.
func (v *Verifier) UserLeafAt(ctx context.Context, uid UID, at At) (*Root, Leaf, error) {
	root, value, found, err := v.LookupAt(ctx, uid.String(), at, true, nil)
	if err != nil {
		return nil, Leaf{}, err
	}
	var leaf Leaf
	if found {
		if leaf, err = parseLeaf("leaf of "+uid.String(), value); err != nil {
			return nil, Leaf{}, err
		}
	}
	return root, leaf, v.remember(&Lookup{Root: root, UID: uid, Leaf: leaf})
}

// Kit fetches pvl, proof_params or external_urls and checks it against the
// newest root. client: go/merklestore/store.go
func (v *Verifier) Kit(ctx context.Context, name string) (string, error) {
	root, err := v.RefreshRoot(ctx)
	if err != nil {
		return "", err
	}
	subject := "kit " + name
	hash, ok := root.Kits[name]
	if !ok || hash == "" {
		return "", violated(RuleKit, subject, "root %d has no hash for it", root.Seqno)
	}
	reply, err := v.srv.Get(ctx, "merkle/"+name, url.Values{"hash": {hash}}, nil)
	if err != nil {
		return "", err
	}
	kit, err := reply.text("kit_json")
	if err != nil {
		return "", err
	}
	if got := nodeHashOf(kit).String(); got != hash {
		return "", violated(RuleKit, subject, "hashes to %.16s..., root says %.16s...", got, hash)
	}
	o, err := parseObject([]byte(kit))
	if err != nil {
		return "", violated(RuleKit, subject, "%v", err)
	}
	if ver, err := o.int("kit_version"); err != nil || ver != 1 || !o.has("tab", "1") {
		return "", violated(RuleKit, subject, "not kit version 1 with an entry for 1")
	}
	return kit, nil
}
