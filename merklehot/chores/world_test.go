package chores

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// world is one team in a store, people who connect and go, and what there is to do.
type world struct {
	t     *testing.T
	st    *store.Store
	clock *clock.Fake
	q     *Queue
	jobs  *jobs.Runner
	team  kbsig.TeamID
	names map[kbsig.UID]string
	here  map[kbsig.UID]bool
	todo  map[Kind]bool
	later time.Time // when there will be people to let in; zero: not by itself
	told  int       // how many entries of the outbox were shown
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, clock: clock.NewFake(time.Unix(1_700_000_000, 0)), names: map[kbsig.UID]string{}, here: map[kbsig.UID]bool{}, todo: map[Kind]bool{},
	}
	st, err := store.Open(store.Options{Dir: "s", FS: vfs.NewMem(), Clock: w.clock.Now, Rand: rand.Reader})
	w.must(err)
	t.Cleanup(func() { _ = st.Close() })
	w.st = st
	w.restart()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(fn func(tx *store.Tx) error) {
	w.t.Helper()
	w.must(w.st.Update(w.t.Context(), fn))
}

// restart is what a new process has: the store, and nothing else.
func (w *world) restart() {
	w.q = New(Options{Store: w.st, Connected: func(u kbsig.UID) bool { return w.here[u] }, Logger: slog.New(slog.DiscardHandler)})
	for _, k := range []Kind{Rotate, Sweep, People, Requests, Tokens} {
		w.q.Serve(k, func(store.Reader, *teamchain.State, *Chore) (any, time.Time, error) {
			coming := k == People && !w.later.IsZero()
			switch {
			case w.todo[k], coming && !w.clock.Now().Before(w.later):
				return scored{}, time.Time{}, nil
			case coming:
				return nil, w.later, nil
			}
			return nil, time.Time{}, nil
		})
	}
	w.jobs = jobs.NewRunner(jobs.Options{Store: w.st, Clock: w.clock.Now, Logger: slog.New(slog.DiscardHandler)})
	w.q.Handle(w.jobs)
}

// scored is a body that says how often somebody was asked.
type scored struct {
	Score int `json:"score"`
}

func (s scored) WithScore(n int) any { return scored{n} }

// person makes an incarnation of a user, with a per-user key or without.
func (w *world) person(name string, eldest kbsig.Seqno, keyed bool) kbsig.UserVersion {
	u := kbsig.UIDOf(kbsig.Username(name))
	w.names[u] = name
	st := &sigchain.State{UID: u, Username: kbsig.Username(name), EldestSeqno: eldest, Incarnation: int(eldest)}
	if eldest > 0 {
		st.Tail, st.Eldest = eldest, kbsig.NewKID(kbsig.KIDTypeEdDSA, sha256.Sum256([]byte(name)))
	}
	if keyed {
		st.PUKs = []sigchain.PUK{{Generation: 1, Incarnation: int(eldest), AddedAt: eldest}}
	}
	w.update(func(tx *store.Tx) error { tx.Set(keys.Chain(u), st.Encode()); return nil })
	return kbsig.UserVersion{UID: u, Eldest: eldest}
}

// anybody judges a chain that nobody attacks.
type anybody struct{ by kbsig.UserVersion }

func (a anybody) Device(kbsig.UID, kbsig.KID) (kbsig.Seqno, bool, error) {
	return a.by.Eldest, true, nil
}
func (a anybody) Username(kbsig.UID) (kbsig.Username, error)  { return "alice", nil }
func (a anybody) Root(teamchain.RootRef) error                { return nil }
func (a anybody) Team(kbsig.TeamID) (*teamchain.State, error) { return nil, nil }
func (a anybody) Hidden(kbsig.TeamID) (int64, error)          { return 0, nil }

// create makes the team, of which alice is an owner.
func (w *world) create(roles map[string][]string) {
	by := w.person("alice", 1, true)
	name, err := kbsig.ParseTeamName("acme")
	w.must(err)
	w.team = kbsig.TeamIDOf(name, false)
	type obj = map[string]any
	members := obj{}
	var uvs []kbsig.UserVersion
	index := map[kbsig.UserVersion]teamchain.Role{}
	for _, role := range []teamchain.Role{teamchain.RoleOwner, teamchain.RoleAdmin, teamchain.RoleWriter, teamchain.RoleReader, teamchain.RoleBot, teamchain.RoleRestrictedBot} {
		list := []string{}
		for _, n := range roles[role.String()] {
			uv := w.person(n, 1, true)
			uvs, index[uv] = append(uvs, uv), role
			list = append(list, uv.String())
		}
		members[role.String()] = list
	}
	device, ptk := ed25519.NewKeyFromSeed(make([]byte, 32)), ed25519.NewKeyFromSeed([]byte(strings.Repeat("p", 32)))
	dh, err := ecdh.X25519().NewPrivateKey([]byte(strings.Repeat("d", 32)))
	w.must(err)
	kid := kbsig.KIDOfPrivate(device).String()
	key := obj{
		"generation": 1, "encryption_kid": kbsig.NewKID(kbsig.KIDTypeDH, [32]byte(dh.PublicKey().Bytes())).String(),
		"signing_kid": kbsig.KIDOfPrivate(ptk).String(), "reverse_sig": nil,
	}
	doc := obj{
		"body": obj{
			"key":         obj{"kid": kid, "eldest_kid": kid, "uid": by.UID.String(), "username": "alice", "host": "keybase.io"},
			"merkle_root": obj{"ctime": 1700000000, "seqno": 1, "hash": strings.Repeat("ab", 64), "hash_meta": strings.Repeat("ab", 32)},
			"team":        obj{"id": w.team.String(), "name": "acme", "members": members, "per_team_key": key},
			"type":        "team.root", "version": 2,
		},
		"client": obj{"name": "keybase.io go client", "version": "6.3.0"},
		"ctime":  1700000000, "expire_in": 504576000, "prev": nil, "seq_type": 3, "seqno": 1, "tag": "signature",
	}
	inner, err := json.Marshal(doc)
	w.must(err)
	key["reverse_sig"] = base64.StdEncoding.EncodeToString(kbsig.SignPacket(ptk, inner))
	inner, err = json.Marshal(doc)
	w.must(err)
	curr := sha256.Sum256(inner)
	outer := append(append([]byte{0x97, 2, 1, 0xc0, 0xc4, 32}, curr[:]...), byte(kbsig.LinkTeamRoot), 3, 0xc2)
	l, err := teamchain.Parse(teamchain.Posted{
		Sig: base64.StdEncoding.EncodeToString(kbsig.SignPacket(device, outer)), SigInner: string(inner), SigningKID: kid,
		Type: "team.root", TeamID: w.team.String(), SeqType: 3, Version: 2,
	})
	w.must(err)
	after, err := teamchain.CheckBatch([]*teamchain.Link{l}, anybody{by})
	w.must(err)
	w.update(func(tx *store.Tx) error {
		tx.Set(keys.TeamChain(w.team), after[w.team].Header())
		after[w.team].ChangedRows(func(name, value []byte) { tx.Set(keys.TeamRow(w.team, name), value) })
		store.Save(tx, keys.TeamFacts(w.team), teams.Facts{Part: "acme"})
		for _, uv := range uvs {
			store.Save(tx, keys.Membership(uv.UID, w.team), struct {
				Role   teamchain.Role `codec:"r"`
				Eldest kbsig.Seqno    `codec:"e"`
			}{index[uv], uv.Eldest})
		}
		return nil
	})
}

// work does what is due, and says whom it has told what.
func (w *world) work(d time.Duration) string {
	w.clock.Advance(d)
	for range 100 {
		n, err := w.jobs.RunDue(context.Background())
		w.must(err)
		if n == 0 {
			return w.news()
		}
	}
	w.t.Fatal("the queue has no end of work")
	return ""
}

func (w *world) news() string {
	v := w.st.View()
	defer v.Close()
	var lines []string
	n := 0
	err := v.Scan(keys.Events(), keys.End(keys.Events()), func(_, b []byte) error {
		r, err := store.Decode[events.Record](b)
		if n++; err != nil || n <= w.told {
			return err
		}
		line := w.names[r.To] + " " + r.Category
		if r.Body != nil {
			line += " " + string(r.Body)
		}
		if len(r.Ends) > 0 {
			line += fmt.Sprintf(", %d taken back", len(r.Ends))
		}
		lines = append(lines, line)
		return nil
	})
	w.must(err)
	w.told = n
	slices.Sort(lines)
	if len(lines) == 0 {
		return "nothing\n"
	}
	return strings.Join(lines, "\n") + "\n"
}
