package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/chatlog/push"
	"github.com/keystead/keystead/compat/rpc"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/roots"
)

// Intervals of background work.
const (
	// beatCheck is how often the age of the newest root is looked at.
	beatCheck = time.Minute
	// sweepInterval is how often expired sessions and tokens are deleted, and
	// sweepMax how many at a time.
	sweepInterval = 10 * time.Minute
	sweepMax      = 2000
	// archiveInterval is how far the archive may lag behind the store.
	archiveInterval = time.Second
	// healthAgeMax is how old the newest root may be, beyond the heartbeat, before
	// the server calls itself unhealthy.
	healthAgeMax = 10 * time.Minute
)

// serve runs doors and background work until ctx ends or something fails.
func (n *node) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 6) // one for each that is started
	start := func(name string, run func() error) {
		go func() {
			if err := run(); err != nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		}()
	}
	start("rest", func() error { return n.rest.Serve(n.httpLn, n.tlsConfig("http", "http/1.1")) })
	start("rpc", func() error {
		if err := n.rpc.Serve(n.rpcLn, n.tlsConfig("rpc")); !errors.Is(err, rpc.ErrServerClosed) {
			return err
		}
		return nil
	})
	ops := n.opsServer()
	if n.opsLn != nil {
		start("ops", func() error {
			if err := ops.Serve(n.opsLn); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	if n.control != nil {
		start("control", func() error { return n.control.Serve(n.controlLn) })
	}
	var behind sync.WaitGroup
	behind.Go(func() { n.background(ctx) })
	behind.Go(func() { n.watch(ctx) })
	for consumer, handle := range map[string]events.Handler{
		gregor.Consumer: n.gregor.DeliverNews, push.Consumer: n.push.HearNews,
	} {
		behind.Go(func() {
			err := n.events.Run(ctx, consumer, handle)
			if err != nil && !errors.Is(err, store.ErrStopped) {
				failed <- fmt.Errorf("deliver news to %s: %w", consumer, err)
			}
		})
	}
	behind.Go(func() { n.jobs.Run(ctx) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	case err = <-n.fatal:
		// What is on disk is not known. Nothing more is answered or written; start-up
		// recovery decides.
		cancel()
		behind.Wait()
		return fmt.Errorf("stopped because the state of the server is unknown: %w", err)
	}
	cancel()
	behind.Wait()
	stop, cancelStop := context.WithTimeout(context.Background(), stopTimeout)
	defer cancelStop()
	if n.control != nil {
		err = errors.Join(err, n.controlLn.Close(), n.control.Shutdown(stop))
	}
	err = errors.Join(err, n.rpc.Shutdown(stop), n.rest.Shutdown(stop), ops.Shutdown(stop))
	// The copy ends where the store does.
	if err := n.followRoots(context.Background()); err != nil {
		n.log.Error("the archive did not catch up", "err", err)
	}
	return err
}

// background keeps the tree's clock moving and sweeps what has expired.
func (n *node) background(ctx context.Context) {
	beat, sweep, copying := time.NewTicker(beatCheck), time.NewTicker(sweepInterval), time.NewTicker(archiveInterval)
	defer beat.Stop()
	defer sweep.Stop()
	defer copying.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-copying.C:
			err = n.followRoots(ctx)
		case <-beat.C:
			err = n.beat(ctx)
		case <-sweep.C:
			err = n.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Error("background work failed", "err", err)
		}
	}
}

// beat signs a root if the newest has got old.
func (n *node) beat(ctx context.Context) error {
	var err error
	if n.cfg.Merkle.Heartbeat > 0 {
		err = n.seq.Heartbeat(ctx)
	}
	v := n.store.View()
	defer v.Close()
	n.metrics.RootSeqno.Set(float64(roots.StateOf(v).Root().Seqno))
	return err
}

// sweep deletes sessions and tokens that have expired.
func (n *node) sweep(ctx context.Context) error {
	return n.store.Update(ctx, func(tx *store.Tx) error {
		_, err := accounts.SweepExpired(tx, sweepMax)
		return err
	})
}

// followRoots brings the archive up to the newest root.
func (n *node) followRoots(ctx context.Context) error {
	n.copying.Lock()
	defer n.copying.Unlock()
	v := n.store.View()
	defer v.Close()
	if err := n.arch.Follow(ctx, v, n.Clock()); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

// opsServer answers the operator: metrics and health.
func (n *node) opsServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		v := n.store.View()
		defer v.Close()
		if path := n.store.Corrupt(); path != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "unhealthy: %s is damaged and cannot be read whole; stop the server, run keystead verify, and restore a backup or replace the disk\n", path)
			return
		}
		root := roots.StateOf(v).Root()
		age := n.Clock().Sub(time.Unix(root.Ctime, 0))
		if n.cfg.Merkle.Heartbeat > 0 && age > n.cfg.Merkle.Heartbeat+healthAgeMax {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "unhealthy: the newest root %d is %s old\n", root.Seqno, age.Round(time.Second))
			return
		}
		fmt.Fprintf(w, "ok: root %d, %s old, %d accounts in the tree\n", root.Seqno, age.Round(time.Second), roots.StateOf(v).Len())
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
}
