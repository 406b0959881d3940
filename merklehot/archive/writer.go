package archive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/tree"
)

// Writer follows a store's roots. It is used by one goroutine.
type Writer struct {
	fs   vfs.FS
	dir  string
	at   position
	file vfs.File
	path string // of file
}

// Open opens the archive in dir, making the folder if there is none. It checks the
// whole chain of the last file and cuts off what a crash left of a block. The error
// is ErrDamaged or ErrForeign if the archive cannot be continued.
func Open(fs vfs.FS, dir string, storeID [16]byte) (*Writer, error) {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the archive: %w", err)
	}
	w := &Writer{fs: fs, dir: dir}
	paths, err := files(fs, dir)
	if err != nil {
		return nil, err
	}
	for i, p := range paths {
		if w.at, err = readFile(fs, p, w.at, i == len(paths)-1, func(*Block) error { return nil }); err != nil {
			return nil, err
		}
		w.path = p
	}
	if len(paths) > 0 && w.at.size > 0 && w.at.store != storeID {
		return nil, fmt.Errorf("%s: %w", dir, ErrForeign)
	}
	w.at.store = storeID
	return w, nil
}

// Seqno is the last root that is in the archive, 0 if it is empty.
func (w *Writer) Seqno() kbsig.Seqno { return w.at.seqno }

// Follow appends every published root that is not in the archive yet and fsyncs.
func (w *Writer) Follow(ctx context.Context, v *store.View, now time.Time) error {
	st := roots.StateOf(v)
	newest := st.Root().Seqno
	next := max(w.at.seqno+1, st.First())
	if w.at.seqno > newest {
		return fmt.Errorf("the archive holds root %d, the store's newest is %d: %w", w.at.seqno, newest, ErrForeign)
	}
	if next > newest {
		return nil
	}
	if err := w.openFile(now); err != nil {
		return err
	}
	for ; next <= newest; next++ {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, w.file.SyncData())
		}
		b, err := collect(v, st, next)
		if err != nil {
			return fmt.Errorf("archive root %d: %w", next, err)
		}
		if err := w.append(b); err != nil {
			return err
		}
	}
	return w.file.SyncData()
}

func (w *Writer) append(b *Block) error {
	lines := b.encode()
	hash := seal(w.at.hash, lines)
	out := append(lines, endLine(b.Seqno, hash)...)
	size := int64(len(out)) // Write may change the slice
	if _, err := w.file.Write(out); err != nil {
		return fmt.Errorf("append to the archive: %w", err)
	}
	w.at.hash, w.at.seqno = hash, b.Seqno
	w.at.size += size
	return nil
}

// openFile opens today's file, continuing it or beginning it.
func (w *Writer) openFile(now time.Time) error {
	path := filepath.Join(w.dir, now.UTC().Format("2006-01-02")+fileSuffix)
	// A clock that went back must not put blocks into an older file.
	path = max(path, w.path)
	if w.file != nil && path == w.path {
		return nil
	}
	if err := w.Close(); err != nil {
		return err
	}
	if path == w.path && w.at.size > 0 {
		return w.resume(path)
	}
	f, err := w.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("begin an archive file: %w", err)
	}
	head := header(w.at.store, w.at.hash)
	if _, err := f.Write([]byte(head)); err != nil {
		return errors.Join(fmt.Errorf("begin an archive file: %w", err), f.Close())
	}
	w.file, w.path, w.at.size = f, path, int64(len(head))
	return errors.Join(f.Sync(), w.syncDir())
}

// resume continues a file behind its last whole block: the whole blocks are copied
// into a new file that takes its place, because the file system interface of tests
// cannot truncate, and a day's file is small.
func (w *Writer) resume(path string) error {
	old, err := w.fs.Open(path)
	if err != nil {
		return fmt.Errorf("continue the archive: %w", err)
	}
	defer old.Close()
	f, err := w.fs.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("continue the archive: %w", err)
	}
	buf := make([]byte, 1<<20)
	for off := int64(0); off < w.at.size; {
		n, err := old.ReadAt(buf[:min(int64(len(buf)), w.at.size-off)], off)
		if n == 0 {
			return errors.Join(fmt.Errorf("continue the archive: %w", err), f.Close())
		}
		if _, err := f.Write(buf[:n]); err != nil {
			return errors.Join(fmt.Errorf("continue the archive: %w", err), f.Close())
		}
		off += int64(n)
	}
	if err := errors.Join(f.Sync(), w.fs.Rename(path+".new", path), w.syncDir()); err != nil {
		return errors.Join(fmt.Errorf("continue the archive: %w", err), f.Close())
	}
	w.file, w.path = f, path
	return nil
}

func (w *Writer) syncDir() error {
	d, err := w.fs.OpenDir(w.dir)
	if err != nil {
		return fmt.Errorf("fsync the archive's folder: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the file that is open.
func (w *Writer) Close() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return f.Close()
}

// collect gathers what root n added.
func collect(v *store.View, st *roots.State, n kbsig.Seqno) (*Block, error) {
	root, err := st.RootAt(v, n)
	if err != nil {
		return nil, err
	}
	b := &Block{Seqno: n, Root: kbsig.EncodeSignature(root.KID, []byte(root.Payload), root.Sig)}
	ids, err := roots.Changes(v, n)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := b.collectLeaf(v, st, n, id); err != nil {
			return nil, fmt.Errorf("leaf %x: %w", id[:], err)
		}
	}
	return b, nil
}

func (b *Block) collectLeaf(v *store.View, st *roots.State, n kbsig.Seqno, id tree.ID) error {
	now, err := leafAt(v, st, id, n)
	if err != nil || now == nil {
		return errors.Join(err, errIf(now == nil, "it has no value"))
	}
	before, err := leafAt(v, st, id, n-1)
	if err != nil {
		return err
	}
	b.Leaves = append(b.Leaves, Leaf{id, now})
	uid, err := kbsig.ParseUID(fmt.Sprintf("%x", id[:]))
	if err != nil {
		return nil // a team's leaf; team chains have their own records
	}
	from, to := kbsig.Seqno(0), kbsig.Seqno(0)
	if before == nil {
		name, err := nameOf(v, uid)
		if err != nil {
			return err
		}
		b.Names = append(b.Names, Name{uid, name})
	} else if from, err = tailOf(before); err != nil {
		return err
	}
	if to, err = tailOf(now); err != nil {
		return err
	}
	for s := from + 1; s <= to; s++ {
		raw, err := v.Get(keys.Link(uid, s))
		if err != nil {
			return fmt.Errorf("link %d: %w", s, err)
		}
		rec, err := sigchain.DecodeRecord(raw)
		if err != nil {
			return fmt.Errorf("link %d: %w", s, err)
		}
		b.Links = append(b.Links, Link{uid, s, rec})
	}
	return nil
}

func errIf(bad bool, what string) error {
	if bad {
		return errors.New(what)
	}
	return nil
}

func leafAt(v *store.View, st *roots.State, id tree.ID, n kbsig.Seqno) ([]byte, error) {
	value, err := st.LeafAt(v, id, n)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return value, err
}

func tailOf(leaf []byte) (kbsig.Seqno, error) {
	v, err := tree.ParseLeaf(leaf)
	return v.Public.Seqno, err
}

// nameOf reads a user's name out of the chain state, which every user has.
func nameOf(v *store.View, u kbsig.UID) (kbsig.Username, error) {
	b, err := v.Get(keys.Chain(u))
	if err != nil {
		return "", fmt.Errorf("chain state: %w", err)
	}
	st, err := sigchain.DecodeState(b)
	if err != nil {
		return "", err
	}
	return st.Username, nil
}
