// Package teams turns what users do with teams into one transaction each: links of one
// or several chains, visible or hidden, with the boxes, keys and leases that belong to
// them. It asks merklehot/teamchain and merklehot/hidden whether the links may stand,
// and writes the chains, the indexes over them, the boxes and masks of the teams' keys,
// the Merkle leaves and the news in the same batch, so that all of it happens or none.
//
// It promises:
//   - A link is appended only if the strictest stock client accepts it, and the keys
//     that come with it reach exactly those who are to have them, at their newest
//     per-user keys.
//   - A post costs what it changes. Only a rotation, and telling the members of a
//     change, costs their number.
//   - Names belong to the first who takes them. A root team's is never a user's, and
//     nobody else's when the team is deleted; a subteam gives its own up with another
//     name or its end.
//   - Posting again what stands already succeeds and changes nothing.
//
// Links are parsed and their signatures verified before the transaction; inside it only
// state is compared. Other rooms that follow what happens to teams register with OnPost
// and work in the same transaction.
//
// It writes the key families 0c, 0s, 0m, 0n, 0t, 0r, 0l, 0u and 0g of engine/keys.
// client: go/teams/teams.go, go/teams/create.go, go/teams/loader2.go
package teams

import (
	"errors"
	"io"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// Limits of a post.
const (
	// PostLinksMax bounds the links of one request, in all chains.
	PostLinksMax = 64
	// DepthMax bounds how deep subteams nest, the root not counted.
	DepthMax = 40
)

// Errors of questions about teams.
var (
	// ErrNoTeam reports an id or a name that no team has.
	ErrNoTeam = errors.New("no such team")
	// ErrCorrupt reports records that do not fit together.
	ErrCorrupt = errors.New("the records of a team do not fit together")
)

// Service runs the actions. It is safe for concurrent use.
type Service struct {
	store  *store.Store
	id     *identity.Service
	rand   io.Reader
	onPost []func(tx *store.Tx, f PostFact) error
}

// New returns the service over a store that the sequencer seals.
func New(st *store.Store, id *identity.Service, rand io.Reader) *Service {
	id.RefuseNames(NameTaken)
	return &Service{store: st, id: id, rand: rand}
}

// Item is one link of a post: visible or hidden.
type Item struct {
	Visible *teamchain.Link
	Hidden  *hidden.Link
}

// Post is what one request appends to the chains of teams, and what belongs to it.
// client: go/teams/teams.go:Team.sigPayload
type Post struct {
	Items []Item // in the order of the request
	// Keys are boxes of the key of the team whose members the links change, whose key
	// they rotate, or that they make; nil: there are none.
	Keys *kbsig.TeamBoxes
	// ImplicitKeys are boxes of the keys of subteams, for new admins.
	ImplicitKeys map[kbsig.TeamID]*kbsig.TeamBoxes
	Lease        *identity.LeaseID
	Blindings    []hidden.Blinding
	TeamEK       *TeamEKPost
	TeamEKRebox  *TeamEKPost // without a statement
	LegacyTLF    *LegacyTLF
	// Permanent says whether somebody who goes may not come back by request; nil: the
	// request does not say.
	Permanent      *bool
	EmailInviteMsg string
}

// TeamEKPost is a new ephemeral key of a team with its boxes, or further boxes of the
// newest one. client: go/teams/teams.go:Team.sigPayload, go/ephemeral/team_ek.go
type TeamEKPost struct {
	Team  kbsig.TeamID
	Sig   string // the statement as received; empty with further boxes
	Boxes []TeamEKBox
}

// TeamEKBox is a team's ephemeral seed for one user's ephemeral key.
// client: go/protocol/keybase1/ephemeral.go:TeamEkBoxMetadata
type TeamEKBox struct {
	Box        string
	Generation int64 // of the user's ephemeral key
	User       kbsig.UID
}

// LegacyTLF are old keys of a folder that a link adopts.
// client: go/protocol/keybase1/teams.go:TeamGetLegacyTLFUpgrade
type LegacyTLF struct {
	EncryptedKeyset  string `codec:"k"`
	TeamGeneration   int64  `codec:"t"`
	LegacyGeneration int64  `codec:"l"`
	AppType          int    `codec:"a"`
}

// PostFact is what is known of a post inside its transaction, after all of it has been
// written.
type PostFact struct {
	By kbsig.UserVersion
	// Before and After are the teams whose visible chains grew; one that was made has no
	// Before.
	Before, After map[kbsig.TeamID]*teamchain.State
	Links         []*teamchain.Link
	Hidden        []*hidden.Link
	Post          *Post
}

// OnPost registers what else has to happen in the transaction of each post. An error
// refuses the post. It is called before the service is used.
func (s *Service) OnPost(fn func(tx *store.Tx, f PostFact) error) { s.onPost = append(s.onPost, fn) }
