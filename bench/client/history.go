package client

// memoryOf returns the memory of a user, new or old.
func (v *Verifier) memoryOf(uid UID) *memory {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := v.users[uid]
	if m == nil {
		m = &memory{links: make(map[Seqno]LinkID)}
		v.users[uid] = m
	}
	return m
}

// Forget drops cached objects and links of a user, so that the next load asks
// for everything. What was seen still binds the server.
func (v *Verifier) Forget(uid UID) {
	m := v.memoryOf(uid)
	m.loading.Lock()
	defer m.loading.Unlock()
	m.basics, m.chain = nil, nil
}

// remember compares a leaf with the user's other leaves: in a younger root a leaf
// may only have moved forward. Answers may arrive out of order.
// client: go/libkb/sig_chain.go:CheckFreshness
func (v *Verifier) remember(l *Lookup) error {
	m := v.memoryOf(l.UID)
	subject := "leaf of " + l.UID.String()
	v.mu.Lock()
	defer v.mu.Unlock()
	if l.Username != "" {
		if m.name != "" && m.name != l.Username {
			return violated(RuleUsername, subject, "%q was called %q", l.Username, m.name)
		}
		m.name = l.Username
	}
	if t := l.Leaf.Public; t != nil {
		if id, ok := m.links[t.Seqno]; ok && id != t.LinkID {
			return violated(RuleLeafHistory, subject, "link %d is %s, was %s", t.Seqno, t.LinkID, id)
		}
		m.links[t.Seqno] = t.LinkID
	}
	older, younger := m.leaf, l.Leaf
	if l.Root.Seqno < m.root {
		older, younger = l.Leaf, m.leaf
	}
	if m.seen {
		if why := moved(older, younger); why != "" {
			return violated(RuleLeafHistory, subject, "between root %d and root %d: %s", m.root, l.Root.Seqno, why)
		}
		if l.Root.Seqno == m.root && !sameLeaf(older, younger) {
			return violated(RuleLeafHistory, subject, "two leaves in root %d", m.root)
		}
	}
	if l.Root.Seqno >= m.root {
		m.seen, m.root, m.leaf = true, l.Root.Seqno, l.Leaf
	}
	return nil
}

func sameLeaf(a, b Leaf) bool {
	if (a.Public == nil) != (b.Public == nil) || (a.Public != nil && *a.Public != *b.Public) {
		return false
	}
	a.Public, b.Public = nil, nil
	return a == b
}

// moved says what is wrong with the step from an older to a younger leaf.
func moved(older, younger Leaf) string {
	switch {
	case older.Exists && !younger.Exists:
		return "it disappeared"
	case younger.tailSeqno() < older.tailSeqno():
		return "the chain became shorter"
	case younger.ResetSeqno < older.ResetSeqno:
		return "a reset was undone"
	case younger.ResetSeqno == older.ResetSeqno && younger.ResetHash != older.ResetHash:
		return "the reset chain changed"
	}
	if younger.tailSeqno() != older.tailSeqno() || older.Public == nil {
		return ""
	}
	switch {
	case *younger.Public != *older.Public:
		return "the tail changed"
	case younger.ResetSeqno == older.ResetSeqno && younger.Eldest != older.Eldest:
		return "the eldest key changed without a link"
	case younger.ResetSeqno > older.ResetSeqno && !younger.Eldest.IsZero():
		return "a reset left an eldest key"
	}
	return ""
}

// rememberLinks compares link ids with those seen before.
// client: go/libkb/sig_chain.go:checkUnstubs
func (v *Verifier) rememberLinks(subject string, m *memory, links []*Link) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range links {
		if id, ok := m.links[l.Seqno]; ok && id != l.ID {
			return violated(RuleChainHistory, subject, "link %d is %s, was %s", l.Seqno, l.ID, id)
		}
	}
	for _, l := range links {
		m.links[l.Seqno] = l.ID
	}
	return nil
}
