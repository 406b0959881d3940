package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
)

// chainLinksMax bounds the links of one answer.
const chainLinksMax = 1 << 20

// fetchChain asks for the links after low and verifies that they continue the
// known chain. client: go/libkb/sig_chain.go:LoadFromServer, VerifyChain
func (v *Verifier) fetchChain(ctx context.Context, look *Lookup, m *memory, o LoadOptions) error {
	subject := "chain of " + look.Username
	if !o.Stubbed { // what came as a stub must be sent again in full
		for i, l := range m.chain {
			if l.Stubbed {
				m.chain = m.chain[:i]
				break
			}
		}
	}
	low := Seqno(len(m.chain))
	args := url.Values{"uid": {look.UID.String()}, "low": {fmt.Sprint(low)}, "read_deleted": {"0"}, "c3": {"1"}}
	if o.Stubbed {
		args.Set("c3", "2")
	}
	reply, err := v.srv.Get(ctx, "sig/get", args, o.Credential)
	if err != nil {
		return err
	}
	var entries []json.RawMessage
	if err := reply.into("sigs", &entries); err != nil {
		return err
	}
	if len(entries) > chainLinksMax {
		return violated(RuleReply, subject, "%d links", len(entries))
	}
	links := make([]*Link, 0, len(entries))
	for i, raw := range entries {
		l, err := parseEntry(fmt.Sprintf("link %d of %s", low+Seqno(i)+1, look.Username), raw)
		if err != nil {
			return err
		}
		if l.Seqno <= low && len(links) == 0 {
			continue // tolerated by the stock client
		}
		if l.Stubbed && !o.Stubbed {
			return violated(RuleStub, l.subject(), "stub although the full link was asked for")
		}
		links = append(links, l)
	}
	all := append(m.chain[:len(m.chain):len(m.chain)], links...)
	if err := checkSequence(look, all, int(low)); err != nil {
		return err
	}
	if err := v.checkQuotes(links, look); err != nil {
		return err
	}
	if err := checkTail(look, all); err != nil {
		return err
	}
	if err := v.rememberLinks(subject, m, links); err != nil {
		return err
	}
	m.chain = all
	return nil
}

// checkSequence verifies names, numbers, hashes and high skips from link low+1 on.
func checkSequence(look *Lookup, all []*Link, low int) error {
	for i := low; i < len(all); i++ {
		l := all[i]
		subject := fmt.Sprintf("link %d of %s", i+1, look.Username)
		if l.Seqno != Seqno(i+1) {
			return violated(RuleSeqno, subject, "it says it is link %d", l.Seqno)
		}
		var prev LinkID
		if i > 0 {
			prev = all[i-1].ID
		}
		if l.Prev != prev {
			return violated(RulePrevLink, subject, "prev %s, but link %d is %s", l.Prev, i, prev)
		}
		if !l.Stubbed && (l.UID != look.UID || l.Username != look.Username) {
			return violated(RuleLinkOwner, subject, "it belongs to %s (%s)", l.Username, l.UID)
		}
	}
	return checkHighSkips(look, all)
}

// checkHighSkips replays which link each one should skip to.
// client: go/libkb/sig_chain.go:VerifyChain
func checkHighSkips(look *Lookup, all []*Link) error {
	var want highSkip
	for _, l := range all {
		if l.highSkip != nil && *l.highSkip != want {
			return violated(RuleHighSkip, fmt.Sprintf("link %d of %s", l.Seqno, look.Username),
				"skips to %d, not to %d", l.highSkip.seqno, want.seqno)
		}
		if l.Seqno == 1 || highType(l.TypeNum) {
			want = highSkip{l.Seqno, l.ID}
		}
	}
	return nil
}

// checkQuotes compares the roots that links quote with the roots that are known.
func (v *Verifier) checkQuotes(links []*Link, look *Lookup) error {
	for _, l := range links {
		if l.Stubbed {
			continue
		}
		q := l.Merkle
		if l.Seqno <= look.Leaf.tailSeqno() && q.Seqno > look.Root.Seqno {
			return violated(RuleLinkMerkle, l.subject(), "quotes root %d, but is in root %d", q.Seqno, look.Root.Seqno)
		}
		r, ok := v.Witness.seen(q.Seqno)
		if !ok {
			continue
		}
		if r.HashMeta != q.HashMeta || (r.Hash512 != "" && r.Node != l.node) {
			return violated(RuleLinkMerkle, l.subject(), "root %d is %s, not %s", q.Seqno, r.HashMeta, q.HashMeta)
		}
	}
	return nil
}

// checkTail verifies that the chain reaches what the leaf says and that the links
// it needs are whole. client: go/libkb/chain_link.go:checkAgainstMerkleTree
func checkTail(look *Lookup, chain []*Link) error {
	t := look.Leaf.Public
	if t == nil {
		return nil
	}
	subject := "chain of " + look.Username
	if Seqno(len(chain)) < t.Seqno {
		return violated(RuleTail, subject, "%d links, leaf says %d", len(chain), t.Seqno)
	}
	last := chain[t.Seqno-1]
	switch {
	case last.Stubbed:
		return violated(RuleStub, subject, "the tail is a stub")
	case last.ID != t.LinkID:
		return violated(RuleTail, subject, "link %d is %s, leaf says %s", t.Seqno, last.ID, t.LinkID)
	case last.SigID != t.SigID:
		return violated(RuleTail, subject, "signature %d is %s, leaf says %s", t.Seqno, last.SigID, t.SigID)
	}
	return nil
}

// playChain replays all incarnations up to the leaf's tail and returns the
// current one, nil when the user has none.
// client: go/libkb/sig_chain.go:VerifySigsAndComputeKeys
func playChain(look *Lookup, chain []*Link, b *basics) (current *Family, past []*Family, err error) {
	subject := "chain of " + look.Username
	p := player{bundles: b.bundles, pgp: b.pgp, used: make(map[KID]bool), devices: make(map[DeviceID]bool)}
	for _, l := range chain[:look.Leaf.tailSeqno()] {
		if err := p.play(l); err != nil {
			return nil, nil, err
		}
	}
	for i, f := range p.families[:max(len(p.families)-1, 0)] {
		next := p.families[i+1]
		if !hasReset(look.Resets, next.First-1, f.Eldest) {
			return nil, nil, violated(RuleEldest, subject, "a new eldest key at link %d without a reset", next.First)
		}
	}
	last := p.now()
	switch {
	case look.Leaf.Eldest.IsZero() && last == nil:
		return nil, nil, nil
	case look.Leaf.Eldest.IsZero():
		if !hasReset(look.Resets, look.Leaf.tailSeqno(), last.Eldest) {
			return nil, nil, violated(RuleEldest, subject, "the leaf has no eldest key, and there was no reset")
		}
		return nil, p.families, nil
	case last == nil || last.Eldest != look.Leaf.Eldest:
		return nil, nil, violated(RuleEldest, subject, "the leaf says %s, the chain another", look.Leaf.Eldest)
	case hasReset(look.Resets, look.Leaf.tailSeqno(), last.Eldest):
		return nil, nil, violated(RuleEldest, subject, "a reset after the tail left an eldest key")
	}
	return last, p.families[:len(p.families)-1], nil
}

// hasReset reports a reset that ended an incarnation at a given tail.
func hasReset(resets []ResetLink, tail Seqno, eldest KID) bool {
	for _, r := range resets {
		if r.Public == tail && r.Eldest == eldest {
			return true
		}
	}
	return false
}
