//go:build linux

// Command teams fills a team with thousands of people and gives another one a chain of
// thousands of links, through the front door, and measures what both cost: every link is
// signed and every seed boxed by bench/client, and verified by clients that know nothing.
//
//	go run ./bench/teams -members 5000 -links 10000
//
// What would show a cost that grows with the square stands beside its peer of the same
// run: the last thousand links beside the first, a change in the large team beside the
// same change in a team of two.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/bench/proc"
)

func main() {
	var o options
	flag.IntVar(&o.members, "members", 5000, "members of the large team")
	flag.IntVar(&o.links, "links", 10000, "links of the long chain")
	flag.IntVar(&o.together, "together", 1000, "members added by one link")
	flag.StringVar(&o.bin, "keystead", "", "server binary; default: built from this tree")
	flag.Parse()
	if err := o.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "teams:", err)
		os.Exit(1)
	}
}

type options struct {
	members, links, together int
	bin                      string
}

// bench is one run.
type bench struct {
	options
	srv  *proc.Process
	kid  client.KID
	wire *wire
}

// wire measures each request by its path.
type wire struct {
	mu   sync.Mutex
	next http.RoundTripper
	took map[string]time.Duration // newest
	sent map[string]int64
	got  map[string]int64
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	begun := time.Now()
	resp, err := w.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	name := strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, "/_/api/1.0/"), ".json")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took[name], w.sent[name], w.got[name] = time.Since(begun), req.ContentLength, int64(len(body))
	return resp, nil
}

func (b *bench) account(ctx context.Context, name string, checked bool) (*client.Account, error) {
	srv := client.NewServer("http://"+b.srv.REST, []client.KID{b.kid}, time.Now, rand.Reader)
	if checked {
		b.wire.next = srv.HTTP.Transport
		if b.wire.next == nil {
			b.wire.next = http.DefaultTransport
		}
		srv.HTTP.Transport = b.wire
	}
	return client.Signup(ctx, client.NewVerifier(srv, nil), client.SignupOptions{
		Name: name, Stream: client.CheapStream([]byte(name)), Invitation: "00", DeviceName: "desk", SkipChecks: !checked,
	})
}

func (o options) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "keystead-teams-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.bin == "" {
		if o.bin, err = proc.Build(ctx, dir); err != nil {
			return err
		}
	}
	b := &bench{options: o, wire: &wire{took: map[string]time.Duration{}, sent: map[string]int64{}, got: map[string]int64{}}}
	b.srv, err = proc.Site{Bin: o.bin, Dir: filepath.Join(dir, "data"), Log: os.Stderr, Flags: []string{"--log-level", "warn"}, NoOps: true}.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.srv.Stop()) }()
	if b.kid, err = client.ParseKID(b.srv.KID); err != nil {
		return err
	}
	fmt.Printf("machine: %d CPUs, %s, %s/%s; client and server share it\n", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	owner, err := b.account(ctx, "owner", true)
	if err != nil {
		return err
	}
	return errors.Join(b.long(ctx, owner), b.large(ctx, owner))
}

// long makes a chain of many links and loads it as a new member.
func (b *bench) long(ctx context.Context, owner *client.Account) error {
	reader, err := b.account(ctx, "reader", true)
	if err != nil {
		return err
	}
	team, err := owner.CreateTeam(ctx, "longchain")
	if err != nil {
		return err
	}
	team, err = owner.ChangeTeam(ctx, team, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{reader.Version(): client.RoleWriter}})
	if err != nil {
		return err
	}
	var took []time.Duration
	if err := owner.GrowTeam(ctx, team, reader.Version(), b.links, func(d time.Duration) { took = append(took, d) }); err != nil {
		return err
	}
	part := min(1000, len(took)/2)
	first, last := median(took[:part]), median(took[len(took)-part:])
	fmt.Printf("long chain: %d links; one post: median %s among the first %d, %s among the last: ratio %.2f\n",
		len(took), first, part, last, float64(last)/float64(first))
	begun := time.Now()
	seen, err := reader.LoadTeam(ctx, team.ID, client.TeamOptions{Fresh: true})
	if err != nil {
		return err
	}
	fmt.Printf("  loaded and verified by a member who knows nothing of it: %d links in %s; team/get %s, %.1f MB\n",
		len(seen.Links), time.Since(begun).Round(time.Millisecond), b.wire.took["team/get"].Round(time.Millisecond), float64(b.wire.got["team/get"])/1e6)
	return b.memory("  server")
}

// large fills a team and rotates its key.
func (b *bench) large(ctx context.Context, owner *client.Account) error {
	people, err := b.people(ctx)
	if err != nil {
		return err
	}
	last, err := b.account(ctx, "latecomer", true)
	if err != nil {
		return err
	}
	team, err := owner.CreateTeam(ctx, "large")
	if err != nil {
		return err
	}
	begun := time.Now()
	for part := range slices.Chunk(people, b.together) {
		roles := make(map[client.UserVersion]client.TeamRole)
		for _, uid := range part {
			roles[client.UserVersion{UID: uid, Eldest: 1}] = client.RoleReader
		}
		if team, err = owner.ChangeTeam(ctx, team, client.TeamChange{Roles: roles}); err != nil {
			return err
		}
		fmt.Printf("large team: %d more: sig/multi with their boxes %s, %.1f MB\n", len(part),
			b.wire.took["sig/multi"].Round(time.Millisecond), float64(b.wire.sent["sig/multi"])/1e6)
	}
	fmt.Printf("  filled with %d in %s, of which most is the client's loading of each of them\n", len(people), time.Since(begun).Round(time.Millisecond))
	if team, err = owner.ChangeTeam(ctx, team, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{last.Version(): client.RoleReader}}); err != nil {
		return err
	}
	one := b.wire.took["sig/multi"]
	small, err := owner.CreateTeam(ctx, "small")
	if err != nil {
		return err
	}
	if _, err = owner.ChangeTeam(ctx, small, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{last.Version(): client.RoleReader}}); err != nil {
		return err
	}
	fmt.Printf("  one more member: %s; the first of a team of two: %s: ratio %.2f\n", one, b.wire.took["sig/multi"], float64(one)/float64(b.wire.took["sig/multi"]))
	begun = time.Now()
	seen, err := last.LoadTeam(ctx, team.ID, client.TeamOptions{Fresh: true})
	if err != nil {
		return err
	}
	fmt.Printf("  loaded and verified by a new member: %d members in %s; team/get %s, %.2f MB\n", len(seen.Members()),
		time.Since(begun).Round(time.Millisecond), b.wire.took["team/get"].Round(time.Millisecond), float64(b.wire.got["team/get"])/1e6)
	if _, err = owner.RotateTeam(ctx, team); err != nil {
		return err
	}
	fmt.Printf("  rotation with a box for each: sig/multi %s, %.1f MB\n", b.wire.took["sig/multi"].Round(time.Millisecond), float64(b.wire.sent["sig/multi"])/1e6)
	return b.memory("  server")
}

// people signs members up, many at a time.
func (b *bench) people(ctx context.Context) ([]client.UID, error) {
	const workers = 32
	out := make([]client.UID, b.members)
	errs := make([]error, workers)
	var next atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= b.members {
					return
				}
				a, err := b.account(ctx, fmt.Sprintf("member%d", i), false)
				if err != nil {
					errs[w] = err
					return
				}
				a.Server().Close()
				out[i] = a.UID
			}
		}()
	}
	wg.Wait()
	fmt.Printf("sign-ups: %d in %s\n", b.members, time.Since(begun).Round(time.Millisecond))
	return out, errors.Join(errs...)
}

func (b *bench) memory(what string) error {
	u, err := b.srv.Usage()
	if err == nil {
		fmt.Printf("%s: %+v\n", what, u)
	}
	return err
}

func median(d []time.Duration) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)/2].Round(time.Microsecond)
}
