package client

import (
	"crypto/rand"
	"strings"
	"testing"
)

// pgpScene is alice with a PGP key, and the server's answers about it as they should be.
func pgpScene(t *testing.T) (*scene, *PGPKey, *LinkSpec) {
	t.Helper()
	s := newScene(t)
	k, err := NewPGPKey(rand.Reader, "alice")
	if err != nil {
		t.Fatal(err)
	}
	return s, k, s.spec("sibkey", 1, map[string]any{"sibkey": k.section()}).pgp(k)
}

func (s *LinkSpec) pgp(k *PGPKey) *LinkSpec {
	s.ReverseSign, s.ReverseSection = k.Sign, "sibkey"
	return s
}

// give lets the server hand a PGP key out with alice.
func (s *scene) give(bundles ...string) {
	s.mu.Lock()
	u := s.users[s.alice.UID]
	u.bundles = append(u.bundles, bundles...)
	s.touch(u)
	s.mu.Unlock()
}

// PGP keys are added with their reverse signature, sign, and come in versions; each step
// is verified with the version that counts there.
func TestPGP(t *testing.T) {
	s, k, add := pgpScene(t)
	second, err := k.Version(2)
	if err != nil {
		t.Fatal(err)
	}
	s.give(k.Bundle, second.Bundle)
	s.inject(s.alice.UID, s.build(add))
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	s.inject(s.alice.UID, s.build(s.spec("pgp_update", 1, map[string]any{"pgp_update": second.section()})))
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
}

// What a server could do to a PGP key is noticed: keep it back, give another version,
// take one whose owner does not have it.
func TestPGPLies(t *testing.T) {
	for what, c := range map[string]struct {
		rule Rule
		lie  func(s *scene, k *PGPKey, add *LinkSpec)
	}{
		"not given": {RuleBundle, func(*scene, *PGPKey, *LinkSpec) {}},
		"another version": {RuleBundle, func(s *scene, k *PGPKey, _ *LinkSpec) {
			other, err := k.Version(2)
			if err != nil {
				t.Fatal(err)
			}
			s.give(other.Bundle)
		}},
		"no key at all": {RuleUserObject, func(s *scene, k *PGPKey, _ *LinkSpec) {
			s.give(strings.Replace(k.Bundle, "\n\n", "\n\nAA", 1))
		}},
		"another fingerprint": {RuleDelegation, func(s *scene, k *PGPKey, add *LinkSpec) {
			s.give(k.Bundle)
			add.Body["sibkey"].(map[string]any)["fingerprint"] = strings.Repeat("0", 40)
		}},
		"reverse signature of another key": {RuleReverseSig, func(s *scene, k *PGPKey, add *LinkSpec) {
			s.give(k.Bundle)
			other, err := NewPGPKey(rand.Reader, "mallory")
			if err != nil {
				t.Fatal(err)
			}
			add.ReverseSign = other.Sign
		}},
		"reverse signature over another statement": {RuleReverseSig, func(s *scene, k *PGPKey, add *LinkSpec) {
			s.give(k.Bundle)
			add.ReverseSign = func([]byte) (string, error) { return k.Sign([]byte(`{"a":1}`)) }
		}},
	} {
		t.Run(what, func(t *testing.T) {
			s, k, add := pgpScene(t)
			c.lie(s, k, add)
			s.inject(s.alice.UID, s.build(add))
			if got := ViolatedRule(s.load()); got != c.rule {
				t.Errorf("rule %q, want %q", got, c.rule)
			}
		})
	}
}
