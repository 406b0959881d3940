package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
)

// User is a verified view of somebody as of one root. It is never changed after
// it was returned.
type User struct {
	UID       UID
	Username  string
	Root      *Root
	Leaf      Leaf
	Resets    []ResetLink
	IDVersion int64
	Deleted   bool

	Salt                 string // hex, as the server says
	PassphraseGeneration int
	LastIDChange         int64

	Chain  []*Link   // every link up to the leaf's tail
	Family *Family   // current incarnation, nil without keys
	Past   []*Family // earlier incarnations
}

// Tail is the chain's last link as the leaf says, nil for an empty chain.
func (u *User) Tail() *Triple { return u.Leaf.Public }

// Link finds a link by number, nil when the chain is shorter.
func (u *User) Link(s Seqno) *Link {
	if s < 1 || int(s) > len(u.Chain) {
		return nil
	}
	return u.Chain[s-1]
}

// basics is the checked part of user/lookup.
type basics struct {
	idVersion    int64
	status       int
	salt         string
	ppgen        int
	lastIDChange int64
	bundles      map[KID]bool
	pgp          map[KID]map[string]*PGPKey // by full hash
}

// LoadOptions choose how a user is loaded.
type LoadOptions struct {
	Credential Credential
	Stubbed    bool // ask for stubs where they are allowed (c3=2)
	Fresh      bool // ask for everything again
	// Quoted looks up every root that links quote and that is not known yet.
	Quoted bool
}

// LoadUser looks a user up, fetches what is new and verifies all of it.
func (v *Verifier) LoadUser(ctx context.Context, uid UID, o LoadOptions) (*User, error) {
	if o.Fresh {
		v.Forget(uid)
	}
	m := v.memoryOf(uid)
	m.loading.Lock()
	defer m.loading.Unlock()
	look, err := v.LookupUser(ctx, uid, o.Credential)
	if err != nil {
		return nil, err
	}
	if m.basics == nil || m.basics.idVersion < look.IDVersion {
		if m.basics, err = v.fetchBasics(ctx, look); err != nil {
			return nil, err
		}
	}
	if m.needsLinks(look, o) {
		if err := v.fetchChain(ctx, look, m, o); err != nil {
			return nil, err
		}
	}
	if err := checkTail(look, m.chain); err != nil {
		return nil, err
	}
	if o.Quoted {
		if err := v.fetchQuoted(ctx, m.chain, look); err != nil {
			return nil, err
		}
	}
	return m.user(look)
}

// needsLinks reports whether the known chain does not cover the leaf.
func (m *memory) needsLinks(look *Lookup, o LoadOptions) bool {
	tail := look.Leaf.tailSeqno()
	if Seqno(len(m.chain)) < tail {
		return true
	}
	if tail > 0 && m.chain[tail-1].Stubbed {
		return true
	}
	if o.Stubbed {
		return false
	}
	for _, l := range m.chain[:tail] {
		if l.Stubbed {
			return true
		}
	}
	return false
}

func (m *memory) user(look *Lookup) (*User, error) {
	current, past, err := playChain(look, m.chain, m.basics)
	if err != nil {
		return nil, err
	}
	tail := look.Leaf.tailSeqno()
	return &User{
		UID: look.UID, Username: look.Username, Root: look.Root, Leaf: look.Leaf, Resets: look.Resets,
		IDVersion: look.IDVersion, Deleted: m.basics.status == CodeDeleted,
		Salt: m.basics.salt, PassphraseGeneration: m.basics.ppgen, LastIDChange: m.basics.lastIDChange,
		Chain: m.chain[:tail:tail], Family: current, Past: past,
	}, nil
}

// fetchQuoted asks for each quoted root that the witness does not know and checks
// the quotes again.
func (v *Verifier) fetchQuoted(ctx context.Context, chain []*Link, look *Lookup) error {
	for _, l := range chain {
		if l.Stubbed {
			continue
		}
		if r, ok := v.Witness.seen(l.Merkle.Seqno); ok && r.Hash512 != "" {
			continue
		}
		if _, err := v.RootAt(ctx, l.Merkle.Seqno); err != nil {
			return under(RuleLinkMerkle, l.subject(), err)
		}
	}
	return v.checkQuotes(chain, look)
}

// fetchBasics reads user/lookup and compares it with the tree.
// client: go/libkb/user.go:newUser, go/libkb/merkle_client.go:MatchUser
func (v *Verifier) fetchBasics(ctx context.Context, look *Lookup) (*basics, error) {
	subject := "user/lookup of " + look.Username
	reply, err := v.srv.Get(ctx, "user/lookup", url.Values{"uid": {look.UID.String()}, "load_deleted": {"1"}}, nil)
	if err != nil {
		return nil, err
	}
	var them struct {
		ID     string `json:"id"`
		Basics *struct {
			Username  string `json:"username"`
			Status    *int   `json:"status"`
			IDVersion *int64 `json:"id_version"`
			Salt      string `json:"salt"`
			PPGen     int    `json:"passphrase_generation"`
			Changed   int64  `json:"last_id_change"`
		} `json:"basics"`
		Keys *struct {
			Bundles *[]string `json:"all_bundles"`
		} `json:"public_keys"`
	}
	if err := reply.into("them", &them); err != nil {
		return nil, err
	}
	b := them.Basics
	switch {
	case them.ID != look.UID.String():
		return nil, violated(RuleUserObject, subject, "it is about %q", them.ID)
	case b == nil || b.Status == nil || b.IDVersion == nil:
		return nil, violated(RuleUserObject, subject, "basics without status or id_version")
	case b.Username != look.Username:
		return nil, violated(RuleUserObject, subject, "name %q, tree says %q", b.Username, look.Username)
	case *b.Status != CodeOK && *b.Status != CodeDeleted:
		return nil, violated(RuleUserObject, subject, "status %d", *b.Status)
	case *b.IDVersion < look.IDVersion:
		return nil, violated(RuleUserObject, subject, "id_version %d, merkle/path said %d", *b.IDVersion, look.IDVersion)
	case them.Keys == nil || them.Keys.Bundles == nil:
		return nil, violated(RuleUserObject, subject, "no public_keys.all_bundles")
	}
	out := &basics{
		idVersion: *b.IDVersion, status: *b.Status, salt: b.Salt, ppgen: b.PPGen,
		lastIDChange: b.Changed, bundles: make(map[KID]bool), pgp: make(map[KID]map[string]*PGPKey),
	}
	for _, s := range *them.Keys.Bundles {
		if kid, err := ParseKID(s); err == nil {
			out.bundles[kid] = true
		}
		if !strings.HasPrefix(s, pgpBundle) {
			continue
		}
		k, err := parsePGPKey(s)
		if err != nil {
			return nil, violated(RuleUserObject, subject, "a PGP key in all_bundles: %v", err)
		}
		if out.pgp[k.KID] == nil {
			out.pgp[k.KID] = make(map[string]*PGPKey)
		}
		out.pgp[k.KID][k.Hash] = k
	}
	return out, nil
}

// UserObject is the raw object of user/lookup by name, as the resolver asks.
// client: go/libkb/resolve.go
func (v *Verifier) UserObject(ctx context.Context, name string) ([]json.RawMessage, error) {
	args := url.Values{"username": {name}, "fields": {"basics,public_keys,pictures"}, "load_deleted_v2": {"1"}, "multi": {"1"}}
	reply, err := v.srv.Get(ctx, "user/lookup", args, nil, CodeNotFound, CodeDeleted)
	if err != nil {
		return nil, err
	}
	if reply.Code != CodeOK {
		return nil, nil
	}
	var them []json.RawMessage
	return them, reply.into("them", &them)
}
