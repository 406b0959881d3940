package client

import (
	"fmt"
	"net/url"
)

// sigsLie changes the list of served links.
func sigsLie(rule Rule, name string, stubs bool, f func(s *scene, sigs []any) []any) lie {
	return lie{rule, name, func(s *scene) error {
		s.on("sig/get", func(_ url.Values, reply map[string]any) { reply["sigs"] = f(s, reply["sigs"].([]any)) })
		_, err := NewVerifier(s.server(2), nil).LoadUser(s.t.Context(), s.alice.UID, LoadOptions{Stubbed: stubs})
		return err
	}}
}

func stubEntry(o *Outer) map[string]any { return map[string]any{"s2": b64(o.Encode())} }

// sibkeySpec is a well-formed link that adds a device, for tests to spoil.
func (s *scene) sibkeySpec() (*LinkSpec, *Device) {
	d, err := NewDevice(s.alice.Server(), "new one", DeviceDesktop)
	if err != nil {
		s.t.Fatal(err)
	}
	spec := s.spec("sibkey", 1, SibkeyBody(d))
	spec.ReverseSigner, spec.ReverseSection = d.Sig, "sibkey"
	return spec, d
}

func sibkeyLie(rule Rule, name string, f func(s *scene, spec *LinkSpec, d *Device)) lie {
	return lie{rule, name, func(s *scene) error {
		spec, d := s.sibkeySpec()
		f(s, spec, d)
		s.inject(s.alice.UID, s.build(spec))
		return s.load()
	}}
}

func subkeyLie(rule Rule, name string, f func(s *scene, spec *LinkSpec, section map[string]any)) lie {
	return lie{rule, name, func(s *scene) error {
		d := &Device{ID: s.laptop.ID, Sig: s.laptop.Sig, Enc: NewDHKey(randomSeed())}
		spec := s.spec("subkey", 1, SubkeyBody(d))
		spec.Signer = s.laptop.Sig
		f(s, spec, spec.Body["subkey"].(map[string]any))
		s.inject(s.alice.UID, s.build(spec))
		return s.load()
	}}
}

func pukLie(rule Rule, name string, f func(s *scene, spec *LinkSpec, section map[string]any)) lie {
	return lie{rule, name, func(s *scene) error {
		puk := NewPUK(randomSeed())
		spec := s.spec("per_user_key", 1, PUKBody(puk, 2))
		spec.ReverseSigner, spec.ReverseSection = puk.Sig, "per_user_key"
		f(s, spec, spec.Body["per_user_key"].(map[string]any))
		s.inject(s.alice.UID, s.build(spec))
		return s.load()
	}}
}

// revoked revokes the laptop honestly and returns the next link's spec, signed by
// the laptop.
func (s *scene) revoked() *LinkSpec {
	if err := s.alice.RevokeDevice(s.t.Context(), s.laptop.ID); err != nil {
		s.t.Fatal(err)
	}
	spec := s.spec("untrack", 2, UntrackBody(s.bob.Me, "AAAA"))
	spec.Signer = s.laptop.Sig
	return spec
}

func injected(rule Rule, name string, f func(s *scene) *LinkSpec) lie {
	return lie{rule, name, func(s *scene) error {
		s.inject(s.alice.UID, s.build(f(s)))
		return s.load()
	}}
}

var chainLies = []lie{
	signedLie(RulePrevLink, "prev of an older link", 2, func(s *scene, spec *LinkSpec) { spec.Prev = s.alice.Me.Chain[3].ID }),
	signedLie(RulePrevLink, "prev of nobody", 1, func(_ *scene, spec *LinkSpec) { spec.Prev[0]++ }),
	signedLie(RuleSeqno, "a gap", 2, func(_ *scene, spec *LinkSpec) { spec.Seqno++ }),
	{RuleSeqno, "a number twice", func(s *scene) error {
		spec := s.spec("untrack", 2, UntrackBody(s.bob.Me, "AAAA"))
		spec.Seqno--
		s.inject(s.alice.UID, s.build(spec))
		return s.loadFresh()
	}},
	sigsLie(RuleSeqno, "a missing link", false, func(_ *scene, l []any) []any { return append(l[:2:2], l[3:]...) }),
	sigsLie(RuleSeqno, "two links in the wrong order", false, func(_ *scene, l []any) []any {
		l[1], l[2] = l[2], l[1]
		return l
	}),
	sigsLie(RuleTail, "a truncated chain", false, func(_ *scene, l []any) []any { return l[:len(l)-1] }),
	sigsLie(RuleTail, "no links at all", false, func(*scene, []any) []any { return []any{} }),
	leafFresh(RuleTail, "the leaf has another signature id", func(u *resident) { u.tail.SigID[0]++ }),
	leafFresh(RuleTail, "the leaf has another link id", func(u *resident) { u.tail.LinkID[0]++ }),

	sigsLie(RuleStub, "the tail", true, func(s *scene, l []any) []any {
		l[len(l)-1] = map[string]any{"s2": s.users[s.alice.UID].entries[linkTrack]["s2"]}
		return l
	}),
	sigsLie(RuleStub, "although all was asked for", false, func(s *scene, l []any) []any {
		l[len(l)-1] = map[string]any{"s2": s.users[s.alice.UID].entries[linkTrack]["s2"]}
		return l
	}),
	sigsLie(RuleStub, "of a sibkey", true, func(s *scene, l []any) []any {
		k := s.alice.Me.Chain[linkSibkey]
		l[linkSibkey] = stubEntry(&Outer{Fields: 7, Version: 2, Seqno: int64(k.Seqno), Prev: k.Prev[:], Curr: make([]byte, 32), Type: typeSibkey, SeqType: 1})
		return l
	}),
	sigsLie(RuleStub, "of an unknown type that may not be ignored", true, func(s *scene, l []any) []any {
		k := s.alice.Me.Chain[linkSibkey]
		l[linkSibkey] = stubEntry(&Outer{Fields: 7, Version: 2, Seqno: int64(k.Seqno), Prev: k.Prev[:], Curr: make([]byte, 32), Type: 90, SeqType: 1})
		return l
	}),
	{RuleStub, "as the first link", func(s *scene) error {
		carol, err := Signup(s.t.Context(), s.v, SignupOptions{Name: "carol", Stream: CheapStream(nil)})
		if err != nil {
			return err
		}
		key, spec := NewSigningKey(randomSeed()), s.spec("untrack", 2, UntrackBody(s.bob.Me, "AAAA"))
		spec.UID, spec.Username, spec.Signer, spec.Eldest = carol.UID, "carol", key, key.KID()
		spec.Seqno, spec.Prev = 1, LinkID{}
		first := s.build(spec)
		next := *spec
		next.Seqno, next.Prev = 2, first.ID
		s.mu.Lock()
		s.users[carol.UID].eldest = key.KID()
		s.mu.Unlock()
		s.inject(carol.UID, first, s.build(&next))
		s.on("sig/get", func(_ url.Values, reply map[string]any) {
			reply["sigs"].([]any)[0] = map[string]any{"s2": b64(first.Outer)}
		})
		_, err = s.v.LoadUser(s.t.Context(), carol.UID, LoadOptions{Stubbed: true})
		return err
	}},
	sigsLie(RuleOuter, "a stub of a team's chain", true, func(s *scene, l []any) []any {
		k := s.alice.Me.Chain[linkSibkey]
		l[linkSibkey] = stubEntry(&Outer{Fields: 7, Version: 2, Seqno: int64(k.Seqno), Prev: k.Prev[:], Curr: make([]byte, 32), Type: typeTrack, SeqType: 3})
		return l
	}),
	sigsLie(RulePrevLink, "a stub that replaces a link", true, func(s *scene, l []any) []any {
		k := s.alice.Me.Chain[linkSibkey]
		l[linkSibkey] = stubEntry(&Outer{Fields: 7, Version: 2, Seqno: int64(k.Seqno), Prev: k.Prev[:], Curr: make([]byte, 32), Type: typeTrack, SeqType: 1})
		return l
	}),
	{RuleChainHistory, "a link is exchanged after it was seen", func(s *scene) error {
		a, b := s.spec("untrack", 2, UntrackBody(s.bob.Me, "AAAA")), s.spec("untrack", 2, UntrackBody(s.bob.Me, "BBBB"))
		first, second := s.build(a), s.build(b)
		s.mu.Lock() // served ahead of the tree, as a client tolerates
		u := s.users[s.alice.UID]
		u.entries = append(u.entries, first.Entry())
		s.mu.Unlock()
		s.v.Forget(s.alice.UID)
		if err := s.load(); err != nil {
			return fmt.Errorf("a newer link should be tolerated: %w", err)
		}
		s.mu.Lock()
		u.entries = u.entries[:sceneLength]
		s.mu.Unlock()
		s.inject(s.alice.UID, second)
		s.v.Forget(s.alice.UID)
		return historyRule(s.load())
	}},

	sibkeyLie(RuleReverseSig, "none", func(_ *scene, spec *LinkSpec, _ *Device) { spec.ReverseSigner = nil }),
	sibkeyLie(RuleReverseSig, "by another key", func(_ *scene, spec *LinkSpec, _ *Device) { spec.ReverseSigner = NewSigningKey(randomSeed()) }),
	sibkeyLie(RuleReverseSig, "of another statement", func(_ *scene, spec *LinkSpec, _ *Device) {
		spec.EditReversed = func(p map[string]any) { p["ctime"] = p["ctime"].(int64) + 1 }
	}),
	sibkeyLie(RuleReverseSig, "not a packet", func(_ *scene, spec *LinkSpec, _ *Device) {
		spec.EditReversed = func(p map[string]any) {
			p["body"].(map[string]any)["sibkey"].(map[string]any)["reverse_sig"] = "AAAA"
		}
	}),
	pukLie(RuleReverseSig, "of a per-user key by the device", func(s *scene, spec *LinkSpec, _ map[string]any) { spec.ReverseSigner = s.alice.Device.Sig }),

	signedLie(RuleEldest, "another eldest key in the link", 2, func(s *scene, spec *LinkSpec) { spec.Eldest = s.laptop.Sig.KID() }),
	signedLie(RuleEldest, "no eldest key in the link", 1, func(_ *scene, spec *LinkSpec) { spec.Eldest = KID{} }),
	injected(RuleEldest, "a new incarnation without a reset", func(s *scene) *LinkSpec {
		d, _ := NewDevice(s.alice.Server(), "takeover", DeviceDesktop)
		spec := s.spec("eldest", 1, EldestBody(d))
		spec.Signer, spec.Eldest = d.Sig, KID{}
		return spec
	}),
	leafFresh(RuleEldest, "the leaf names another eldest key", func(u *resident) { u.eldest = NewSigningKey(randomSeed()).KID() }),
	{RuleEldest, "an eldest link that speaks of another", func(s *scene) error {
		if err := s.alice.Reset(s.t.Context()); err != nil {
			return err
		}
		s.alice.EditLink = func(spec *LinkSpec) {
			if spec.Type == "eldest" {
				spec.Eldest = s.laptop.Sig.KID()
			}
		}
		return s.alice.ProvisionFirst(s.t.Context(), "again")
	}},
	{RuleEldest, "a first link that is no eldest link", func(s *scene) error {
		a, err := Signup(s.t.Context(), s.v, SignupOptions{Name: "carol", Stream: CheapStream(nil)})
		if err != nil {
			return err
		}
		a.EditLink = func(spec *LinkSpec) {
			if spec.Seqno == 1 {
				spec.EditPayload = func(p map[string]any) { p["body"].(map[string]any)["type"] = "web_service_binding" }
			}
		}
		return a.ProvisionFirst(s.t.Context(), "home")
	}},

	injected(RuleSigner, "a revoked device", func(s *scene) *LinkSpec { return s.revoked() }),
	signedLie(RuleSigner, "a stranger", 2, func(_ *scene, spec *LinkSpec) { spec.Signer = NewSigningKey(randomSeed()) }),
	signedLie(RuleSigner, "another user", 2, func(s *scene, spec *LinkSpec) { spec.Signer = s.bob.Device.Sig }),
	signedLie(RuleSigner, "the per-user key", 2, func(s *scene, spec *LinkSpec) { spec.Signer = s.alice.PUKs[0].Sig }),
	injected(RuleSigner, "after the key expired", func(s *scene) *LinkSpec {
		spec := s.spec("untrack", 2, UntrackBody(s.bob.Me, "AAAA"))
		spec.Ctime += expireInSeconds + 10_000
		return spec
	}),
	{RuleSigner, "the new key before it was delegated", func(s *scene) error {
		spec, d := s.sibkeySpec()
		spec.Signer = d.Sig
		s.inject(s.alice.UID, s.build(spec))
		return s.load()
	}},

	answerLie(RuleBundle, "a key is not given", "user/lookup", func(_ *scene, r map[string]any) {
		keys := r["them"].(map[string]any)["public_keys"].(map[string]any)
		keys["all_bundles"] = keys["all_bundles"].([]string)[1:]
	}),
	answerLie(RuleUserObject, "no list of keys", "user/lookup", func(_ *scene, r map[string]any) {
		r["them"].(map[string]any)["public_keys"] = map[string]any{}
	}),
	answerLie(RuleUserObject, "another user", "user/lookup", func(s *scene, r map[string]any) {
		r["them"].(map[string]any)["id"] = s.bob.UID.String()
	}),
	answerLie(RuleUserObject, "the name in capitals", "user/lookup", func(_ *scene, r map[string]any) { basicsOf(r)["username"] = "Alice" }),
	answerLie(RuleUserObject, "an older version", "user/lookup", func(_ *scene, r map[string]any) { basicsOf(r)["id_version"] = 1 }),
	answerLie(RuleUserObject, "no status", "user/lookup", func(_ *scene, r map[string]any) { delete(basicsOf(r), "status") }),
	{RuleBundle, "id_version does not rise with a new device", func(s *scene) error {
		spec, _ := s.sibkeySpec()
		s.inject(s.alice.UID, s.build(spec))
		s.mu.Lock()
		s.users[s.alice.UID].idVersion--
		s.mu.Unlock()
		return s.load()
	}},

	sibkeyLie(RuleDelegation, "a key of the same user", func(s *scene, spec *LinkSpec, d *Device) {
		d.Sig = s.laptop.Sig
		spec.Body, spec.ReverseSigner = SibkeyBody(d), d.Sig
	}),
	sibkeyLie(RuleDelegation, "an encryption key as sibkey", func(s *scene, spec *LinkSpec, d *Device) {
		spec.Body["sibkey"].(map[string]any)["kid"] = d.Enc.KID().String()
	}),
	sibkeyLie(RuleDelegation, "a device id of before", func(s *scene, spec *LinkSpec, d *Device) {
		d.ID = s.laptop.ID
		spec.Body = SibkeyBody(d)
	}),
	sibkeyLie(RuleDelegation, "a device of an unknown type", func(_ *scene, spec *LinkSpec, d *Device) {
		d.Type = "toaster"
		spec.Body = SibkeyBody(d)
	}),
	sibkeyLie(RuleDelegation, "a device that is defunct from the start", func(_ *scene, spec *LinkSpec, _ *Device) {
		spec.Body["device"].(map[string]any)["status"] = 2
	}),
	sibkeyLie(RuleDelegation, "a device with another key", func(s *scene, spec *LinkSpec, _ *Device) {
		spec.Body["device"].(map[string]any)["kid"] = s.laptop.Sig.KID().String()
	}),
	sibkeyLie(RuleDelegation, "no device", func(_ *scene, spec *LinkSpec, _ *Device) { delete(spec.Body, "device") }),
	subkeyLie(RuleDelegation, "a signing key as subkey", func(_ *scene, _ *LinkSpec, sec map[string]any) {
		sec["kid"] = NewSigningKey(randomSeed()).KID().String()
	}),
	subkeyLie(RuleDelegation, "a parent that is a subkey", func(s *scene, _ *LinkSpec, sec map[string]any) {
		sec["parent_kid"] = s.laptop.Enc.KID().String()
	}),
	subkeyLie(RuleDelegation, "an unknown parent", func(_ *scene, _ *LinkSpec, sec map[string]any) {
		sec["parent_kid"] = NewSigningKey(randomSeed()).KID().String()
	}),
	subkeyLie(RuleDelegation, "another device's section", func(s *scene, spec *LinkSpec, _ map[string]any) {
		spec.Body["device"].(map[string]any)["id"] = s.paper.ID.String()
	}),
	injected(RuleDelegation, "a revoked parent", func(s *scene) *LinkSpec {
		s.revoked()
		d := &Device{ID: s.laptop.ID, Sig: s.laptop.Sig, Enc: NewDHKey(randomSeed())}
		return s.spec("subkey", 1, SubkeyBody(d))
	}),
	pukLie(RuleDelegation, "a per-user key twice", func(s *scene, spec *LinkSpec, sec map[string]any) {
		old := s.alice.PUKs[0]
		spec.ReverseSigner, sec["signing_kid"] = old.Sig, old.Sig.KID().String()
	}),
	pukLie(RulePUK, "a generation is left out", func(_ *scene, _ *LinkSpec, sec map[string]any) { sec["generation"] = 3 }),
	pukLie(RulePUK, "a generation twice", func(_ *scene, _ *LinkSpec, sec map[string]any) { sec["generation"] = 1 }),
	pukLie(RulePUK, "two signing keys", func(_ *scene, _ *LinkSpec, sec map[string]any) {
		sec["encryption_kid"] = NewSigningKey(randomSeed()).KID().String()
	}),

	injected(RuleRevoke, "an unknown key", func(s *scene) *LinkSpec {
		return s.spec("revoke", 1, map[string]any{"revoke": map[string]any{"kid": NewSigningKey(randomSeed()).KID().String()}})
	}),
	injected(RuleRevoke, "a key twice", func(s *scene) *LinkSpec {
		s.revoked()
		return s.spec("revoke", 1, map[string]any{"revoke": map[string]any{"kids": []string{s.laptop.Sig.KID().String()}}})
	}),
	injected(RuleRevoke, "an unknown signature", func(s *scene) *LinkSpec {
		return s.spec("revoke", 1, RevokeSigsBody([]string{SigIDBase{}.SigID()}))
	}),
	injected(RuleRevoke, "an unknown device", func(s *scene) *LinkSpec {
		d := &DeviceInfo{Type: DeviceDesktop}
		d.ID[15] = 0x18
		return s.spec("revoke", 1, RevokeDeviceBody(d, []KID{s.laptop.Sig.KID()}))
	}),
}

// historyRule accepts either memory as the one that noticed: the leaf's or the
// chain's.
func historyRule(err error) error {
	if ViolatedRule(err) == RuleLeafHistory {
		return violated(RuleChainHistory, "leaf", "%v", err)
	}
	return err
}

func basicsOf(r map[string]any) map[string]any {
	return r["them"].(map[string]any)["basics"].(map[string]any)
}

// leafFresh publishes another leaf to a stranger.
func leafFresh(rule Rule, name string, f func(u *resident)) lie {
	return lie{rule, name, func(s *scene) error {
		s.mu.Lock()
		u := s.users[s.alice.UID]
		f(u)
		s.touch(u)
		s.mu.Unlock()
		return s.loadFresh()
	}}
}
