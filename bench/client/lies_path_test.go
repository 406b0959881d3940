package client

import (
	"fmt"
	"net/url"
	"strings"
)

func nodeOf(v any) map[string]any { return v.(map[string]any)["node"].(map[string]any) }

// pathLie changes a path on the wire.
func pathLie(rule Rule, name string, f func(s *scene, path []any) []any) lie {
	return lie{rule, name, func(s *scene) error {
		s.on("merkle/path", func(_ url.Values, reply map[string]any) {
			if p, ok := reply["path"].([]any); ok {
				reply["path"] = f(s, p)
			}
		})
		return s.load()
	}}
}

// treeLie publishes a signed tree with wrong nodes.
func treeLie(rule Rule, name string, f func(s *scene, prefix string, top, leaf string) (string, string)) lie {
	return lie{rule, name, func(s *scene) error {
		s.mu.Lock()
		s.publish(nil)
		r := s.top()
		p := s.alice.UID.String()[:2]
		old := r.leaves[p]
		top, leaf := f(s, p, r.top, old)
		r.leaves[p], r.top = leaf, strings.ReplaceAll(top, nodeHashOf(old).String(), nodeHashOf(leaf).String())
		s.roots = s.roots[:len(s.roots)-1]
		s.seal(r, nil)
		s.mu.Unlock()
		if err := s.refresh(); err != nil {
			return err
		}
		return s.load()
	}}
}

// leafLie publishes another leaf for alice.
func leafLie(rule Rule, name string, f func(s *scene, u *resident) string) lie {
	return treeLie(rule, name, func(s *scene, _, top, leaf string) (string, string) {
		u := s.users[s.alice.UID]
		return top, strings.Replace(leaf, mustJSON(u.leafValue()), f(s, u), 1)
	})
}

func answerLie(rule Rule, name, endpoint string, f func(s *scene, reply map[string]any)) lie {
	return lie{rule, name, func(s *scene) error {
		s.on(endpoint, func(_ url.Values, reply map[string]any) { f(s, reply) })
		return s.loadFresh()
	}}
}

// afterReset resets alice and then lies about the reset chain.
func resetLie(name string, f func(s *scene, chain []string) []string) lie {
	return lie{RuleResetChain, name, func(s *scene) error {
		if err := s.alice.Reset(s.t.Context()); err != nil {
			return fmt.Errorf("honest reset: %w", err)
		}
		s.on("merkle/path", func(_ url.Values, reply map[string]any) {
			if c, ok := reply["reset_chain"].([]string); ok {
				reply["reset_chain"] = f(s, append([]string{}, c...))
			}
		})
		return s.loadFresh()
	}}
}

var pathLies = []lie{
	{RulePathRoot, "an older root than the one asked for", func(s *scene) error {
		s.edited(func(_, _ map[string]any) {})
		if err := s.refresh(); err != nil {
			return err
		}
		s.on("merkle/path", func(_ url.Values, reply map[string]any) {
			reply["root"] = map[string]any{"seqno": s.top().seqno - 1}
		})
		return s.load()
	}},
	{RulePathRoot, "another root of the past", func(s *scene) error {
		s.on("merkle/path", func(q url.Values, reply map[string]any) {
			for k, v := range s.rootObject(s.roots[2]) {
				reply["root"].(map[string]any)[k] = v
			}
			reply["skips"] = s.skips(3, s.v.LastRoot().Seqno)
		})
		_, err := s.v.RootAt(s.t.Context(), 2)
		return err
	}},
	{RuleSkipHash, "a root of the past that never was", func(s *scene) error {
		s.on("merkle/path", func(q url.Values, reply map[string]any) {
			root := reply["root"].(map[string]any)
			root["payload_json"] = strings.Replace(root["payload_json"].(string), "00ff", "00fe", 1)
		})
		_, _, _, err := s.v.LookupAt(s.t.Context(), "", At{Seqno: 2}, false, nil)
		return err
	}},
	{RuleLeafHistory, "a leaf of the past that is longer", func(s *scene) error {
		s.mu.Lock()
		u := s.users[s.alice.UID]
		keep := *u.tail
		u.tail = &Triple{99, keep.LinkID, keep.SigID}
		s.publish(nil) // for one root only
		n := s.top().seqno
		u.tail = &keep
		s.publish(nil)
		s.mu.Unlock()
		if err := s.refresh(); err != nil {
			return err
		}
		if err := s.load(); err != nil {
			return err
		}
		_, _, err := s.v.UserLeafAt(s.t.Context(), s.alice.UID, At{Seqno: n})
		return err
	}},

	pathLie(RuleNodeHash, "changed leaf node", func(_ *scene, p []any) []any {
		nodeOf(p[1])["val"] = strings.Replace(nodeOf(p[1])["val"].(string), "[2,", "[2, ", 1)
		return p
	}),
	pathLie(RuleNodeHash, "changed top node", func(_ *scene, p []any) []any {
		nodeOf(p[0])["val"] = nodeOf(p[0])["val"].(string) + " "
		return p
	}),
	pathLie(RuleNodeHash, "nodes of an older tree", func(s *scene, p []any) []any {
		nodeOf(p[0])["val"] = s.roots[3].top
		return p
	}),
	pathLie(RuleNode, "a node after the leaf", func(_ *scene, p []any) []any { return append(p, p[1]) }),
	pathLie(RuleReply, "a node without value", func(_ *scene, p []any) []any {
		delete(nodeOf(p[1]), "val")
		return p
	}),
	pathLie(RuleTruncated, "no nodes at all", func(*scene, []any) []any { return []any{} }),
	pathLie(RuleTruncated, "ends before the leaf", func(_ *scene, p []any) []any { return p[:1] }),
	pathLie(RulePrefix, "no prefix", func(_ *scene, p []any) []any {
		delete(p[0].(map[string]any), "prefix")
		return p
	}),
	pathLie(RulePrefix, "somebody else's prefix", func(s *scene, p []any) []any {
		p[0].(map[string]any)["prefix"] = s.bob.UID.String()[:2]
		return p
	}),
	pathLie(RulePrefix, "a prefix chosen to miss the child", func(s *scene, p []any) []any {
		p[0].(map[string]any)["prefix"] = s.alice.UID.String()[:4]
		return p[:1]
	}),
	treeLie(RuleNode, "type 3", func(_ *scene, _, top, leaf string) (string, string) {
		return top, strings.Replace(leaf, `"type":2`, `"type":3`, 1)
	}),
	treeLie(RuleNode, "two keys of one name", func(_ *scene, _, top, leaf string) (string, string) {
		return top, strings.Replace(leaf, `"type":2`, `"type":2,"type":2`, 1)
	}),
	treeLie(RuleNode, "a child that is no hash", func(_ *scene, p, top, leaf string) (string, string) {
		return strings.Replace(top, nodeHashOf(leaf).String(), "ff", 1), leaf
	}),
	treeLie(RulePrefix, "two children for one id", func(s *scene, p, top, leaf string) (string, string) {
		two := `"` + s.alice.UID.String()[:5] + `":"` + strings.Repeat("ab", 64) + `",`
		return strings.Replace(top, `"tab":{`, `"tab":{`+two, 1), leaf
	}),
	treeLie(RulePrefix, "a leaf that belongs elsewhere", func(s *scene, _, top, leaf string) (string, string) {
		return top, strings.Replace(leaf, `"tab":{`, `"tab":{"`+s.bob.UID.String()+`":[2,[],[],null],`, 1)
	}),

	leafLie(RuleLeaf, "version 1", func(_ *scene, u *resident) string {
		return strings.Replace(mustJSON(u.leafValue()), "[2,", "[1,", 1)
	}),
	leafLie(RuleLeaf, "a triple of two", func(_ *scene, u *resident) string {
		return mustJSON([]any{2, []any{u.tail.Seqno, u.tail.LinkID.String()}, []any{}, u.eldest.String()})
	}),
	leafLie(RuleLeaf, "a private chain", func(_ *scene, u *resident) string {
		v := u.leafValue()
		v[2] = v[1]
		return mustJSON(v)
	}),
	leafLie(RuleLeaf, "an eldest key without links", func(_ *scene, u *resident) string {
		v := u.leafValue()
		v[1] = []any{}
		return mustJSON(v)
	}),
	leafLie(RuleLeaf, "no eldest key and no reset", func(_ *scene, u *resident) string {
		v := u.leafValue()
		v[3] = nil
		return mustJSON(v)
	}),
	leafLie(RuleLeaf, "an odd reset tail", func(_ *scene, u *resident) string {
		return mustJSON(append(u.leafValue(), []any{1}))
	}),
	leafLie(RuleLeafHistory, "a shorter chain", func(s *scene, u *resident) string {
		l := s.alice.Me.Chain[1]
		v := u.leafValue()
		v[1] = []any{2, l.ID.String(), l.SigID.String()}
		return mustJSON(v)
	}),
	leafLie(RuleLeafHistory, "another link at the tail", func(_ *scene, u *resident) string {
		v := u.leafValue()
		v[1] = []any{u.tail.Seqno, strings.Repeat("ab", 32), u.tail.SigID.String()}
		return mustJSON(v)
	}),
	leafLie(RuleLeafHistory, "another eldest key without a link", func(_ *scene, u *resident) string {
		v := u.leafValue()
		v[3] = NewSigningKey(randomSeed()).KID().String()
		return mustJSON(v)
	}),
	treeLie(RuleLeafHistory, "the user disappears", func(s *scene, _, top, leaf string) (string, string) {
		return top, `{"tab":{},"type":2}`
	}),
	{RuleLeafHistory, "a reset is undone", func(s *scene) error {
		if err := s.alice.Reset(s.t.Context()); err != nil {
			return err
		}
		if err := s.load(); err != nil {
			return err
		}
		s.mu.Lock()
		u := s.users[s.alice.UID]
		u.resets, u.eldest = nil, s.alice.Me.Past[0].Eldest
		s.touch(u)
		s.mu.Unlock()
		return s.load()
	}},
	{RuleUpdateLoop, "always refresh", func(s *scene) error {
		s.on("merkle/path", func(_ url.Values, reply map[string]any) {
			reply["status"] = map[string]any{"code": 300, "name": "MERKLE_UPDATE_ROOT"}
		})
		return s.load()
	}},

	answerLie(RuleUsername, "another name", "merkle/path", func(_ *scene, r map[string]any) { r["username"] = "mallory" }),
	answerLie(RuleUsername, "capitals", "merkle/path", func(_ *scene, r map[string]any) { r["username"] = "Alice" }),
	answerLie(RuleUsername, "another user", "merkle/path", func(s *scene, r map[string]any) { r["uid"] = s.bob.UID.String() }),
	answerLie(RuleReply, "no id_version", "merkle/path", func(_ *scene, r map[string]any) { delete(r, "id_version") }),
	answerLie(RuleReply, "no hints", "merkle/path", func(_ *scene, r map[string]any) { r["sigs"] = map[string]any{"version": 0} }),
	answerLie(RuleReply, "no root", "merkle/path", func(_ *scene, r map[string]any) { delete(r, "root") }),
	{RuleUsername, "signup for somebody else", func(s *scene) error {
		s.on("signup", func(_ url.Values, r map[string]any) { r["uid"] = s.bob.UID.String() })
		_, err := Signup(s.t.Context(), s.v, SignupOptions{Name: "carol", Stream: new(Stream)})
		return err
	}},
	{RuleUsername, "names of others", func(s *scene) error {
		s.on("user/names", func(_ url.Values, r map[string]any) {
			r["users"] = map[string]any{s.bob.UID.String(): map[string]any{"username": "alice"}}
		})
		_, err := s.v.srv.Names(s.t.Context(), s.bob.UID)
		return err
	}},

	answerLie(RuleResetChain, "a reset chain without a tail", "merkle/path", func(_ *scene, r map[string]any) {
		r["reset_chain"] = []string{"{}"}
	}),
	resetLie("missing", func(*scene, []string) []string { return nil }),
	resetLie("changed", func(_ *scene, c []string) []string {
		c[0] = strings.Replace(c[0], `"ctime":`, `"ctime":1`, 1)
		return c
	}),
	resetLie("not JSON", func(*scene, []string) []string { return []string{"x"} }),
	resetLie("of another user", func(s *scene, c []string) []string {
		c[0] = strings.Replace(c[0], s.alice.UID.String(), s.bob.UID.String(), 1)
		return c
	}),
	resetLie("does not begin at one", func(_ *scene, c []string) []string {
		c[0] = strings.Replace(c[0], `"reset_seqno":1`, `"reset_seqno":2`, 1)
		return c
	}),
	resetLie("has a predecessor that is not there", func(_ *scene, c []string) []string {
		c[0] = strings.Replace(c[0], `"reset":null`, `"reset":"`+strings.Repeat("ab", 64)+`"`, 1)
		return c
	}),

	{RuleKit, "another kit", func(s *scene) error {
		s.on("merkle/pvl", func(_ url.Values, r map[string]any) { r["kit_json"] = kitOf("evil") })
		_, err := s.v.Kit(s.t.Context(), "pvl")
		return err
	}},
	{RuleKit, "no kit", func(s *scene) error {
		s.edited(func(_, b map[string]any) { b["pvl_hash"] = "" })
		_, err := s.v.Kit(s.t.Context(), "pvl")
		return err
	}},
	{RuleKit, "a kit of another version", func(s *scene) error {
		kit := `{"kit_version":2,"tab":{"1":{}}}`
		s.edited(func(_, b map[string]any) { b["pvl_hash"] = nodeHashOf(kit).String() })
		s.on("merkle/pvl", func(_ url.Values, r map[string]any) { r["kit_json"] = kit })
		_, err := s.v.Kit(s.t.Context(), "pvl")
		return err
	}},
}
