package archive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/tree"
)

// unsyncedBytesMax bounds the blocks that are written without a sync, but for the last.
const unsyncedBytesMax = 1 << 20

// partBytesMax bounds what one part brings of what an archive lacks of teams, but for its
// last link.
const partBytesMax = 1 << 20

// Writer follows a store's roots. It is used by one goroutine.
type Writer struct {
	fs    vfs.FS
	dir   string
	store [16]byte
	at    position
	file  vfs.File
	day   string      // of file
	path  string      // of the newest file
	teams kbsig.Seqno // the first block with all of teams; it may be the next one
	// synced is where the archive ended at the last sync, and unsynced how many bytes
	// have been written since.
	synced   position
	unsynced int
	// partBytes is partBytesMax, but in tests.
	partBytes int
}

// Open finds the end of the archive in dir, making the folder if there is none. Only
// the last blocks are read: checking everything is Read's. The error is ErrForeign if
// the archive is another store's.
func Open(fs vfs.FS, dir string, storeID [16]byte) (*Writer, error) {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the archive: %w", err)
	}
	w := &Writer{fs: fs, dir: dir, store: storeID, partBytes: partBytesMax}
	if err := w.find(); err != nil {
		return nil, err
	}
	return w, nil
}

// find looks where the archive ends.
func (w *Writer) find() error {
	paths, err := files(w.fs, w.dir)
	if err != nil {
		return err
	}
	if w.at, w.teams, err = end(w.fs, paths); err != nil {
		return err
	}
	switch {
	case w.at.seqno == 0:
		w.teams = 0
	case w.teams == noTeams || w.teams > w.at.seqno+1:
		w.teams = w.at.seqno + 1
	}
	if len(paths) > 0 {
		w.path = paths[len(paths)-1]
	}
	if w.at != (position{}) && w.at.store != w.store {
		return fmt.Errorf("%s: %w", w.dir, ErrForeign)
	}
	w.at.store = w.store
	w.synced = w.at
	return nil
}

// Seqno is the last root that is in the archive, 0 if it is empty.
func (w *Writer) Seqno() kbsig.Seqno { return w.at.seqno }

// Follow appends every published root that is not in the archive yet and fsyncs. After
// an error nobody knows what the file holds: the next call begins another, which goes on
// from what was synced before.
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
	err := w.openFile(now)
	if err == nil {
		err = w.appendAll(ctx, v, next)
		if err == nil || err == ctx.Err() {
			synced := w.sync()
			if synced == nil {
				return err
			}
			err = synced
		}
	}
	w.at = w.synced
	return errors.Join(err, w.Close())
}

func (w *Writer) appendAll(ctx context.Context, v *store.View, next kbsig.Seqno) error {
	st := roots.StateOf(v)
	if next == w.teams && w.at.seqno > 0 {
		if err := w.catchUp(ctx, v, st); err != nil {
			return err
		}
	}
	for ; next <= st.Root().Seqno; next++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := collect(v, st, next)
		if err != nil {
			return fmt.Errorf("archive root %d: %w", next, err)
		}
		if err := w.append(b); err != nil {
			return err
		}
	}
	return nil
}

// catchUp appends what all blocks so far lack of teams, in parts that are each synced; it
// goes on after the last part that is there.
func (w *Writer) catchUp(ctx context.Context, v *store.View, st *roots.State) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := collectPart(v, st, w.at.seqno, w.at.told, w.partBytes)
		if err != nil {
			return fmt.Errorf("archive teams of root %d: %w", w.at.seqno, err)
		}
		if len(b.Team)+len(b.Hidden) == 0 {
			return nil
		}
		if err := errors.Join(w.append(b), w.sync()); err != nil {
			return err
		}
	}
}

func (w *Writer) sync() error {
	if err := w.file.SyncData(); err != nil {
		return fmt.Errorf("fsync the archive: %w", err)
	}
	w.synced, w.unsynced = w.at, 0
	return nil
}

func (w *Writer) append(b *Block) error {
	lines := b.encode()
	hash := seal(w.at.hash, lines)
	next, err := w.at.after(b, hash)
	if err != nil {
		return fmt.Errorf("append block %d to the archive: %w", b.Seqno, err)
	}
	out := append(lines, b.endLine(hash)...)
	if _, err := w.file.Write(out); err != nil {
		return fmt.Errorf("append to the archive: %w", err)
	}
	w.at = next
	if w.unsynced += len(out); w.unsynced >= unsyncedBytesMax {
		return w.sync()
	}
	return nil
}

// openFile begins a file, unless today's is open already.
func (w *Writer) openFile(now time.Time) error {
	day := now.UTC().Format("2006-01-02")
	if w.file != nil && day <= w.day {
		return nil
	}
	if err := w.Close(); err != nil {
		return err
	}
	path := filepath.Join(w.dir, fmt.Sprintf("%s.%012d%s", day, w.at.seqno, fileSuffix))
	if path <= w.path {
		// A clock that went back must not begin a file that sorts before its
		// predecessors, nor one that is there already.
		path = strings.TrimSuffix(w.path, fileSuffix) + "a" + fileSuffix
	}
	f, err := w.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("begin an archive file: %w", err)
	}
	if _, err := f.Write([]byte(header(w.at, w.teams))); err != nil {
		return errors.Join(fmt.Errorf("begin an archive file: %w", err), f.Close())
	}
	w.file, w.path, w.day = f, path, day
	return errors.Join(f.Sync(), w.syncDir())
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
	return b, b.collectHidden(v, n)
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
		return b.collectTeam(v, kbsig.TeamID(id), before, now)
	}
	from, to := ends{}, ends{}
	if before == nil {
		name, err := nameOf(v, uid)
		if err != nil {
			return err
		}
		b.Names = append(b.Names, Name{uid, name})
	} else if from, err = endsOf(before); err != nil {
		return err
	}
	if to, err = endsOf(now); err != nil {
		return err
	}
	for s := from.resets + 1; s <= to.resets; s++ {
		raw, err := v.Get(keys.Reset(uid, s))
		if err != nil {
			return fmt.Errorf("reset %d: %w", s, err)
		}
		l, err := sigchain.ParseResetLink(raw)
		if err != nil {
			return fmt.Errorf("reset %d: %w", s, err)
		}
		b.Resets = append(b.Resets, l)
	}
	for s := from.links + 1; s <= to.links; s++ {
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

// ends are how long a user's chains are.
type ends struct{ links, resets kbsig.Seqno }

func endsOf(leaf []byte) (ends, error) {
	v, err := tree.ParseLeaf(leaf)
	return ends{v.Public.Seqno, v.Reset.Seqno}, err
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
