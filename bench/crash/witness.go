package main

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/keystead/keystead/bench/client"
)

// pollInterval is how often the witness asks for the newest root.
const pollInterval = 15 * time.Millisecond

// witness stands outside: it remembers every root that came over the wire, whoever
// asked for it, and asks by itself all the time. It shares nothing with the
// verifiers of the clients but the reading of a signature packet. Its memory is that
// of the whole run, over all crashes: one number, one root, for ever.
type witness struct {
	found func(k kind, format string, args ...any)
	file  io.Writer // every root once, a line each

	mu      sync.Mutex
	kid     string // the key that signs the roots, once known
	roots   map[int64]sighting
	order   []int64 // numbers of roots with a time, ascending
	newest  int64   // of what was told to be the newest
	polls   []poll
	payload string // of the newest root that a poll brought
	teams   map[teamSighting]teamSight
}

// sighting is what is known of one root. Only the hash is known of one that was but
// named in a younger root's skip table.
type sighting struct {
	hash  string // SHA-256 of the payload in hex: hash_meta
	long  string // SHA-512 of the payload in hex, "" if the payload was not seen
	ctime int64  // unix seconds
}

// poll is one question for the newest root, in positions of the ledger.
type poll struct {
	begun, done int64
	seqno       int64
}

func newWitness(file io.Writer, found func(kind, string, ...any)) *witness {
	return &witness{found: found, file: file, roots: make(map[int64]sighting), teams: make(map[teamSighting]teamSight)}
}

// rootReply is a root as merkle/root, and merkle/path in its field root, carry it.
type rootReply struct {
	Seqno   int64     `json:"seqno"`
	Payload string    `json:"payload_json"`
	Skips   *[]string `json:"skips"`
	Sigs    map[string]struct {
		Sig string `json:"sig"`
	} `json:"sigs"`
	Root *rootReply `json:"root"`
}

// rootPayload is what the witness reads out of a root.
type rootPayload struct {
	Ctime int64 `json:"ctime"`
	Body  struct {
		Seqno int64             `json:"seqno"`
		Prev  string            `json:"prev"`
		Skips map[string]string `json:"skips"`
	} `json:"body"`
}

// clone is a witness that knows as much and goes its own way from here.
func (w *witness) clone() *witness {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &witness{
		found: w.found, file: w.file, kid: w.kid, roots: maps.Clone(w.roots), order: slices.Clone(w.order),
		newest: w.newest, payload: w.payload, teams: maps.Clone(w.teams),
	}
}

// expect pins the key that signs the roots: the first one told is the only one.
func (w *witness) expect(kid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kid == "" {
		w.kid = kid
	}
	if w.kid != kid {
		w.found(forked, "the server signs with %s, it was %s", kid, w.kid)
	}
}

// newestSeqno is the highest number that was ever told to be the newest.
func (w *witness) newestSeqno() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest
}

// span is the lowest and the highest root whose payload was seen.
func (w *witness) span() (low, high int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) == 0 {
		return 0, 0
	}
	return w.order[0], w.order[len(w.order)-1]
}

// wire looks at an answer on the wire; seen is newestSeqno from before the question, team
// whose leaf was asked for, "" for others.
func (w *witness) wire(endpoint string, seen int64, team string, body []byte) {
	if endpoint != "merkle/root" && endpoint != "merkle/path" {
		return
	}
	var r rootReply
	if err := json.Unmarshal(body, &r); err != nil {
		return // a refusal or an answer that the client will complain about
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if endpoint == "merkle/root" {
		w.isNewest(&r, seen)
		w.take(&r, "")
		return
	}
	if r.Root != nil {
		w.take(r.Root, "")
	}
	if team != "" {
		w.sees(team, body)
	}
	for _, p := range r.skips() {
		w.remember(p)
	}
}

func (r *rootReply) skips() []string {
	if r.Skips == nil {
		return nil
	}
	return *r.Skips
}

func (w *witness) isNewest(r *rootReply, seen int64) {
	if r.Seqno == 0 {
		return // a refusal
	}
	if r.Seqno < seen {
		w.found(forked, "the newest root is told to be %d, it was %d before", r.Seqno, seen)
	}
	w.newest = max(w.newest, r.Seqno)
}

// take remembers the root of an answer and, if older is the payload of the root that
// was asked from, verifies the way back to it. It returns the payload.
func (w *witness) take(r *rootReply, older string) {
	if r.Payload == "" {
		return
	}
	p := w.remember(r.Payload)
	if p == nil {
		return
	}
	if p.Body.Seqno != r.Seqno {
		w.found(forked, "an answer about root %d carries root %d", r.Seqno, p.Body.Seqno)
	}
	if len(r.Sigs) > 0 {
		if err := w.checkSig(r); err != nil {
			w.found(forked, "root %d: %v", r.Seqno, err)
		}
	}
	chain := []*rootPayload{p}
	hashes := []string{hashOf(r.Payload)}
	way := r.skips()
	if older != "" {
		way = append(slices.Clone(way), older)
	}
	for _, payload := range way {
		p := w.remember(payload)
		if p == nil {
			return
		}
		chain, hashes = append(chain, p), append(hashes, hashOf(payload))
	}
	for i := range len(chain) - 1 {
		if got := chain[i].Body.Skips[strconv.FormatInt(chain[i+1].Body.Seqno, 10)]; got != hashes[i+1] {
			w.found(forked, "root %d names %q where the way goes on to root %d, %s", chain[i].Body.Seqno, got, chain[i+1].Body.Seqno, hashes[i+1])
		}
	}
}

// checkSig verifies the signature by the pinned key.
func (w *witness) checkSig(r *rootReply) error {
	s, ok := r.Sigs[w.kid]
	if !ok {
		return fmt.Errorf("no signature by %s", w.kid)
	}
	raw, err := base64.StdEncoding.DecodeString(s.Sig)
	if err != nil {
		return err
	}
	p, err := client.ParsePacket(raw)
	if err != nil {
		return err
	}
	if string(p.Payload) != r.Payload {
		return errors.New("the signature is over another payload")
	}
	kid, err := p.Verify()
	if err == nil && kid.String() != w.kid {
		err = fmt.Errorf("signed by %s", kid)
	}
	return err
}

// remember compares a payload with everything known and adds it.
func (w *witness) remember(payload string) *rootPayload {
	p := new(rootPayload)
	if err := json.Unmarshal([]byte(payload), p); err != nil || p.Body.Seqno < 1 {
		w.found(forked, "a root's payload does not read: %v", err)
		return nil
	}
	n := p.Body.Seqno
	long := sha512.Sum512([]byte(payload))
	s := sighting{hash: hashOf(payload), long: hex.EncodeToString(long[:]), ctime: p.Ctime}
	old, known := w.roots[n]
	if known && old.hash != s.hash {
		w.found(forked, "two roots %d: %s and %s", n, old.hash, s.hash)
		return p
	}
	for k, hash := range p.Body.Skips {
		w.named(n, k, hash)
	}
	if known && old.long != "" {
		return p
	}
	w.neighbours(n, s, p.Body.Prev)
	w.roots[n] = s
	if _, err := fmt.Fprintf(w.file, "{\"seqno\":%d,\"hash_meta\":%q,\"hash\":%q,\"ctime\":%d}\n", n, s.hash, s.long, s.ctime); err != nil {
		w.found(wrong, "the witness cannot write: %v", err)
	}
	return p
}

// named takes note of an older root that root n names; all zeros is one before the
// first.
func (w *witness) named(n int64, k, hash string) {
	at, err := strconv.ParseInt(k, 10, 64)
	if err != nil || at >= n {
		w.found(forked, "root %d names root %q", n, k)
		return
	}
	old, known := w.roots[at]
	switch {
	case known && old.hash != hash:
		w.found(forked, "root %d says that root %d is %s, it was %s", n, at, hash, old.hash)
	case !known && hash != zeroHash:
		w.roots[at] = sighting{hash: hash}
	}
}

var zeroHash = hex.EncodeToString(make([]byte, sha256.Size))

// neighbours checks time against the nearest roots known on both sides, and prev
// against the root just before.
func (w *witness) neighbours(n int64, s sighting, prev string) {
	i, _ := slices.BinarySearch(w.order, n)
	if i > 0 {
		if before := w.order[i-1]; w.roots[before].ctime > s.ctime {
			w.found(forked, "time goes back from root %d to root %d, %d to %d", before, n, w.roots[before].ctime, s.ctime)
		}
	}
	if i < len(w.order) {
		if after := w.order[i]; w.roots[after].ctime < s.ctime {
			w.found(forked, "time goes back from root %d to root %d, %d to %d", n, after, s.ctime, w.roots[after].ctime)
		}
	}
	if before := w.roots[n-1]; before.long != "" && before.long != prev {
		w.found(forked, "root %d follows %q, root %d is %s", n, prev, n-1, before.long)
	}
	w.order = slices.Insert(w.order, i, n)
}

func hashOf(payload string) string {
	sum := sha256.Sum256([]byte(payload))
	return hex.EncodeToString(sum[:])
}

// watch polls until ctx ends, with position telling where the ledger is. What the
// server does not answer is no concern of the witness.
func (w *witness) watch(ctx context.Context, base string, position func() int64) {
	c := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	defer c.CloseIdleConnections()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		w.ask(ctx, c, base, position)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ask asks once for the newest root and the way back to the one it knows.
func (w *witness) ask(ctx context.Context, c *http.Client, base string, position func() int64) {
	w.mu.Lock()
	older, seen := w.payload, w.newest
	w.mu.Unlock()
	target := base + apiPrefix + "merkle/root.json?c=1"
	if older != "" {
		var p rootPayload
		if json.Unmarshal([]byte(older), &p) == nil {
			target += "&skip_last=1&last=" + strconv.FormatInt(p.Body.Seqno, 10)
		}
	}
	begun := position()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return
	}
	resp, err := c.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var r rootReply
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &r) != nil || r.Seqno == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isNewest(&r, seen)
	w.polls = append(w.polls, poll{begun, position(), r.Seqno})
	if r.Payload == "" {
		return // nothing new
	}
	w.take(&r, older)
	w.payload = r.Payload
}

// takePolls hands over the polls since the last call.
func (w *witness) takePolls() []poll {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.polls
	w.polls = nil
	return out
}
