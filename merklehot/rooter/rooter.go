// Package rooter is the social networks that exist only for the client's own tests:
// rooter, where people post, and the gubble universe, generic services that answer for
// the proofs of a name. A server has them with devel set, and no other.
//
// Anybody may post under any name there; that is what they are for. The package owns the
// key family 7 of engine/keys. Pages come as JSON; who serves them decides under which
// address. client: go/engine/prove_help_test.go, go/systests/team_invite_test.go
package rooter

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// Limits of the networks.
const (
	// postsMax bounds the posts of one name in one network.
	postsMax = 1000
	// postBytesMax bounds one post.
	postBytesMax = 16 << 10
	// nameBytesMax bounds a name.
	nameBytesMax = 64
)

// Network is the name of rooter; the gubble services have names of their own.
const Network = "rooter"

// Errors of the networks.
var (
	ErrBadPost  = errors.New("that cannot be posted")
	ErrNoPost   = errors.New("there is no such post")
	ErrTooMany  = errors.New("too many posts under that name")
	networkName = regexp.MustCompile(`^[a-z0-9_]{1,40}$`)
	personName  = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)
)

// Post is what somebody posted.
type Post struct {
	Network string `codec:"n"`
	Name    string `codec:"u"`
	Text    string `codec:"t,omitempty"` // of rooter
	SigHash string `codec:"s,omitempty"` // of gubble services: the signature's id
	User    string `codec:"k,omitempty"` // and whose it is

	ID string `codec:"-"` // made by Put
}

// Put keeps a post and returns its id.
func Put(tx *store.Tx, rand io.Reader, p Post) (id string, err error) {
	p.Name = strings.ToLower(p.Name)
	if !networkName.MatchString(p.Network) || !personName.MatchString(p.Name) || len(p.Name) > nameBytesMax || len(p.Text)+len(p.SigHash)+len(p.User) > postBytesMax {
		return "", ErrBadPost
	}
	have, err := Posts(tx, p.Network, p.Name)
	if err != nil {
		return "", err
	}
	if len(have) >= postsMax {
		return "", ErrTooMany
	}
	var raw [16]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("choose an id: %w", err)
	}
	key := keys.Post(keys.ServiceName(p.Network, p.Name), raw)
	store.Save(tx, key, p)
	return hex.EncodeToString(key[1:]), nil
}

// Delete takes a post back.
func Delete(tx *store.Tx, id string) error {
	key, ok := postKey(id)
	if !ok {
		return ErrNoPost
	}
	known, err := store.Has(tx, key)
	if err != nil {
		return err
	}
	if !known {
		return ErrNoPost
	}
	tx.Delete(key)
	return nil
}

// postKey is the key of a post by its id: what follows the family's prefix, in hex.
func postKey(id string) ([]byte, bool) {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != 48 {
		return nil, false
	}
	return keys.Post([32]byte(b[:32]), [16]byte(b[32:])), true
}

// Posts lists what was posted under a name in a network.
func Posts(r store.Reader, network, name string) ([]Post, error) {
	var out []Post
	lo := keys.Posts(keys.ServiceName(network, strings.ToLower(name)))
	err := r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		p, err := store.Decode[Post](v)
		p.ID = hex.EncodeToString(k[1:])
		out = append(out, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("posts of %.40s: %w", name, err)
	}
	return out, nil
}

// Addresses lists where the posts of a name are, as the server's proofs know them.
func Addresses(r store.Reader, network, name string) ([]string, error) {
	posts, err := Posts(r, network, name)
	out := make([]string, 0, len(posts))
	for _, p := range posts {
		out = append(out, Server+APIPrefix+network+"/"+p.Name+"/"+p.ID+".json")
	}
	return out, err
}

// Server and APIPrefix begin the addresses of pages; clients put their own server in
// the place of the first. client: go/libkb/constants.go:DevelServerURI
const (
	Server    = "http://localhost:3000"
	APIPrefix = "/_/api/1.0/"
	// GubblePrefix begins the names of pages of the gubble universe.
	GubblePrefix = "gubble_universe/"
)

// OwnPage reports an endpoint that is a page of one of the networks.
func OwnPage(endpoint string) bool {
	return strings.HasPrefix(endpoint, Network+"/") && strings.Count(endpoint, "/") == 2 || strings.HasPrefix(endpoint, GubblePrefix)
}

// Page is the content of a page, by its endpoint without ".json":
//
//	rooter/NAME/ID                     one post
//	gubble_universe/SERVICE/NAME/proofs  the proofs of a name
func Page(r store.Reader, endpoint string) (any, error) {
	parts := strings.Split(endpoint, "/")
	switch {
	case len(parts) == 3 && parts[0] == Network:
		return toot(r, parts[1], parts[2])
	case len(parts) == 4 && parts[0]+"/" == GubblePrefix && parts[3] == "proofs":
		return proofsOf(r, parts[1], parts[2])
	}
	return nil, ErrNoPost
}

// Toot is a post of rooter.
type Toot struct {
	Username string `json:"username"`
	Post     string `json:"post"`
	PostID   string `json:"post_id"`
}

func toot(r store.Reader, name, id string) (any, error) {
	key, ok := postKey(id)
	if !ok {
		return nil, ErrNoPost
	}
	p, err := store.Load[Post](r, key)
	if errors.Is(err, store.ErrNotFound) || err == nil && (p.Network != Network || p.Name != strings.ToLower(name)) {
		return nil, ErrNoPost
	}
	if err != nil {
		return nil, err
	}
	return struct {
		Toot Toot `json:"toot"`
	}{Toot{p.Name, p.Text, id}}, nil
}

// proofsOf is what a gubble service says of a name: its proofs and its picture.
func proofsOf(r store.Reader, service, name string) (any, error) {
	posts, err := Posts(r, service, name)
	if err != nil {
		return nil, err
	}
	type proof struct {
		SigHash string `json:"sig_hash"`
		User    string `json:"kb_username"`
	}
	list := []proof{}
	for _, p := range posts {
		list = append(list, proof{p.SigHash, p.User})
	}
	type res struct {
		Proofs []proof `json:"keybase_proofs"`
		Avatar string  `json:"avatar"`
	}
	return struct {
		Res res `json:"res"`
	}{res{list, Server + "/_/gubble_universe/" + service + "/" + name + "/avatar.png"}}, nil
}

// Local answers for the addresses of the networks without a network: path is what
// follows Server.
func Local(r store.Reader, path string) (page []byte, ok bool) {
	endpoint, ok := strings.CutPrefix(path, APIPrefix)
	if !ok {
		return nil, false
	}
	v, err := Page(r, strings.TrimSuffix(endpoint, ".json"))
	if err != nil {
		return nil, false
	}
	b, err := json.Marshal(v)
	return b, err == nil
}

// CheckShape says what is wrong with a stored post, for audits.
func CheckShape(k, v []byte) error {
	p, err := store.Decode[Post](v)
	if err != nil {
		return err
	}
	if name, _, ok := keys.PostOf(k); !ok || name != keys.ServiceName(p.Network, p.Name) {
		return errors.New("the record is another name's")
	}
	return nil
}
