// Package stage is where tests of teams play: a store in memory with the sequencer and the
// services of a server over it, and people whose devices sign with the keys and links of
// bench/client, which shares no code with the server.
//
// It promises:
//   - What people do here is what a client would post next, unless a test changes the post.
//   - Everything follows from the seed and the fake clock.
//   - Texts for transcripts have names where the server has ids.
//
// Only tests import it.
package stage

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/highwater"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/teams"
)

// T is what a stage wants of a test, or of one run of a property.
type T interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
	Cleanup(func())
	Context() context.Context
}

// Stage is a server's inside with people before it. One goroutine at a time uses it.
type Stage struct {
	T        T
	Store    *store.Store
	Clock    *clock.Fake
	Rand     *rand.ChaCha8
	Identity *identity.Service
	Teams    *teams.Service
	Jobs     *jobs.Runner

	draws  *client.Server // for its randomness only
	people map[string]*Person
	keys   map[kbsig.TeamID][]*Key
	plain  map[string]string // what transcripts call an id
	items  map[events.ID]int // numbers of the news that were shown
	shown  int64             // the last entry of the outbox that was looked at
}

// mark is a high-water record in memory.
type mark struct{ at highwater.Mark }

func (m *mark) Mark() highwater.Mark { return m.at }

func (m *mark) Advance(_, next highwater.Mark) error { m.at = next; return nil }

// New opens an empty stage. Whoever follows facts registers before the first person comes.
func New(t T, seed byte) *Stage {
	t.Helper()
	s := &Stage{
		T: t, Clock: clock.NewFake(time.Unix(1795289782, 0)), Rand: rand.NewChaCha8([32]byte{seed}),
		people: map[string]*Person{}, keys: map[kbsig.TeamID][]*Key{}, plain: map[string]string{}, items: map[events.ID]int{},
	}
	var err error
	s.Store, err = store.Open(store.Options{
		Dir: "data", FS: vfs.NewMem(), Clock: s.Clock.Now, Rand: s.Rand, CacheBytes: 1 << 20,
		Fatal: func(err error) { t.Errorf("store: %v", err) },
	})
	s.Must(err)
	t.Cleanup(func() { s.Must(s.Store.Close()) })
	_, err = roots.Start(t.Context(), s.Store, roots.Config{
		Key: ed25519.NewKeyFromSeed(append(make([]byte, 31), seed)), HighWater: &mark{}, Rand: s.Rand,
	})
	s.Must(err)
	s.Identity = identity.New(s.Store, s.Rand)
	s.Teams = teams.New(s.Store, s.Identity, s.Rand)
	s.Jobs = jobs.NewRunner(jobs.Options{Store: s.Store, Clock: s.Clock.Now, Logger: slog.New(slog.DiscardHandler)})
	s.draws = client.NewServer("http://nowhere.invalid", nil, s.Clock.Now, s.Rand)
	return s
}

// Must ends the test on an error.
func (s *Stage) Must(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
}

// Update runs one transaction.
func (s *Stage) Update(fn func(tx *store.Tx) error) error { return s.Store.Update(s.T.Context(), fn) }

// Read shows fn the newest state.
func (s *Stage) Read(fn func(v *store.View) error) {
	s.T.Helper()
	v := s.Store.View()
	defer v.Close()
	s.Must(fn(v))
}

// Dump is all that is in the store, by key.
func (s *Stage) Dump() map[string]string {
	s.T.Helper()
	out := map[string]string{}
	s.Read(func(v *store.View) error {
		return v.Scan([]byte{0}, bytes.Repeat([]byte{0xff}, 8), func(k, v []byte) error {
			out[string(k)] = string(v)
			return nil
		})
	})
	return out
}

// Changed are the keys in which two dumps differ, in their order.
func Changed(before, after map[string]string) (out []string) {
	for k, v := range after {
		if old, had := before[k]; !had || old != v {
			out = append(out, k)
		}
	}
	for k := range before {
		if _, has := after[k]; !has {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// newest is the newest root, as a client has parsed it.
func (s *Stage) newest() *client.Root {
	s.T.Helper()
	var root *client.Root
	s.Read(func(v *store.View) (err error) {
		root, err = client.ParseRoot(roots.StateOf(v).Root().Payload)
		return err
	})
	return root
}

// Work lets time pass and does what is due by then.
func (s *Stage) Work(d time.Duration) {
	s.T.Helper()
	s.Clock.Advance(d)
	const runsMax = 1000
	for range runsMax {
		n, err := s.Jobs.RunDue(s.T.Context())
		s.Must(err)
		if n == 0 {
			return
		}
	}
	s.T.Fatal("the work has no end")
}

// Call has transcripts name an id.
func (s *Stage) Call(id fmt.Stringer, name string) { s.plain[id.String()] = name }

// Plain replaces ids by names.
func (s *Stage) Plain(text string) string {
	var pairs []string
	for id, name := range s.plain {
		pairs = append(pairs, id, name)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// News tells what the outbox got since it was asked last, of some categories, or of all
// about teams: to whom, what, and which earlier items that ends.
func (s *Stage) News(of ...string) string {
	s.T.Helper()
	var out strings.Builder
	s.Read(func(v *store.View) error {
		return v.Scan(keys.Event(s.shown+1), keys.End(keys.Events()), func(k, b []byte) error {
			r, err := store.Decode[events.Record](b)
			if err != nil {
				return err
			}
			s.shown, _ = keys.EventNumber(k)
			about := strings.HasPrefix(r.Category, "team") || strings.HasPrefix(r.Category, "ephemeral")
			if len(of) == 0 && about || slices.Contains(of, r.Category) {
				out.WriteString(s.spell(r))
			}
			return nil
		})
	})
	if out.Len() == 0 {
		return "nothing\n"
	}
	return out.String()
}

func (s *Stage) spell(r events.Record) string {
	to := []string{s.Plain(r.To.String())}
	for also := r.Also; len(also) > 0; also = also[len(r.To):] {
		to = append(to, s.Plain(kbsig.UID(also[:len(r.To)]).String()))
	}
	slices.Sort(to)
	line := strings.Join(to, ", ") + ": " + s.Plain(r.Category)
	if r.Replace {
		line += " (replaces)"
	}
	if r.Body != nil {
		line += " " + s.json(r.Body)
	}
	if r.Lasts > 0 {
		line += fmt.Sprintf(" for %s", time.Duration(r.Lasts)*time.Millisecond)
	}
	for _, id := range r.Ends {
		if n := s.items[id]; n > 0 {
			line += fmt.Sprintf(", ends #%d", n)
		}
	}
	if r.ID != (events.ID{}) {
		if s.items[r.ID] == 0 {
			s.items[r.ID] = len(s.items) + 1
		}
		line += fmt.Sprintf(", #%d", s.items[r.ID])
	}
	return line + "\n"
}

// json is a body without what is zero, and with names.
func (s *Stage) json(body []byte) string {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Sprintf("%q", body)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	s.Must(enc.Encode(lean(v)))
	return s.Plain(strings.TrimSpace(b.String()))
}

// lean drops the zero values from JSON objects.
func lean(v any) any {
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = lean(x[i])
		}
	case map[string]any:
		for k, e := range x {
			if list, ok := e.([]any); e == nil || e == false || e == 0.0 || e == "" || ok && len(list) == 0 {
				delete(x, k)
				continue
			}
			x[k] = lean(e)
		}
	}
	return v
}
