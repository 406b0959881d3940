// Package archive keeps a second, plain copy of what was signed: every root, every
// link and every leaf value, in text files of a day each, enough to rebuild the tree
// without the store.
//
// It follows the published roots, one block a root:
//
//	name <uid> <user name>                          a user who had no leaf before
//	link <uid> <seqno> <base64 of the record>       links new in this root, in order
//	leaf <id> <leaf JSON>                           leaf values new in this root
//	root <seqno> <base64 of the signature packet>   the root, with its payload
//	end <seqno> <sha256>                            over the hash of the block before and
//	                                                all bytes of this block up to here
//
// A file begins with "keystead-archive 1 <store id> <hash of the block before>", so
// the files form one chain; a changed, missing or reordered byte anywhere breaks it.
// A server begins a new file each day and at each start, and never touches an older
// one. What follows the last whole block of a file is what a crash left, which may be
// anything, and does not count: the next file continues at that block, since the store
// has the rest still.
//
// The archive is not part of what acknowledges a write. It is fsynced each time it
// has caught up. Blocks hold only public data: what any client may read.
package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

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

func header(store [16]byte, before [32]byte) string {
	return fmt.Sprintf("%s %x %x\n", magic, store, before)
}

func parseHeader(line string) (store [16]byte, before [32]byte, err error) {
	rest, ok := strings.CutPrefix(line, magic+" ")
	id, hash, ok2 := strings.Cut(rest, " ")
	b1, err1 := hex.DecodeString(id)
	b2, err2 := hex.DecodeString(hash)
	if !ok || !ok2 || err1 != nil || err2 != nil || len(b1) != 16 || len(b2) != 32 {
		return store, before, fmt.Errorf("header: %w", ErrDamaged)
	}
	return [16]byte(b1), [32]byte(b2), nil
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

// files lists the archive's files, oldest first.
func files(fs vfs.FS, dir string) ([]string, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list the archive: %w", err)
	}
	var out []string
	for _, n := range names {
		if strings.HasSuffix(n, fileSuffix) {
			out = append(out, filepath.Join(dir, n))
		}
	}
	slices.Sort(out)
	return out, nil
}

// position is where an archive ends.
type position struct {
	store [16]byte
	hash  [32]byte // of the last whole block
	seqno kbsig.Seqno
}

// damaged makes the error for a line that does not hold.
func damaged(path string, line int, format string, args ...any) error {
	return fmt.Errorf("%s line %d: %s: %w", filepath.Base(path), line, fmt.Sprintf(format, args...), ErrDamaged)
}

// ending is how the reading of one file ended.
type ending struct {
	at position // behind the last block that holds
	// follows says that the file begins where the one before ended.
	follows bool
	// torn says why the rest of the file does not count, if it has a rest that is more
	// than a block that was begun and not finished.
	torn error
}

// readFile reads the blocks of one file, which is to continue at.
func readFile(fs vfs.FS, path string, at position, fn func(*Block) error) (ending, error) {
	e := ending{at: at}
	f, err := fs.Open(path)
	if err != nil {
		return e, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, lineBytesMax)
	block, lines := &Block{}, []byte(nil)
	for n := 1; ; n++ {
		raw, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return e, nil
		case errors.Is(err, bufio.ErrBufferFull):
			e.torn = damaged(path, n, "it has no end")
			return e, nil
		case err != nil:
			return e, fmt.Errorf("read %s: %w", path, err)
		}
		line := string(raw[:len(raw)-1])
		if n == 1 {
			store, before, err := parseHeader(line)
			if err != nil || before != at.hash || (at.store != [16]byte{} && store != at.store) {
				e.torn = damaged(path, n, "it does not follow the file before it")
				return e, nil
			}
			e.at.store, e.follows = store, true
			continue
		}
		hash, err := block.add(line)
		if err != nil {
			e.torn = damaged(path, n, "%v", err)
			return e, nil
		}
		if hash == nil {
			lines = append(lines, raw...)
			continue
		}
		if *hash != seal(e.at.hash, lines) || (e.at.seqno != 0 && block.Seqno != e.at.seqno+1) {
			e.torn = damaged(path, n, "block %d does not have its hash or number", block.Seqno)
			return e, nil
		}
		if err := fn(block); err != nil {
			return e, fmt.Errorf("block %d: %w", block.Seqno, err)
		}
		e.at.hash, e.at.seqno = *hash, block.Seqno
		block, lines = &Block{}, nil
	}
}

// Read calls fn for every block of the archive in dir, oldest first, checking the
// chain of hashes from its first byte. What a power cut left behind the last whole
// block of a file may be anything: it is skipped if a later file goes on from that
// block, and is ErrDamaged if none does.
func Read(fs vfs.FS, dir string, fn func(*Block) error) (store [16]byte, err error) {
	paths, err := files(fs, dir)
	if err != nil {
		return store, err
	}
	var at position
	var left error // what nothing has gone on from yet
	for _, p := range paths {
		e, err := readFile(fs, p, at, fn)
		if err != nil {
			return at.store, err
		}
		if e.follows || left == nil {
			left = e.torn
		}
		at = e.at
	}
	return at.store, left
}
