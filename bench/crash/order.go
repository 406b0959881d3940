package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/keystead/keystead/bench/client"
)

// placedMax is how many requests of a cycle are looked for in the roots.
const placedMax = 12

// placed is an acknowledged request with the root in which it first stands.
type placed struct {
	user *userBook // nil: it is about teams
	a    *attempt
	root int64
}

// order takes some of a cycle's acknowledged requests, finds by questions about the
// past in which root each first stands, and compares that with the order of events
// in the ledger, over all users: what was acknowledged before something else was
// sent may not stand in a later root, and every root that was told to be the newest
// holds all that had been acknowledged and nothing that had not yet been sent.
//
// teams are requests about teams, placed already. from and to are the cycle's part of the
// ledger, base a root from before it.
func (c *checker) order(ctx context.Context, users []*userBook, teams []placed, from, to, base int64, polls []poll, rng *rand.Rand) error {
	var all []placed
	for _, u := range users {
		posted := make(map[string]bool)
		for _, a := range u.posts {
			first := a.facts.Links[0].ID
			if a.outcome == wasAcked && a.sent > from && a.done <= to && !posted[first] {
				all = append(all, placed{user: u, a: a})
			}
			posted[first] = true // a repeat stands where the first one does
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:min(len(all), placedMax)]
	for i := range all {
		root, err := c.rootOf(ctx, all[i], base)
		if err != nil {
			return err
		}
		if all[i].root = root; root == 0 {
			return nil // the chain was found too short already
		}
	}
	compareOrders(c.judge, append(all, teams...), polls)
	return nil
}

// compareOrders compares the order in the ledger with that of the roots.
func compareOrders(j *judge, all []placed, polls []poll) {
	for _, x := range all {
		for _, y := range all {
			if x.a.done < y.a.sent && x.root > y.root {
				j.found(reordered, "request %d was acknowledged before request %d was sent, but they stand in roots %d and %d", x.a.n, y.a.n, x.root, y.root)
			}
		}
		for _, p := range polls {
			switch {
			case x.a.done < p.begun && x.root > p.seqno:
				j.found(reordered, "request %d had been acknowledged when root %d was told to be the newest, but it stands in root %d", x.a.n, p.seqno, x.root)
			case p.done < x.a.sent && x.root <= p.seqno:
				j.found(reordered, "request %d was sent after root %d was seen, but it stands in root %d", x.a.n, p.seqno, x.root)
			}
		}
	}
}

// rootOf is the first root after base in which a request's links stand, by halving.
func (c *checker) rootOf(ctx context.Context, x placed, base int64) (int64, error) {
	newest, err := c.v.RefreshRoot(ctx)
	if err != nil {
		return 0, c.blame(x.user, "refresh the root for", err)
	}
	want := x.a.facts.Links[len(x.a.facts.Links)-1].Seqno
	low, high := client.Seqno(base), newest.Seqno // not in low, in high
	for first := true; high-low > 1 || first; first = false {
		mid := low + (high-low)/2
		if first {
			mid = high
		}
		_, leaf, err := c.v.UserLeafAt(ctx, client.UIDOf(x.user.name), client.At{Seqno: mid})
		if err != nil {
			return 0, c.blame(x.user, fmt.Sprintf("ask about root %d for", mid), err)
		}
		stands := leaf.Public != nil && int64(leaf.Public.Seqno) >= want
		switch {
		case first && !stands:
			return 0, nil
		case stands:
			high = mid
		default:
			low = mid
		}
	}
	return int64(high), nil
}
