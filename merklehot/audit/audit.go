// Package audit reads everything that a store holds and says what does not hold: the
// fsck of the server, for operators (keystead verify) and for tests.
//
// It checks the truth that others depend on, from the signed bytes up:
//
//   - roots: every one from the first to the newest decodes, is signed by the server's
//     key, follows from the one before, and names the right older ones;
//   - chains: every link of every user verifies again and may stand where it stands,
//     judged with the roots that existed when it was taken, and so for every entry of
//     the reset chains; the state, the indexes over
//     keys, signatures, devices and follows, and the boxes are just what the chains
//     give, with nothing missing and nothing besides;
//   - teams: every visible link plays again as in a client that loads the chain from
//     the beginning, with the order of events in several chains proven by roots; the
//     state is what the links lead to, and each key generation was brought once;
//   - the tree: built from the chains alone, by code of this package, it has the hash
//     that the newest root signs; every value that a leaf ever had is a link of its
//     chain; one chain length has one end; paths in older roots verify;
//   - hidden chains: their links verify and follow each other, ratchets are explained, and
//     the blind tree built from them alone is the one that the newest root names; proofs
//     in older roots verify;
//   - keys: every key of the store is one that engine/keys makes, and belongs to an
//     account if it names a user.
//
// What it does not know is whether the newest root is the newest that was ever shown:
// see engine/highwater. Secrets, sessions and messages are looked at as far as they
// must decode.
//
// Where a second opinion is worth it, the package has its own: root payloads, skip
// tables, the trees' shapes, leaf values and path verification share no code with what
// wrote them. It only reads. Memory is bounded per user, plus 32 bytes and two bits a
// root; it reads each record about twice. Users are audited on all processors.
package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
)

// Limits of an audit.
const (
	// problemsMax is how many problems are written before the audit gives up.
	problemsMax = 100
	// pathsDefault is how many paths in older roots are verified unless more are
	// asked for; a store with fewer leaf values has all of them verified.
	pathsDefault = 20_000
	// rootGapMax is how many roots in a row may be missing for the audit to go on
	// behind them.
	rootGapMax = 1 << 20
	// lineBytesMax bounds a line about a problem, in bytes: damaged records may
	// hold anything.
	lineBytesMax = 400
)

// AllPaths asks for the path of every value that any leaf ever had.
const AllPaths = -1

// ErrDamaged says that the store holds something that it must not, or lacks
// something that it must hold.
var ErrDamaged = errors.New("the store does not hold together")

// Options says what is audited and how thoroughly.
type Options struct {
	// KID is the key that all roots must be signed with.
	KID kbsig.KID
	// Paths is about how many paths in older roots are verified, chosen by chance
	// that follows from the newest root's hash. Default: pathsDefault.
	Paths int
}

// Run audits what r, one state of a store, shows, with the default options. It writes
// one line for each problem, naming its subject, and a summary line to out, and
// returns ErrDamaged if there was a problem.
func Run(ctx context.Context, r store.Reader, kid kbsig.KID, out io.Writer) error {
	return RunWith(ctx, r, Options{KID: kid}, out)
}

// RunWith is Run with options.
func RunWith(ctx context.Context, r store.Reader, o Options, out io.Writer) error {
	if o.Paths == 0 {
		o.Paths = pathsDefault
	}
	a := &auditor{ctx: ctx, r: r, opts: o, out: out}
	a.tree.check = a.node
	for _, pass := range []func() error{
		a.keyspace, a.blindVersions, a.roots, a.teams, a.users, a.hiddenChains, a.indexes, a.changes, a.wholeTree,
	} {
		if err := pass(); err != nil && !errors.Is(err, errEnough) {
			return fmt.Errorf("audit: %w", err)
		} else if err != nil {
			break
		}
	}
	if err := a.summary(); err != nil {
		return err
	}
	if a.problems > 0 {
		return fmt.Errorf("%d problems: %w", a.problems, ErrDamaged)
	}
	return nil
}

// errEnough ends an audit that has found problemsMax problems.
var errEnough = errors.New("enough problems")

// auditor is one audit on its way.
type auditor struct {
	ctx  context.Context
	r    store.Reader
	opts Options
	out  io.Writer

	problems int
	writeErr error

	keys tally // what the keyspace holds, and what was found to be right

	// Of the pass over the roots.
	first, newest kbsig.Seqno
	newestCtime   int64
	newestNode    kbsig.NodeHash
	hashes        []kbsig.HashMeta // by number, from first; zero where unknown
	treeChanged   numbers          // roots over another tree than the one before
	unsure        numbers          // roots of which that is not known
	leafChanged   numbers          // roots that some leaf value was written for

	rng  uint64
	tree shape // built from the chains
	// waiting are the leaves of teams that are not in the tree yet, in order.
	waiting []teamLeaf

	blind     []blindVersion // as stored, oldest first
	blindTree blindShape     // built from the hidden chains

	accounts, links, resets, keyCount, leafValues, paths int
}

// tally counts records by prefix byte: those that are there and those that another
// record calls for. When the two agree there is nothing besides.
type tally struct{ stored, right [prefixes]int }

func (t *tally) extra(key []byte) bool {
	p, _ := prefixOf(key)
	return t.stored[p] != t.right[p]
}

// problem writes one line. The line begins with the subject.
func (a *auditor) problem(format string, args ...any) {
	if a.problems++; a.problems > problemsMax || a.writeErr != nil {
		return
	}
	line := fmt.Sprintf(format, args...)
	if len(line) > lineBytesMax {
		line = line[:lineBytesMax] + "..."
	}
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, line)
	_, a.writeErr = fmt.Fprintln(a.out, line)
}

// pause is called between records: it ends the audit when there is reason to.
func (a *auditor) pause() error {
	switch {
	case a.writeErr != nil:
		return fmt.Errorf("write a problem: %w", a.writeErr)
	case a.problems >= problemsMax:
		return errEnough
	}
	return a.ctx.Err()
}

func (a *auditor) summary() error {
	if a.problems >= problemsMax {
		if _, err := fmt.Fprintf(a.out, "stopped after %d problems\n", problemsMax); err != nil {
			return err
		}
	}
	roots := "no roots"
	if a.newest > 0 {
		roots = fmt.Sprintf("roots %d to %d", a.first, a.newest)
	}
	total := 0
	for _, n := range a.keys.stored {
		total += n
	}
	_, err := fmt.Fprintf(a.out, "audited %s, %d accounts, %d links, %d resets, %d keys, %d leaf values, %d paths, %d records in all: %d problems\n",
		roots, a.accounts, a.links, a.resets, a.keyCount, a.leafValues, a.paths, total, a.problems)
	return err
}

// chance decides, the same way in each audit of the same state, whether something of
// which there are total may be looked at.
func (a *auditor) chance(total int) bool {
	if a.opts.Paths < 0 || total <= a.opts.Paths {
		return true
	}
	return a.random()%uint64(total) < uint64(a.opts.Paths)
}

// random is the SplitMix64 generator.
func (a *auditor) random() uint64 {
	a.rng += 0x9e3779b97f4a7c15
	z := a.rng
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (a *auditor) seed(h kbsig.HashMeta) { a.rng = binary.BigEndian.Uint64(h[:8]) }

// numbers is a set of root numbers, counted from the first root.
type numbers []uint64

func (s *numbers) add(i kbsig.Seqno) {
	for int(i/64) >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[i/64] |= 1 << (i % 64)
}

func (s numbers) has(i kbsig.Seqno) bool {
	return i >= 0 && int(i/64) < len(s) && s[i/64]&(1<<(i%64)) != 0
}
