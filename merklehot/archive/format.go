// Package archive keeps a second, plain copy of what was signed: every root, every
// link and every leaf value, in text files of a day each, enough to rebuild the tree
// without the store.
//
// It follows the published roots, one block a root:
//
//	name <uid> <user name>                          a user who had no leaf before
//	link <uid> <seqno> <base64 of the record>       links new in this root, in order
//	reset <uid> <reset chain entry, JSON>           resets and deletions new in this root
//	team <team> <seqno> <base64 of the record>      visible links of teams, likewise
//	hidden <team> <seqno> <base64 of the record>    hidden links that this root commits to
//	blind <team> <seqno> <link> <secret>            what the blind tree says anew of a team
//	leaf <id> <leaf JSON>                           leaf values new in this root
//	root <seqno> <base64 of the signature packet>   the root, with its payload
//	end <seqno> <sha256>                            over the hash of the block before and
//	                                                all bytes of this block up to here
//
// A file begins with "keystead-archive 2 <store id> <seqno and hash of the block before>
// <first block with teams>", so the files form one chain; a changed, missing or reordered
// byte anywhere breaks it. Files of layout 1 know nothing of teams but their leaves. The
// first block after them, which all later headers name, brings all that their blocks lack
// of teams; where there are none, that is block 0.
// A server begins a new file each day, at each start and after a failed write, and never
// touches an older one. It goes on from the last block that it knows to be on stable
// storage; what stands behind that block in an older file is what a crash left, which
// may be anything, and does not count, since the store has it still. A file whose first
// line was cut short does not count either.
//
// The archive is not part of what acknowledges a write. It is fsynced each time it
// has caught up. It holds no secrets of users, but what only members may read of their
// teams: it is to be kept like the store.
package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/blindtree"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/tree"
)

// lineBytesMax bounds a line: a link's record is two times 128 KiB at most, in base64.
const lineBytesMax = 1 << 20

// Errors of the archive.
var (
	// ErrDamaged says that the files are not what was written.
	ErrDamaged = errors.New("the archive is damaged")
	// ErrForeign says that the archive belongs to another store, or to a store that
	// has forgotten what the archive holds.
	ErrForeign = errors.New("the archive does not belong to this store")
)

const (
	magicOld   = "keystead-archive 1" // without teams
	magic      = "keystead-archive 2"
	fileSuffix = ".ksarchive"
)

// Block is what one root added.
type Block struct {
	Names  []Name
	Links  []Link
	Resets []*sigchain.ResetLink // each comes after the link that it names
	Team   []TeamLink
	Hidden []HiddenLink
	Blind  []blindtree.Committed
	Leaves []Leaf
	Seqno  kbsig.Seqno
	Root   []byte // signature packet
	// Teams says that the block has all of teams: that of its root or, in the first one
	// after blocks without, of all roots up to it.
	Teams bool
}

// Name is a user's first appearance.
type Name struct {
	UID  kbsig.UID
	Name kbsig.Username
}

// Link is one link as it was received.
type Link struct {
	UID    kbsig.UID
	Seqno  kbsig.Seqno
	Record sigchain.Record
}

// TeamLink is one visible link of a team as it was received.
type TeamLink struct {
	Team   kbsig.TeamID
	Seqno  kbsig.Seqno
	Record teamchain.Record
}

// HiddenLink is one hidden link of a team as it was received.
type HiddenLink struct {
	Team   kbsig.TeamID
	Seqno  kbsig.Seqno
	Record hidden.Record
}

// Leaf is a new value of a leaf.
type Leaf struct {
	ID   tree.ID
	JSON []byte
}

// encode writes the lines of a block up to its hash.
func (b *Block) encode() []byte {
	var out bytes.Buffer
	for _, n := range b.Names {
		fmt.Fprintf(&out, "name %s %s\n", n.UID, n.Name)
	}
	for _, l := range b.Links {
		fmt.Fprintf(&out, "link %s %d %s\n", l.UID, l.Seqno, base64.StdEncoding.EncodeToString(l.Record.Encode()))
	}
	for _, l := range b.Resets {
		fmt.Fprintf(&out, "reset %s %s\n", l.UID, l.JSON())
	}
	for _, l := range b.Team {
		fmt.Fprintf(&out, "team %s %d %s\n", l.Team, l.Seqno, base64.StdEncoding.EncodeToString(l.Record.Encode()))
	}
	for _, l := range b.Hidden {
		fmt.Fprintf(&out, "hidden %s %d %s\n", l.Team, l.Seqno, base64.StdEncoding.EncodeToString(store.Encode(l.Record)))
	}
	for _, c := range b.Blind {
		fmt.Fprintf(&out, "blind %x %d %x %x\n", c.Team[:], c.Tail.Seqno, c.Tail.Link[:], c.Secret[:])
	}
	for _, l := range b.Leaves {
		fmt.Fprintf(&out, "leaf %x %s\n", l.ID[:], l.JSON)
	}
	fmt.Fprintf(&out, "root %d %s\n", b.Seqno, base64.StdEncoding.EncodeToString(b.Root))
	return out.Bytes()
}

// seal is the hash that ends a block.
func seal(before [32]byte, lines []byte) [32]byte {
	h := sha256.New()
	h.Write(before[:])
	h.Write(lines)
	return [32]byte(h.Sum(nil))
}

func endLine(n kbsig.Seqno, hash [32]byte) string { return fmt.Sprintf("end %d %x\n", n, hash) }

// header is the first line of a file that goes on from at; teams is the first block that
// has all of teams.
func header(at position, teams kbsig.Seqno) string {
	return fmt.Sprintf("%s %x %d %x %d\n", magic, at.store, at.seqno, at.hash, teams)
}

// noTeams stands for the first block with teams where no block has them.
const noTeams = kbsig.Seqno(-1)

func parseHeader(line string) (at position, teams kbsig.Seqno, err error) {
	bad := func() (position, kbsig.Seqno, error) { return position{}, 0, fmt.Errorf("header: %w", ErrDamaged) }
	old := strings.HasPrefix(line, magicOld+" ")
	if !old && !strings.HasPrefix(line, magic+" ") {
		return bad()
	}
	parts := strings.Split(line[len(magic)+1:], " ")
	if old {
		parts = append(parts, strconv.FormatInt(int64(noTeams), 10))
	}
	if len(parts) != 4 {
		return bad()
	}
	id, err1 := hex.DecodeString(parts[0])
	seqno, err2 := strconv.ParseInt(parts[1], 10, 64)
	hash, err3 := hex.DecodeString(parts[2])
	from, err4 := strconv.ParseInt(parts[3], 10, 64)
	if errors.Join(err1, err2, err3, err4) != nil || len(id) != 16 || len(hash) != 32 {
		return bad()
	}
	at, teams = position{[16]byte(id), [32]byte(hash), kbsig.Seqno(seqno)}, kbsig.Seqno(from)
	again := header(at, teams)
	if old {
		again = fmt.Sprintf("%s %x %d %x\n", magicOld, at.store, at.seqno, at.hash)
	}
	if again != line+"\n" || !old && teams < 0 {
		return bad()
	}
	return at, teams, nil
}

// add reads one line of a block into it; done reports its end line.
func (b *Block) add(line string) (end *[32]byte, err error) {
	kind, rest, _ := strings.Cut(line, " ")
	first, second, _ := strings.Cut(rest, " ")
	switch kind {
	case "name":
		u, err := kbsig.ParseUID(first)
		if err != nil {
			return nil, err
		}
		n, err := kbsig.ParseUsername(second)
		b.Names = append(b.Names, Name{u, n})
		return nil, err
	case "link":
		return nil, b.addLink(first, second)
	case "reset":
		l, err := sigchain.ParseResetLink([]byte(second))
		if err != nil {
			return nil, err
		}
		if l.UID.String() != first {
			return nil, errors.New("reset of another user")
		}
		b.Resets = append(b.Resets, l)
		return nil, nil
	case "team":
		return nil, b.addTeam(first, second)
	case "hidden":
		return nil, b.addHidden(first, second)
	case "blind":
		return nil, b.addBlind(first, second)
	case "leaf":
		id, err := hex.DecodeString(first)
		if err != nil || len(id) != len(tree.ID{}) {
			return nil, errors.New("leaf without its id")
		}
		b.Leaves = append(b.Leaves, Leaf{tree.ID(id), []byte(second)})
		return nil, nil
	case "root":
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return nil, err
		}
		b.Seqno = kbsig.Seqno(n)
		b.Root, err = base64.StdEncoding.DecodeString(second)
		return nil, err
	case "end":
		h, err := hex.DecodeString(second)
		if err != nil || len(h) != 32 || first != strconv.FormatInt(int64(b.Seqno), 10) {
			return nil, errors.New("end of another block")
		}
		hash := [32]byte(h)
		return &hash, nil
	}
	return nil, fmt.Errorf("line of an unknown kind %.16q", kind)
}

// numbered reads the number and the bytes of a link.
func numbered(rest string) (n kbsig.Seqno, record []byte, err error) {
	seqno, raw, _ := strings.Cut(rest, " ")
	i, err := strconv.ParseInt(seqno, 10, 64)
	if err != nil {
		return 0, nil, err
	}
	record, err = base64.StdEncoding.DecodeString(raw)
	return kbsig.Seqno(i), record, err
}

func (b *Block) addLink(uid, rest string) error {
	u, err := kbsig.ParseUID(uid)
	if err != nil {
		return err
	}
	n, enc, err := numbered(rest)
	if err != nil {
		return err
	}
	rec, err := sigchain.DecodeRecord(enc)
	b.Links = append(b.Links, Link{u, n, rec})
	return err
}

func (b *Block) addTeam(team, rest string) error {
	t, err := kbsig.ParseTeamID(team)
	if err != nil {
		return err
	}
	n, enc, err := numbered(rest)
	if err != nil {
		return err
	}
	rec, err := teamchain.DecodeRecord(enc)
	b.Team = append(b.Team, TeamLink{t, n, rec})
	return err
}

func (b *Block) addHidden(team, rest string) error {
	t, err := kbsig.ParseTeamID(team)
	if err != nil {
		return err
	}
	n, enc, err := numbered(rest)
	if err != nil {
		return err
	}
	rec, err := store.Decode[hidden.Record](enc)
	b.Hidden = append(b.Hidden, HiddenLink{t, n, rec})
	return err
}

func (b *Block) addBlind(team, rest string) error {
	t, err := kbsig.ParseTeamID(team)
	if err != nil {
		return err
	}
	parts := strings.Split(rest, " ")
	if len(parts) != 3 {
		return errors.New("it has not three parts")
	}
	n, err1 := strconv.ParseInt(parts[0], 10, 64)
	link, err2 := hex.DecodeString(parts[1])
	secret, err3 := hex.DecodeString(parts[2])
	if err := errors.Join(err1, err2, err3); err != nil || len(link) != 32 || len(secret) != 32 {
		return fmt.Errorf("a tail or secret that is none: %w", err)
	}
	b.Blind = append(b.Blind, blindtree.Committed{
		Team: blindtree.Key(t), Tail: blindtree.Tail{Seqno: kbsig.Seqno(n), Link: kbsig.LinkID(link)}, Secret: blindtree.Sum(secret),
	})
	return nil
}

// position is a place between two blocks.
type position struct {
	store [16]byte
	hash  [32]byte    // of the block before, zeros before the first
	seqno kbsig.Seqno // likewise
}
