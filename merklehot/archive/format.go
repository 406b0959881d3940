// Package archive keeps a second, plain copy of what was signed: every root, every
// link and every leaf value, in text files of a day each, enough to rebuild the tree
// without the store.
//
// It follows the published roots, one block a root:
//
//	name <uid> <user name>                          a user who had no leaf before
//	link <uid> <seqno> <base64 of the record>       links new in this root, in order
//	reset <uid> <reset chain entry, JSON>           resets and deletions new in this root
//	leaf <id> <leaf JSON>                           leaf values new in this root
//	root <seqno> <base64 of the signature packet>   the root, with its payload
//	end <seqno> <sha256>                            over the hash of the block before and
//	                                                all bytes of this block up to here
//
// A file begins with "keystead-archive 1 <store id> <seqno and hash of the block before>",
// so the files form one chain; a changed, missing or reordered byte anywhere breaks it.
// A server begins a new file each day, at each start and after a failed write, and never
// touches an older one. It goes on from the last block that it knows to be on stable
// storage; what stands behind that block in an older file is what a crash left, which
// may be anything, and does not count, since the store has it still. A file whose first
// line was cut short does not count either.
//
// The archive is not part of what acknowledges a write. It is fsynced each time it
// has caught up. Blocks hold only public data: what any client may read.
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
	"github.com/keystead/keystead/merklehot/sigchain"
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
	magic      = "keystead-archive 1"
	fileSuffix = ".ksarchive"
)

// Block is what one root added.
type Block struct {
	Names  []Name
	Links  []Link
	Resets []*sigchain.ResetLink // each comes after the link that it names
	Leaves []Leaf
	Seqno  kbsig.Seqno
	Root   []byte // signature packet
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

// header is the first line of a file that goes on from at.
func header(at position) string {
	return fmt.Sprintf("%s %x %d %x\n", magic, at.store, at.seqno, at.hash)
}

func parseHeader(line string) (at position, err error) {
	rest, ok := strings.CutPrefix(line, magic+" ")
	parts := strings.Split(rest, " ")
	if !ok || len(parts) != 3 {
		return at, fmt.Errorf("header: %w", ErrDamaged)
	}
	store, err1 := hex.DecodeString(parts[0])
	seqno, err2 := strconv.ParseInt(parts[1], 10, 64)
	hash, err3 := hex.DecodeString(parts[2])
	if errors.Join(err1, err2, err3) != nil || len(store) != 16 || len(hash) != 32 {
		return at, fmt.Errorf("header: %w", ErrDamaged)
	}
	at = position{[16]byte(store), [32]byte(hash), kbsig.Seqno(seqno)}
	if header(at) != line+"\n" {
		return at, fmt.Errorf("header: %w", ErrDamaged)
	}
	return at, nil
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

func (b *Block) addLink(uid, rest string) error {
	u, err := kbsig.ParseUID(uid)
	if err != nil {
		return err
	}
	seqno, raw, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(seqno, 10, 64)
	if err != nil {
		return err
	}
	enc, err := base64.StdEncoding.DecodeString(raw)
	if err != nil {
		return err
	}
	rec, err := sigchain.DecodeRecord(enc)
	b.Links = append(b.Links, Link{u, kbsig.Seqno(n), rec})
	return err
}

// position is a place between two blocks.
type position struct {
	store [16]byte
	hash  [32]byte    // of the block before, zeros before the first
	seqno kbsig.Seqno // likewise
}
