// Package node joins the rooms into one running server: it opens the store, makes
// or loads the signing key and the genesis, and listens on the doors.
//
// It decides nothing: rules live in the rooms, settings in cmd/keystead/config. The
// data folder holds store/ (the database), keys/ (the signing key), archive/ (the plain
// copy of what was signed), endpoints.json and, while it runs, control.sock; the
// high-water record lies beside the folder, so that restoring the folder does not
// restore the record with it.
package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/chatlog/push"
	"github.com/keystead/keystead/cmd/keystead/adminapi"
	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/courier"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/cmd/keystead/postman"
	"github.com/keystead/keystead/cmd/keystead/preflight"
	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/rest"
	"github.com/keystead/keystead/compat/rpc"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/observe"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/archive"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/proofs"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/showcase"
	"github.com/keystead/keystead/merklehot/teamkeys"
	"github.com/keystead/keystead/merklehot/teams"
)

// stopTimeout bounds how long a stop waits for requests under way.
const stopTimeout = 15 * time.Second

// Bound tells where the doors listen, as host:port with the real port even when
// the setting said port 0, and which key signs the roots. Ops is empty when the
// operator's listener is off.
type Bound struct {
	HTTP, RPC, Ops string
	MerkleKID      kbsig.KID
}

// World is what a server takes from outside. Tests give another.
type World struct {
	FS    vfs.FS      // of the store and the high-water record
	Clock clock.Clock // the machine's, which may be wrong
	Rand  io.Reader
	// Key loads the key that signs the roots of a store, by the store's id; create
	// says that the store is new and a key may be made.
	Key func(dataDir string, store [16]byte, create bool) (ed25519.PrivateKey, error)
	// Control makes the control socket of a data folder; nil: there is none.
	Control func(dataDir string) (net.Listener, error)
	// Hangup asks the server to look at its certificates; nil: nobody does.
	Hangup <-chan os.Signal
}

// RealWorld is the machine.
func RealWorld() World {
	return World{
		FS: vfs.Default, Clock: clock.System(), Rand: rand.Reader, Key: loadKey,
		Control: adminapi.Listen,
	}
}

// loadKey reads the key file. A store with roots needs the key that signed them: a
// new one would lock out every client, so it is made only for a new store.
func loadKey(dataDir string, store [16]byte, create bool) (ed25519.PrivateKey, error) {
	if err := keyfile.Bind(dataDir, store, create); err != nil {
		if errors.Is(err, keyfile.ErrOtherStore) {
			err = fmt.Errorf("%w\nPut the store back that the key belongs to. To begin another server, give it an empty folder: a tree that begins anew under a key that clients know loses all of them", err)
		}
		return nil, err
	}
	if !create {
		return keyfile.Load(dataDir)
	}
	key, _, err := keyfile.LoadOrCreate(dataDir, rand.Reader)
	return key, err
}

// Run serves until ctx ends, then stops in order and returns nil. It calls ready
// once, after every door accepts connections and before it serves for long; an
// error from ready stops the server.
func Run(ctx context.Context, cfg config.Config, log *slog.Logger, ready func(Bound) error) error {
	w := RealWorld()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	w.Hangup = hangup
	return RunIn(ctx, w, cfg, log, ready)
}

// RunIn is Run in another world.
func RunIn(ctx context.Context, w World, cfg config.Config, log *slog.Logger, ready func(Bound) error) error {
	return newNode(w, cfg, log).run(ctx, ready)
}

func newNode(w World, cfg config.Config, log *slog.Logger) *node {
	n := &node{World: w, cfg: cfg, log: log, reg: prometheus.NewRegistry(), fatal: make(chan error, 1)}
	n.time = &timekeeper{machine: w.Clock, die: n.die}
	n.Clock = n.time.now
	return n
}

func (n *node) run(ctx context.Context, ready func(Bound) error) (err error) {
	defer func() { err = errors.Join(err, n.close()) }()
	for _, step := range []func() error{n.openData, n.checkClock, n.openProofs, n.startRoots, n.keepKits, n.openArchive, n.openNews, n.openCertificates, n.buildDoors, n.makePeople, n.listen} {
		if err := step(); err != nil {
			return err
		}
	}
	n.openControl()
	if err := ready(n.bound()); err != nil {
		return err
	}
	return n.serve(ctx)
}

// node is one server: what was opened, in the order in which it was.
type node struct {
	World
	cfg   config.Config
	log   *slog.Logger
	reg   *prometheus.Registry
	fatal chan error
	time  *timekeeper // what Clock reads

	store *store.Store
	mark  *highwater.Record
	seq   *roots.Sequencer
	arch  *archive.Writer

	proofs *proofs.Book

	copying sync.Mutex // around arch, which is for one goroutine at a time

	events  *events.Outbox
	gregor  *gregor.Service
	push    *push.Service
	metrics *observe.Metrics
	jobs    *jobs.Runner
	post    *postman.Postman
	rest    *rest.Server
	rpc     *rpc.Server

	teams   *teams.Service
	chores  *chores.Queue
	joining *joining.Service

	certs   []certificate
	control *adminapi.Server

	httpLn, rpcLn, opsLn, controlLn net.Listener
}

// storeDir is the database inside a data folder.
func storeDir(dataDir string) string { return filepath.Join(dataDir, "store") }

// openData opens the database and the high-water record.
func (n *node) openData() error {
	err := makeFolder(n.FS, n.cfg.Data.Dir)
	if err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	n.store, err = store.Open(store.Options{
		Dir: storeDir(n.cfg.Data.Dir), FS: n.FS, Clock: n.Clock, Rand: n.Rand, Logger: n.log, Fatal: n.die,
	})
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("%w\nAnother server runs on %s. Stop it first, or give this one a folder of its own with --data", err, n.cfg.Data.Dir)
	}
	if err != nil {
		return err
	}
	n.mark, err = openMark(n.FS, n.store, n.cfg)
	return err
}

// openMark opens the high-water record; only a store without roots may get a new one.
func openMark(fs vfs.FS, st *store.Store, cfg config.Config) (*highwater.Record, error) {
	path := cfg.HighWaterPath()
	v := st.View()
	_, err := roots.Newest(v)
	v.Close()
	isNew := errors.Is(err, roots.ErrNoRoot)
	if err != nil && !isNew {
		return nil, err
	}
	mark, err := highwater.Open(highwater.Options{
		FS: fs, Path: path, StoreID: st.ID(), DataDir: cfg.Data.Dir, Create: isNew,
	})
	switch {
	case err == nil:
		return mark, nil
	case errors.Is(err, highwater.ErrLocked):
		return nil, fmt.Errorf("%w\nAnother server uses this record. Stop it first", err)
	case errors.Is(err, highwater.ErrMissing), errors.Is(err, highwater.ErrCopied), errors.Is(err, highwater.ErrForeign), errors.Is(err, highwater.ErrDamaged):
		return nil, fmt.Errorf("%w\n%s", err, adoptHint(cfg))
	}
	return nil, err
}

// adoptHint says what to do about a folder that is not the one that was used last.
func adoptHint(cfg config.Config) string {
	return "Clients never forget a Merkle root: a server that goes on from an older or second copy of its data\n" +
		"loses all of them for good. If the folder was moved on purpose, holds everything up to the last minute, and\n" +
		"its original will never run again, say so once with:\n  keystead adopt --data '" + cfg.Data.Dir + "'"
}

// die is told by the store, or by the timekeeper, that nobody knows any more what is true.
func (n *node) die(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// holdBlindDevel is how long hidden links wait for a root that commits to them in devel
// mode: the client's own tests look at them meanwhile, and ask for the root.
const holdBlindDevel = 5 * time.Minute

func (n *node) startRoots() error {
	v := n.store.View()
	_, err := roots.Newest(v)
	v.Close()
	isNew := errors.Is(err, roots.ErrNoRoot)
	if err != nil && !isNew {
		return err
	}
	key, err := n.Key(n.cfg.Data.Dir, n.store.ID(), isNew)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	cfg := roots.Config{
		Key: key, HighWater: n.mark, Rand: n.Rand, Interval: n.cfg.Merkle.Heartbeat, Kits: n.proofs.Kits(),
	}
	if n.cfg.Devel {
		cfg.HoldBlind = holdBlindDevel
	}
	n.seq, err = roots.Start(context.Background(), n.store, cfg)
	if err == nil && n.cfg.Devel {
		err = hidden.Recommit(context.Background(), n.store)
	}
	if errors.Is(err, roots.ErrBehind) || errors.Is(err, roots.ErrForked) {
		return fmt.Errorf("%w\nThe data folder is an older copy. Put the newest one back; going on from this one would lose every client", err)
	}
	return err
}

func (n *node) openArchive() error {
	w, err := archive.Open(n.FS, n.cfg.ArchivePath(), n.store.ID())
	if errors.Is(err, archive.ErrDamaged) || errors.Is(err, archive.ErrForeign) {
		return fmt.Errorf("%w\nThe store is not affected. Move the folder %s away; a new archive is then written from the store", err, n.cfg.ArchivePath())
	}
	if err != nil {
		return err
	}
	n.arch = w
	if newest := n.newestRoot(); w.Seqno() > newest {
		// Of what is archived, everything was published.
		return fmt.Errorf("%w\nThe archive %s holds root %d, but the newest root of the data folder is %d: it is an older copy. Put the newest one back; going on from this one would lose every client", roots.ErrBehind, n.cfg.ArchivePath(), w.Seqno(), newest)
	}
	return nil
}

// openNews opens the outbox and makes who delivers from it.
func (n *node) openNews() error {
	var err error
	n.events, err = events.Open(context.Background(), n.store, events.Options{
		Consumers: []string{gregor.Consumer, push.Consumer}, Logger: n.log, Metrics: n.reg,
	})
	n.gregor = gregor.New(gregor.Options{
		Log: gregor.StoreLog(n.store), Clock: n.Clock, Rand: n.Rand, Logger: n.log, Metrics: n.reg, Notify: n.remind, Gone: n.gone,
		Arrived: n.arrived,
	})
	n.push = push.New(push.Options{
		Store: n.store, Clock: n.Clock, Logger: n.log, Metrics: n.reg,
		Couriers: map[push.Way]push.Courier{push.UnifiedPush: courier.NewUnifiedPush(n.courierOptions())},
		Active:   n.active,
		Awake:    func(u kbsig.UID, d kbsig.DeviceID) bool { return slices.Contains(n.gregor.Connected(u), d) },
	})
	return err
}

func (n *node) newestRoot() kbsig.Seqno {
	v := n.store.View()
	defer v.Close()
	return roots.StateOf(v).Root().Seqno
}

func (n *node) buildDoors() error {
	a, err := auth.New(n.store, n.Clock, n.Rand)
	if err != nil {
		return err
	}
	n.metrics = observe.New(n.reg)
	n.startJobs()
	ids := identity.New(n.store, n.Rand)
	ids.KeepProofs(n.proofs)
	n.teams = teams.New(n.store, ids, n.Rand)
	n.teams.OnPost(teamkeys.Posted)
	n.teams.OnPost(showcase.Posted)
	n.openWays(ids)
	resets, err := n.startResets(ids)
	if err != nil {
		return err
	}
	rates, proxies, err := n.rates()
	if err != nil {
		return err
	}
	box, err := n.openReports()
	if err != nil {
		return err
	}
	restConns, pushConns := n.connections()
	n.rest = rest.New(rest.Options{
		Store: n.store, Auth: a, Identity: ids, Teams: n.teams, Autoreset: resets, Proofs: n.proofs,
		Joining: n.joining, Chores: n.chores, Told: func(ctx context.Context) error { return n.events.Passed(ctx, gregor.Consumer) },
		Clock: n.Clock, Rand: n.Rand, Logger: n.log, Metrics: n.metrics, Devel: n.cfg.Devel,
		Connections: restConns,
		Revoked:     func(u kbsig.UID, d kbsig.DeviceID) { n.rpc.Disconnect(u, d) },
		Rates:       rates, Proxies: proxies, Signup: accounts.SignupPolicy(n.cfg.Signup.Policy),
		PublicURL: n.cfg.HTTP.PublicURL, Features: n.cfg.Clients.Features, Bots: featuredBots(n.cfg), Reports: box,
		CanMail: n.post.Mails(), CanText: n.post.Texts(),
		Address: n.site, BigState: n.gregor.SetCutoff,
	})
	n.rest.Work(n.jobs)
	n.rpc, err = rpc.New(rpc.Options{
		Auth: a, Clock: n.Clock, Logger: n.log, Metrics: n.reg,
		Gregor: n.gregor,
		Rates:  rates, Exempt: rates.Exempt, Limits: rpc.Limits{Conns: pushConns},
	})
	return err
}

func (n *node) listen() error {
	for _, d := range []struct {
		name, addr string
		ln         *net.Listener
	}{{"http", n.cfg.HTTP.Listen, &n.httpLn}, {"rpc", n.cfg.RPC.Listen, &n.rpcLn}, {"ops", n.cfg.Ops.Listen, &n.opsLn}} {
		if d.addr == "" {
			continue
		}
		ln, err := net.Listen("tcp", d.addr)
		if err != nil {
			return fmt.Errorf("%s.listen: %s (--%s or in the configuration)", d.name, preflight.WhyNotListening(d.addr, err), d.name)
		}
		*d.ln = ln
	}
	return nil
}

func (n *node) bound() Bound {
	b := Bound{HTTP: n.httpLn.Addr().String(), RPC: n.rpcLn.Addr().String(), MerkleKID: n.seq.KID()}
	if n.opsLn != nil {
		b.Ops = n.opsLn.Addr().String()
	}
	return b
}

// close gives back what was opened, the newest first.
func (n *node) close() error {
	var errs []error
	for _, ln := range []net.Listener{n.httpLn, n.rpcLn, n.opsLn, n.controlLn} {
		if ln != nil {
			if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if n.arch != nil {
		errs = append(errs, n.arch.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.mark != nil {
		errs = append(errs, n.mark.Close())
	}
	return errors.Join(errs...)
}
