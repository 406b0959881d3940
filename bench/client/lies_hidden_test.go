package client

import (
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
)

// hiddenScene is a team scene in which acme was rotated twice on its hidden chain, to
// which the newest visible link commits.
func newHiddenScene(s *scene) (*teamScene, error) {
	t, err := newTeamScene(s)
	if err != nil {
		return nil, err
	}
	ctx := s.t.Context()
	for range 2 {
		if t.acme, err = s.alice.RotateTeamHidden(ctx, t.acme); err != nil {
			return nil, err
		}
	}
	t.acme, err = s.alice.ChangeTeam(ctx, t.acme, TeamChange{Roles: map[UserVersion]TeamRole{s.bob.Version(): RoleReader}})
	return t, err
}

func hiddenLie(rule Rule, name string, act func(s *teamScene) error) lie {
	return lie{rule, name, func(s *scene) error {
		t, err := newHiddenScene(s)
		if err != nil {
			return err
		}
		return act(t)
	}}
}

// served changes the answer of team/get about acme.
func served(rule Rule, name string, f func(s *teamScene, reply map[string]any)) lie {
	return hiddenLie(rule, name, func(s *teamScene) error {
		s.on("team/get", func(q url.Values, reply map[string]any) {
			if q.Get("id") == s.acme.ID.String() {
				f(s, reply)
			}
		})
		return s.fresh(s.acme.ID)
	})
}

// proven changes what the newest root is said to hold of a team.
func proven(name string, team func(s *teamScene) TeamID, f func(s *teamScene, reply map[string]any)) lie {
	return hiddenLie(RuleBlind, name, func(s *teamScene) error {
		id := team(s)
		s.on("merkle/path", func(q url.Values, reply map[string]any) {
			if q.Get("leaf_id") == id.String() && q.Get("start_hash_meta")+q.Get("start_seqno") == "" {
				f(s, reply)
			}
		})
		return s.fresh(id)
	})
}

// fromBelow has bob, who is in the subteam only, read acme as its member, and changes what
// he gets of the hidden chain.
func fromBelow(name string, f func(s *teamScene, reply map[string]any)) lie {
	return hiddenLie(RuleHidden, name, func(s *teamScene) error {
		if err := s.moveBelow(); err != nil {
			return err
		}
		s.on("team/get", func(q url.Values, reply map[string]any) {
			if q.Get("id") == s.acme.ID.String() && q.Get("read_subteam_id") != "" {
				f(s, reply)
			}
		})
		_, err := s.bob.LoadTeam(s.t.Context(), s.dev.ID, TeamOptions{Fresh: true})
		return err
	})
}

// moveBelow makes bob a writer of the subteam and nothing in acme.
func (s *teamScene) moveBelow() (err error) {
	ctx, u := s.t.Context(), s.bob.Version()
	if s.dev, err = s.alice.ChangeTeam(ctx, s.dev, TeamChange{Roles: map[UserVersion]TeamRole{u: RoleWriter}}); err != nil {
		return err
	}
	s.acme, err = s.alice.ChangeTeam(ctx, s.acme, TeamChange{Roles: map[UserVersion]TeamRole{u: RoleNone}, Rotate: true})
	s.mu.Lock()
	delete(s.teams[s.acme.ID].boxes, s.bob.UID)
	s.mu.Unlock()
	return err
}

func acme(s *teamScene) TeamID { return s.acme.ID }
func dev(s *teamScene) TeamID  { return s.dev.ID }

// rebuilt is the newest hidden link, changed and signed anew by alice and the new key.
func (s *teamScene) rebuilt(f func(l *HiddenLink)) map[string]any {
	list := s.teams[s.acme.ID].hidden
	j := list[len(list)-1].(map[string]any)
	l, err := ParseHidden(j["i"].(string), j["o"].(string), j["s"].(string))
	if err != nil {
		panic(err)
	}
	f(l)
	l.Build(s.alice.Device.Sig, s.acme.Key().Sig)
	return map[string]any{"i": l.Inner, "o": l.Outer, "s": l.Sig}
}

// announced is committed, with no visible link that commits to what is changed.
func announced(name string, f func(s *teamScene, l *HiddenLink)) lie {
	return teamLie(RuleTeamKey, name, func(s *teamScene) (err error) {
		if s.acme, err = s.alice.RotateTeamHidden(s.t.Context(), s.acme); err != nil {
			return err
		}
		return s.commit(s.rebuilt(func(l *HiddenLink) { f(s, l) }))
	})
}

// committed has the world publish such a link in place of the honest one.
func committed(rule Rule, name string, f func(s *teamScene, l *HiddenLink)) lie {
	return hiddenLie(rule, name, func(s *teamScene) error {
		return s.commit(s.rebuilt(func(l *HiddenLink) { f(s, l) }))
	})
}

// commit publishes a root that commits to another newest link, or to none in its place,
// and loads the team.
func (s *teamScene) commit(newest ...any) error {
	s.mu.Lock()
	t := s.teams[s.acme.ID]
	t.hidden = append(slices.Clone(t.hidden[:len(t.hidden)-1]), newest...)
	s.publish(nil)
	s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return err
	}
	return s.fresh(s.acme.ID)
}

func hiddenOf(r map[string]any) []any { return r["hidden"].([]any) }

// halfOf is a part of the second link, damaged.
func halfOf(part string) func(*teamScene, map[string]any) {
	return func(_ *teamScene, r map[string]any) {
		l := map[string]any{}
		for k, v := range hiddenOf(r)[1].(map[string]any) {
			l[k] = v
		}
		b, _ := unbase64(l[part].(string))
		b[len(b)/2] ^= 1
		l[part] = b64(b)
		r["hidden"] = []any{hiddenOf(r)[0], l}
	}
}

var hiddenLies = []lie{
	served(RuleHidden, "the newest link withheld", func(_ *teamScene, r map[string]any) { r["hidden"] = hiddenOf(r)[:1] }),
	served(RuleHidden, "the whole chain withheld", func(_ *teamScene, r map[string]any) { r["hidden"] = []any{} }),
	served(RuleHidden, "the first link withheld", func(_ *teamScene, r map[string]any) { r["hidden"] = hiddenOf(r)[1:] }),
	served(RuleHidden, "a link twice", func(_ *teamScene, r map[string]any) { r["hidden"] = append(hiddenOf(r), hiddenOf(r)[1]) }),
	served(RuleHidden, "the other way round", func(_ *teamScene, r map[string]any) {
		r["hidden"] = []any{hiddenOf(r)[1], hiddenOf(r)[0]}
	}),
	served(RuleHidden, "a link without what it says", func(_ *teamScene, r map[string]any) {
		r["hidden"] = []any{hiddenOf(r)[0], map[string]any{"o": hiddenOf(r)[1].(map[string]any)["o"]}}
	}),
	served(RuleHidden, "a forked chain", func(s *teamScene, r map[string]any) {
		r["hidden"] = []any{hiddenOf(r)[0], s.rebuilt(func(l *HiddenLink) { l.Ctime++ })}
	}),
	served(RuleHidden, "another inside", halfOf("i")),
	served(RuleHidden, "another outside", halfOf("o")),
	served(RuleHidden, "a signature of nobody", halfOf("s")),
	served(RuleHidden, "a link that is no object", func(_ *teamScene, r map[string]any) { r["hidden"] = []any{"link"} }),
	fromBelow("what a link says, told to somebody from below", func(s *teamScene, r map[string]any) {
		r["hidden"] = slices.Clone(s.teams[s.acme.ID].hidden)
	}),
	fromBelow("a link withheld from somebody from below", func(_ *teamScene, r map[string]any) { r["hidden"] = hiddenOf(r)[:1] }),
	fromBelow("links in another order for somebody from below", func(_ *teamScene, r map[string]any) {
		r["hidden"] = []any{hiddenOf(r)[1], hiddenOf(r)[0]}
	}),
	hiddenLie(RuleHidden, "a newest link that does not come", func(s *teamScene) error {
		s.on("merkle/path", func(q url.Values, reply map[string]any) {
			if q.Get("leaf_id") == s.acme.ID.String() {
				reply["last_hidden_seqno"] = 3
			}
		})
		return s.fresh(s.acme.ID)
	}),
	hiddenLie(RuleTeamKey, "a box for a restricted bot", func(s *teamScene) error {
		ctx := s.t.Context()
		t, err := s.alice.ChangeTeam(ctx, s.acme, TeamChange{Roles: map[UserVersion]TeamRole{s.bob.Version(): RoleRestrictedBot}})
		if err != nil {
			return err
		}
		_, err = s.bob.LoadTeam(ctx, t.ID, TeamOptions{Fresh: true})
		return err
	}),
	committed(RuleHidden, "a number too far", func(_ *teamScene, l *HiddenLink) { l.Seqno++ }),
	committed(RuleHidden, "after another link", func(_ *teamScene, l *HiddenLink) { l.Prev[3] ^= 1 }),
	committed(RuleHidden, "of another team", func(s *teamScene, l *HiddenLink) { l.Team = s.dev.ID }),
	committed(RuleHidden, "on a visible link to come", func(_ *teamScene, l *HiddenLink) { l.Parent.Seqno += 9 }),
	committed(RuleHidden, "on another visible link", func(_ *teamScene, l *HiddenLink) { l.Parent.LinkID[5] ^= 1 }),
	committed(RuleHidden, "a generation again", func(_ *teamScene, l *HiddenLink) { l.Key.Generation-- }),
	committed(RuleHidden, "of a public team", func(_ *teamScene, l *HiddenLink) { l.Public = true }),
	committed(RuleHidden, "of an implicit team", func(_ *teamScene, l *HiddenLink) { l.Implicit = true }),
	announced("a seed check of another seed", func(_ *teamScene, l *HiddenLink) { l.Key.Check[0] ^= 1 }),
	announced("a key that the box does not hold", func(s *teamScene, l *HiddenLink) { l.Key.Enc = s.acme.Keys[1].Enc.KID() }),
	served(RuleTeamKey, "a box of an older generation", func(s *teamScene, r map[string]any) {
		box := map[string]any{}
		for k, v := range r["box"].(map[string]any) {
			box[k] = v
		}
		box["generation"] = 2
		r["box"] = box
	}),

	served(RuleRatchet, "no blinding keys", func(_ *teamScene, r map[string]any) { r["ratchet_blinding_keys"] = nil }),
	served(RuleRatchet, "a blinding key for another end", func(s *teamScene, r map[string]any) {
		r["ratchet_blinding_keys"] = EncodeBlinding(HiddenTail{1, LinkID{1}}, [32]byte{1})
	}),
	served(RuleRatchet, "a ratchet of another key", func(_ *teamScene, r map[string]any) {
		b, _ := unbase64(r["ratchet_blinding_keys"].(string))
		b[len(b)-10] ^= 1 // inside the ratchet
		r["ratchet_blinding_keys"] = b64(b)
	}),
	served(RuleRatchet, "blinding keys that are none", func(_ *teamScene, r map[string]any) { r["ratchet_blinding_keys"] = "AAAA" }),
	hiddenLie(RuleRatchet, "a chain shorter than a visible link says", func(s *teamScene) error {
		return s.commit()
	}),
	hiddenLie(RuleRatchet, "another chain than a visible link says", func(s *teamScene) error {
		return s.commit(s.rebuilt(func(l *HiddenLink) { l.Ctime++ }))
	}),
	hiddenLie(RuleRatchet, "a ratchet that is no hash", func(s *teamScene) error {
		edit := section(func(team map[string]any) { team["ratchets"] = []string{strings.Repeat("g", 64)} })
		return s.as(s.alice, edit, func() error { _, err := s.alice.RotateTeam(s.t.Context(), s.acme); return err })
	}),

	proven("no proof", acme, func(_ *teamScene, r map[string]any) { delete(r, "enc_value_with_proof") }),
	proven("nothing at all", acme, func(_ *teamScene, r map[string]any) {
		delete(r, "enc_value_with_proof")
		delete(r, "last_hidden_seqno")
	}),
	proven("a proof cut short", acme, func(_ *teamScene, r map[string]any) {
		b, _ := unbase64(r["enc_value_with_proof"].(string))
		r["enc_value_with_proof"] = b64(b[:len(b)-1])
	}),
	proven("absence of what is there", acme, func(s *teamScene, r map[string]any) {
		none := &blindTree{version: s.top().blind.version}
		r["enc_value_with_proof"] = none.proof(s.acme.ID)
	}),
	proven("absence beside another", acme, func(s *teamScene, r map[string]any) {
		other := &blindTree{version: s.top().blind.version, leaves: []blindLeaf{{s.dev.ID, []byte{1}}}}
		r["enc_value_with_proof"] = other.proof(s.acme.ID)
	}),
	proven("presence of what is not there", dev, func(s *teamScene, r map[string]any) {
		tail := HiddenTail{1, LinkID{1}}
		value := append([]byte{blindValueTeam, 0x91, 0x81, hiddenSeqType}, tail.pack(hiddenSeqType)...)
		other := &blindTree{version: s.top().blind.version, leaves: []blindLeaf{{s.dev.ID, value}}}
		r["enc_value_with_proof"], r["last_hidden_seqno"] = other.proof(s.dev.ID), 1
	}),
	proven("an older proof", acme, func(s *teamScene, r map[string]any) {
		i := slices.IndexFunc(s.roots, func(w *worldRoot) bool { return w.blind != nil })
		r["enc_value_with_proof"] = s.roots[i].blind.proof(s.acme.ID)
	}),
	proven("the proof of another team", dev, func(s *teamScene, r map[string]any) {
		r["enc_value_with_proof"], r["last_hidden_seqno"] = s.top().blind.proof(s.acme.ID), 2
	}),
	proven("another end than the tree holds", acme, func(s *teamScene, r map[string]any) {
		b, _ := unbase64(r["enc_value_with_proof"].(string))
		id := hiddenID(s.teams[s.acme.ID].hidden[1])
		text := strings.Replace(string(b), string(id[:]), strings.Repeat("x", len(id)), 1)
		r["enc_value_with_proof"] = b64([]byte(text))
	}),
	proven("no number of the newest link", acme, func(_ *teamScene, r map[string]any) { delete(r, "last_hidden_seqno") }),
	proven("a newest link before the one committed to", acme, func(_ *teamScene, r map[string]any) { r["last_hidden_seqno"] = 1 }),
	hiddenLie(RuleBlind, "a root that names another tree", func(s *teamScene) error {
		s.edited(func(_, body map[string]any) { body["blind_merkle_root_hash"] = hex.EncodeToString(make([]byte, 32)) })
		if err := s.refresh(); err != nil {
			return err
		}
		return s.fresh(s.acme.ID)
	}),
}
