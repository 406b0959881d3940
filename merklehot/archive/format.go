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
// byte anywhere breaks it. Files of layout 1 know nothing of teams but their leaves. What
// their blocks lack comes before the first block after them, which all later headers name;
// where there are none, that is block 0. It comes in parts of partBytesMax, each of lines
// of teams as they stood in the root before, and each whole by itself:
//
//	part <seqno> <sha256>                           over what an end is over
//
// A file that goes on from a part says in its header how far the parts have come:
// <"team" or "hidden"> <team> <seqno>, the last link of the last part. Earlier builds wrote
// all that was lacking into that first block itself, which is read as well.
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
	"hash"
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
	Root   []byte // signature packet; none in a part
	// Part says that the block is no root's: it brings what blocks before it lack of teams,
	// and Seqno is the root that comes after all parts.
	Part bool
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
	if !b.Part {
		fmt.Fprintf(&out, "root %d %s\n", b.Seqno, base64.StdEncoding.EncodeToString(b.Root))
	}
	return out.Bytes()
}

// last is the link that a part ends with.
func (b *Block) last() (cursor, error) {
	others := len(b.Names) + len(b.Links) + len(b.Resets) + len(b.Leaves) + len(b.Root)
	switch {
	case others > 0:
	case len(b.Hidden) > 0:
		l := b.Hidden[len(b.Hidden)-1]
		return cursor{"hidden", l.Team, l.Seqno}, nil
	case len(b.Team) > 0:
		l := b.Team[len(b.Team)-1]
		return cursor{"team", l.Team, l.Seqno}, nil
	}
	return cursor{}, errors.New("a part is more or less than links of teams")
}

// sealing begins the hash that ends a block; its lines are to be written to it.
func sealing(before [32]byte) hash.Hash {
	h := sha256.New()
	h.Write(before[:])
	return h
}

// seal is the hash that ends a block.
func seal(before [32]byte, lines []byte) [32]byte {
	h := sealing(before)
	h.Write(lines)
	return [32]byte(h.Sum(nil))
}

// endLine is the last line of a block.
func (b *Block) endLine(hash [32]byte) string {
	if b.Part {
		return fmt.Sprintf("part %d %x\n", b.Seqno, hash)
	}
	return fmt.Sprintf("end %d %x\n", b.Seqno, hash)
}

// header is the first line of a file that goes on from at; teams is the first block that
// has all of teams.
func header(at position, teams kbsig.Seqno) string {
	line := fmt.Sprintf("%s %x %d %x %d", magic, at.store, at.seqno, at.hash, teams)
	if at.told != (cursor{}) {
		line += fmt.Sprintf(" %s %s %d", at.told.kind, at.told.team, at.told.seqno)
	}
	return line + "\n"
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
	told, ok := cursor{}, len(parts) == 4
	if len(parts) == 7 && !old {
		told, ok = parseCursor(parts[4:])
	}
	if !ok {
		return bad()
	}
	id, err1 := hex.DecodeString(parts[0])
	seqno, err2 := strconv.ParseInt(parts[1], 10, 64)
	hash, err3 := hex.DecodeString(parts[2])
	from, err4 := strconv.ParseInt(parts[3], 10, 64)
	if errors.Join(err1, err2, err3, err4) != nil || len(id) != 16 || len(hash) != 32 {
		return bad()
	}
	at = position{store: [16]byte(id), hash: [32]byte(hash), seqno: kbsig.Seqno(seqno), told: told}
	teams = kbsig.Seqno(from)
	again := header(at, teams)
	if old {
		again = fmt.Sprintf("%s %x %d %x\n", magicOld, at.store, at.seqno, at.hash)
	}
	if again != line+"\n" || !old && teams < 0 || told != (cursor{}) && teams != at.seqno+1 {
		return bad()
	}
	return at, teams, nil
}

func parseCursor(parts []string) (cursor, bool) {
	t, err1 := kbsig.ParseTeamID(parts[1])
	n, err2 := strconv.ParseInt(parts[2], 10, 64)
	return cursor{parts[0], t, kbsig.Seqno(n)}, (parts[0] == "team" || parts[0] == "hidden") && errors.Join(err1, err2) == nil
}

// add reads one line of a block into it; end is what its last line says.
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
	case "part":
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return nil, err
		}
		b.Part, b.Seqno = true, kbsig.Seqno(n)
		return b.addEnd(first, second)
	case "end":
		return b.addEnd(first, second)
	}
	return nil, fmt.Errorf("line of an unknown kind %.16q", kind)
}

func (b *Block) addEnd(seqno, hash string) (*[32]byte, error) {
	h, err := hex.DecodeString(hash)
	if err != nil || len(h) != 32 || !strings.HasSuffix(b.endLine([32]byte(h)), " "+seqno+" "+hash+"\n") {
		return nil, errors.New("end of another block")
	}
	return (*[32]byte)(h), nil
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

// teamNumbered reads the team, the number and the bytes of a link.
func teamNumbered(team, rest string) (t kbsig.TeamID, n kbsig.Seqno, record []byte, err error) {
	if t, err = kbsig.ParseTeamID(team); err == nil {
		n, record, err = numbered(rest)
	}
	return t, n, record, err
}

func (b *Block) addTeam(team, rest string) error {
	t, n, enc, err := teamNumbered(team, rest)
	if err != nil {
		return err
	}
	rec, err := teamchain.DecodeRecord(enc)
	b.Team = append(b.Team, TeamLink{t, n, rec})
	return err
}

func (b *Block) addHidden(team, rest string) error {
	t, n, enc, err := teamNumbered(team, rest)
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
	seqno kbsig.Seqno // of the root before, likewise
	told  cursor      // where the block before is a part, its last link
}

// after is the place behind a block that stands at a place.
func (at position) after(b *Block, hash [32]byte) (position, error) {
	at.hash = hash
	if !b.Part {
		at.seqno, at.told = b.Seqno, cursor{}
		return at, nil
	}
	told, err := b.last()
	if err == nil && at.seqno == 0 {
		err = errors.New("there is no root before it")
	}
	at.told = told
	return at, err
}

// cursor is a link of a team in the order in which parts bring them: all visible ones,
// team by team, and then the hidden ones.
type cursor struct {
	kind  string // "team" or "hidden"; empty before the first
	team  kbsig.TeamID
	seqno kbsig.Seqno
}
