//go:build linux

// Command load fills a server with people through the front door and measures it:
// every account is made by bench/client, with keys and signatures of its own, over
// HTTP and through the server's normal commit path. It then asks for the leaves of
// random users in random earlier roots and verifies each path, restarts the server,
// and says what it all took.
//
//	go run ./bench/load -users 1000000
//
// Keys are derived in advance of a batch, so that the figures are the server's and
// the wire's, not those of making keys; client and server share the machine. Beside
// the rate of sign-ups stands what the disk would allow if each request had an fsync
// of its own, measured in the same minute.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mrand "math/rand/v2"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/bench/proc"
)

func main() {
	var o options
	flag.IntVar(&o.users, "users", 10000, "accounts to make")
	flag.IntVar(&o.workers, "workers", 64, "connections that sign up at the same time")
	flag.IntVar(&o.posts, "posts", 50000, "links to post, by users chosen among the last")
	flag.IntVar(&o.reads, "reads", 20000, "paths to verify at random earlier roots")
	flag.StringVar(&o.dir, "dir", "", "folder for the data; default a temporary one, removed at the end")
	flag.StringVar(&o.bin, "keystead", "", "server binary; default: built from this tree")
	flag.Parse()
	if err := o.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

type options struct {
	users, workers, posts, reads int
	dir, bin                     string
}

func (o options) run(ctx context.Context) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "keystead-load-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	if o.bin == "" {
		if o.bin, err = proc.Build(ctx, o.dir); err != nil {
			return err
		}
	}
	data := filepath.Join(o.dir, "data")
	srv, err := start(ctx, o.bin, data)
	if err != nil {
		return err
	}
	first := srv.Ready
	perSecond, err := fsyncsPerSecond(o.dir)
	if err != nil {
		return errors.Join(err, srv.Stop())
	}
	figures, err := o.fill(ctx, srv)
	if err != nil {
		return errors.Join(err, srv.Stop())
	}
	again, err := fsyncsPerSecond(o.dir)
	if err != nil {
		return errors.Join(err, srv.Stop())
	}
	posted, err := o.post(ctx, srv, figures.last)
	if err != nil {
		return errors.Join(err, srv.Stop())
	}
	loaded, err := srv.Usage()
	if err != nil {
		return errors.Join(err, srv.Stop())
	}
	if err := srv.Stop(); err != nil {
		return err
	}
	disk, err := sizes(data)
	if err != nil {
		return err
	}
	if srv, err = start(ctx, o.bin, data); err != nil {
		return err
	}
	restart := srv.Ready
	after, err := srv.Usage()
	if err != nil {
		return errors.Join(err, srv.Stop())
	}
	paths, err := o.readBack(ctx, srv)
	if err := errors.Join(err, srv.Stop()); err != nil {
		return err
	}
	n := float64(o.users)
	fmt.Printf("machine: %s\n", machine())
	fmt.Printf("users: %d with one device each, %d links, %d roots\n", o.users, 3*o.users, figures.roots)
	fmt.Printf("sign-up with its first device (2 requests, 3 links): %.0f users/s, %.0f requests/s, %.0f links/s; p50 %s p99 %s\n",
		n/figures.took.Seconds(), 2*n/figures.took.Seconds(), 3*n/figures.took.Seconds(), figures.p50, figures.p99)
	fmt.Printf("peer: one write of 4 KiB and one fdatasync a request, nothing else: %.0f requests/s; ratio %.2f\n",
		perSecond, 2*n/figures.took.Seconds()/perSecond)
	rate := float64(o.posts) / posted.took.Seconds()
	fmt.Printf("posts (1 request, 1 link): %.0f links/s; p50 %s p99 %s; peer as above, just before: %.0f requests/s; ratio %.2f\n",
		rate, posted.p50, posted.p99, again, rate/again)
	fmt.Printf("disk: store %.0f bytes/user, archive %.0f bytes/user, %.0f bytes/link in all\n",
		float64(disk["store"])/n, float64(disk["archive"])/n, float64(disk["store"]+disk["archive"])/(3*n))
	fmt.Printf("memory: %.0f bytes/user after loading (%d MiB), %.0f bytes/user after a restart (%d MiB)\n",
		float64(loaded.Resident)/n, loaded.Resident>>20, float64(after.Resident)/n, after.Resident>>20)
	fmt.Printf("start: %s empty, %s with all users (tree rebuilt and compared with the signed root)\n", first.Round(time.Millisecond), restart.Round(time.Millisecond))
	fmt.Printf("paths of random users at random earlier roots, each verified: %.0f/s, p50 %s p99 %s, %d of %d right\n",
		paths.rate, paths.p50, paths.p99, paths.right, o.reads)
	if paths.right != o.reads {
		return fmt.Errorf("%d paths did not verify", o.reads-paths.right)
	}
	return nil
}

// name is the i-th user's.
func name(i int) string { return fmt.Sprintf("u%07d", i) }

type filled struct {
	took     time.Duration
	p50, p99 time.Duration
	roots    int64
	last     []*client.Account // of each worker: its last
}

// fill makes the accounts.
func (o options) fill(ctx context.Context, srv *server) (filled, error) {
	v := client.NewVerifier(srv.client(), nil)
	before, err := v.RefreshRoot(ctx)
	if err != nil {
		return filled{}, err
	}
	var next, failed atomic.Int64
	var firstErr atomic.Pointer[error]
	lat := make([][]time.Duration, o.workers)
	last := make([]*client.Account, o.workers)
	begun := time.Now()
	stopTicker := make(chan struct{})
	go func() {
		t := time.NewTicker(15 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-stopTicker:
				return
			case <-t.C:
				n := min(next.Load(), int64(o.users))
				fmt.Fprintf(os.Stderr, "load: %d users, %.0f/s\n", n, float64(n)/time.Since(begun).Seconds())
			}
		}
	}()
	var wg sync.WaitGroup
	for w := range o.workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= o.users || failed.Load() > 0 {
					return
				}
				at := time.Now()
				a, err := client.Signup(ctx, v, client.SignupOptions{
					Name: name(i), Stream: client.CheapStream([]byte(name(i))), Invitation: "00",
					DeviceName: "first", SkipChecks: true,
				})
				if err != nil {
					err = fmt.Errorf("user %d: %w", i, err)
					firstErr.CompareAndSwap(nil, &err)
					failed.Add(1)
					return
				}
				last[w] = a
				lat[w] = append(lat[w], time.Since(at))
			}
		})
	}
	wg.Wait()
	close(stopTicker)
	f := filled{took: time.Since(begun), last: last}
	if e := firstErr.Load(); e != nil {
		return f, *e
	}
	after, err := v.RefreshRoot(ctx)
	if err != nil {
		return f, err
	}
	f.roots = int64(after.Seqno - before.Seqno)
	f.p50, f.p99 = percentiles(slices.Concat(lat...))
	return f, nil
}

type posts struct {
	took     time.Duration
	p50, p99 time.Duration
}

// post lets accounts follow the first user and unfollow again, each link signed and
// posted after the one before it is acknowledged.
func (o options) post(ctx context.Context, srv *server, by []*client.Account) (posts, error) {
	them, err := client.NewVerifier(srv.client(), nil).LoadUser(ctx, client.UIDOf(name(0)), client.LoadOptions{Stubbed: true})
	if err != nil {
		return posts{}, err
	}
	var done atomic.Int64
	errs := make([]error, len(by))
	lat := make([][]time.Duration, len(by))
	begun := time.Now()
	var wg sync.WaitGroup
	for w, a := range by {
		if a == nil || a.UID == them.UID {
			continue
		}
		wg.Go(func() {
			for typ, next := "track", "untrack"; int(done.Add(1)) <= o.posts; typ, next = next, typ {
				at := time.Now()
				if errs[w] = a.FollowSeen(ctx, them, typ); errs[w] != nil {
					return
				}
				lat[w] = append(lat[w], time.Since(at))
			}
		})
	}
	wg.Wait()
	p := posts{took: time.Since(begun)}
	p.p50, p.p99 = percentiles(slices.Concat(lat...))
	return p, errors.Join(errs...)
}

type read struct {
	rate     float64
	right    int
	p50, p99 time.Duration
}

// readBack asks for random users at random earlier roots and verifies every path:
// present with the right chain, or provably absent because the user came later.
func (o options) readBack(ctx context.Context, srv *server) (read, error) {
	v := client.NewVerifier(srv.client(), nil)
	newest, err := v.RefreshRoot(ctx)
	if err != nil {
		return read{}, err
	}
	first, err := v.Server().FirstRootWithSkips(ctx)
	if err != nil {
		return read{}, err
	}
	const readers = 8
	var right, done atomic.Int64
	var firstErr atomic.Pointer[error]
	lat := make([][]time.Duration, readers)
	begun := time.Now()
	var wg sync.WaitGroup
	for w := range readers {
		wg.Go(func() {
			rng := mrand.New(mrand.NewPCG(uint64(w), 1))
			for int(done.Add(1)) <= o.reads {
				uid := client.UIDOf(name(rng.IntN(o.users)))
				at := first + client.Seqno(rng.Int64N(int64(newest.Seqno-first)+1))
				begin := time.Now()
				if _, _, err := v.UserLeafAt(ctx, uid, client.At{Seqno: at}); err != nil {
					err = fmt.Errorf("user %s at root %d: %w", uid, at, err)
					firstErr.CompareAndSwap(nil, &err)
					continue
				}
				lat[w] = append(lat[w], time.Since(begin))
				right.Add(1)
			}
		})
	}
	wg.Wait()
	r := read{rate: float64(right.Load()) / time.Since(begun).Seconds(), right: int(right.Load())}
	r.p50, r.p99 = percentiles(slices.Concat(lat...))
	if e := firstErr.Load(); e != nil {
		return r, *e
	}
	return r, nil
}

func percentiles(d []time.Duration) (p50, p99 time.Duration) {
	if len(d) == 0 {
		return 0, 0
	}
	slices.Sort(d)
	return d[len(d)/2].Round(10 * time.Microsecond), d[len(d)*99/100].Round(10 * time.Microsecond)
}

// fsyncsPerSecond is what the disk gives one writer that flushes every 4 KiB.
func fsyncsPerSecond(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	b := make([]byte, 4096)
	if _, err := rand.Read(b); err != nil {
		return 0, err
	}
	n, begun := 0, time.Now()
	for time.Since(begun) < 3*time.Second {
		if _, err := f.Write(b); err != nil {
			return 0, err
		}
		if err := fdatasync(f); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}
