package client

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// The links of alice in a scene.
const (
	linkEldest  = 0
	linkSubkey  = 1
	linkPUK     = 2
	linkSibkey  = 3
	linkTrack   = 7 // the tail
	sceneLength = 8
)

// entryLie changes one served entry; it becomes raw JSON when f returns text.
func entryLie(rule Rule, name string, at int, f func(s *scene, e map[string]any) string) lie {
	return lie{rule, name, func(s *scene) error {
		s.on("sig/get", func(_ url.Values, reply map[string]any) {
			sigs := reply["sigs"].([]any)
			if at < len(sigs) {
				if raw := f(s, sigs[at].(map[string]any)); raw != "" {
					sigs[at] = json.RawMessage(raw)
				}
			}
		})
		return s.loadFresh()
	}}
}

// si2Lie changes the compressed outer link of the track link.
func si2Lie(rule Rule, name string, f func(sig []byte, o *Outer, n *int64) packer) lie {
	return entryLie(rule, name, linkTrack, func(_ *scene, e map[string]any) string {
		sig, o, err := implodedV2(json.RawMessage(mustJSON(e["si2"])))
		if err != nil {
			panic(err)
		}
		n := int64(o.Fields)
		o.Fields = 7
		w := f(sig, o, &n)
		if w == nil {
			w.array(3)
			w.bin(sig)
			o.encodeTo(&w)
			w.int(n)
		}
		e["si2"] = b64(w)
		return ""
	})
}

// signedLie publishes one more link of alice, signed by her device, that no
// server should have taken.
func signedLie(rule Rule, name string, version int, f func(s *scene, spec *LinkSpec)) lie {
	return lie{rule, name, func(s *scene) error {
		spec := s.spec("track", version, nil)
		bob, err := s.v.LoadUser(s.t.Context(), s.bob.UID, LoadOptions{})
		if err != nil {
			return fmt.Errorf("honest load: %w", err)
		}
		spec.Body = TrackBody(bob, "AAAA")
		f(s, spec)
		s.inject(s.alice.UID, s.build(spec))
		return s.load()
	}}
}

func payloadEdit(f func(payload, body, key map[string]any)) func(*scene, *LinkSpec) {
	return func(_ *scene, spec *LinkSpec) {
		spec.EditPayload = func(p map[string]any) {
			b := p["body"].(map[string]any)
			f(p, b, b["key"].(map[string]any))
		}
	}
}

func jsonEdit(from, to string) func(*scene, *LinkSpec) {
	return func(_ *scene, spec *LinkSpec) {
		spec.EditJSON = func(b []byte) []byte { return []byte(strings.Replace(string(b), from, to, 1)) }
	}
}

var linkLies = []lie{
	entryLie(RuleLinkShape, "no version", linkPUK, func(_ *scene, e map[string]any) string { delete(e, "sig_version"); return "" }),
	entryLie(RuleLinkShape, "version 3", linkPUK, func(_ *scene, e map[string]any) string {
		e["sig_version"] = 3
		e["payload_json"] = strings.Replace(e["payload_json"].(string), `"version":1}`, `"version":3}`, 1)
		return ""
	}),
	entryLie(RuleLinkShape, "signature of 63 bytes", linkPUK, func(_ *scene, e map[string]any) string {
		b, _ := base64.StdEncoding.DecodeString(e["si1"].(string))
		e["si1"] = b64(b[:63])
		return ""
	}),
	entryLie(RuleLinkShape, "no signature", linkPUK, func(_ *scene, e map[string]any) string { delete(e, "si1"); return "" }),
	entryLie(RuleLinkShape, "two keys of one name", linkPUK, func(_ *scene, e map[string]any) string {
		return strings.Replace(mustJSON(e), `"si1":`, `"sig_version":1,"si1":`, 1)
	}),
	entryLie(RuleLinkShape, "a stub that is also whole", linkTrack, func(_ *scene, e map[string]any) string { e["s2"] = "AAAA"; return "" }),
	si2Lie(RuleLinkShape, "outer link in a longer form", func(sig []byte, o *Outer, n *int64) packer {
		var w packer
		w.array(3)
		w.bin(sig)
		o.encodeTo(&w)
		return append(w, 0xcc, 7)
	}),
	si2Lie(RuleLinkShape, "eight fields", func(_ []byte, _ *Outer, n *int64) packer { *n = 8; return nil }),
	si2Lie(RuleLinkShape, "bytes after it", func(sig []byte, o *Outer, n *int64) packer {
		var w packer
		w.array(3)
		w.bin(sig)
		o.encodeTo(&w)
		w.int(7)
		w.null()
		return w
	}),
	si2Lie(RuleOuter, "another seqno", func(_ []byte, o *Outer, _ *int64) packer { o.Seqno = 77; return nil }),
	si2Lie(RuleOuter, "another hash", func(_ []byte, o *Outer, _ *int64) packer { o.Curr = make([]byte, 32); return nil }),
	si2Lie(RuleLinkSig, "fewer fields", func(_ []byte, _ *Outer, n *int64) packer { *n = 6; return nil }),
	si2Lie(RuleLinkSig, "another signature", func(sig []byte, _ *Outer, _ *int64) packer { sig[5]++; return nil }),

	{RuleQuoting, "escaped slashes", func(s *scene) error {
		s.inject(s.alice.UID, s.build(s.spec("untrack", 2, UntrackBody(s.bob.Me, "a/b"))))
		s.on("sig/get", func(_ url.Values, reply map[string]any) {
			sigs := reply["sigs"].([]any)
			sigs[0] = json.RawMessage(strings.Replace(mustJSON(sigs[0]), `a/b`, `a\/b`, 1))
		})
		return s.load()
	}},
	entryLie(RuleQuoting, "surrogate pairs", linkPUK, func(_ *scene, e map[string]any) string {
		return strings.Replace(mustJSON(e), `\"body\"`, `\"\ud83d\ude00\"`, 1)
	}),
	entryLie(RuleQuoting, "no payload", linkPUK, func(_ *scene, e map[string]any) string { delete(e, "payload_json"); return "" }),

	entryLie(RuleLinkSig, "a forged link in the middle", linkPUK, func(_ *scene, e map[string]any) string {
		b, _ := base64.StdEncoding.DecodeString(e["si1"].(string))
		b[0]++
		e["si1"] = b64(b)
		return ""
	}),
	entryLie(RuleLinkSig, "one character of the payload", linkSubkey, func(_ *scene, e map[string]any) string {
		e["payload_json"] = strings.Replace(e["payload_json"].(string), "go client", "go cliant", 1)
		return ""
	}),
	signedLie(RuleLinkSig, "somebody else's signature under alice's key", 2, func(s *scene, spec *LinkSpec) {
		spec.EditPacket = func(p *Packet) { p.Sig = NewSigningKey(randomSeed()).Sign(p.Payload) }
	}),
	signedLie(RuleLinkSig, "signed by an encryption key", 1, payloadEdit(func(_, _, key map[string]any) {
		key["kid"] = NewDHKey(randomSeed()).KID().String()
	})),

	signedLie(RuleLinkJSON, "leading space", 1, func(_ *scene, spec *LinkSpec) {
		spec.EditJSON = func(b []byte) []byte { return append([]byte(" "), b...) }
	}),
	signedLie(RuleLinkJSON, "two keys of one name", 1, jsonEdit(`"ctime":`, `"ctime":5,"ctime":`)),
	signedLie(RuleLinkJSON, "bytes after the object", 1, func(_ *scene, spec *LinkSpec) {
		spec.EditJSON = func(b []byte) []byte { return append(b, '\n', '}') }
	}),
	signedLie(RuleLinkJSON, "no expiry", 1, payloadEdit(func(p, _, _ map[string]any) { delete(p, "expire_in") })),
	signedLie(RuleLinkJSON, "no ctime", 2, payloadEdit(func(p, _, _ map[string]any) { delete(p, "ctime") })),
	signedLie(RuleLinkJSON, "another version inside", 2, payloadEdit(func(_, b, _ map[string]any) { b["version"] = 1 })),
	signedLie(RuleLinkJSON, "an unknown type", 2, payloadEdit(func(_, b, _ map[string]any) { b["type"] = "gossip" })),
	signedLie(RuleLinkJSON, "an unknown type of version 1", 1, payloadEdit(func(_, b, _ map[string]any) { b["type"] = "gossip" })),
	signedLie(RuleLinkJSON, "another tag", 1, payloadEdit(func(p, _, _ map[string]any) { p["tag"] = "x" })),
	signedLie(RuleLinkJSON, "null prev in the middle", 1, payloadEdit(func(p, _, _ map[string]any) { p["prev"] = nil })),
	signedLie(RuleLinkJSON, "a track without a name", 2, payloadEdit(func(_, b, _ map[string]any) {
		delete(b["track"].(map[string]any), "basics")
	})),
	signedLie(RuleLinkJSON, "a revoke link that revokes nothing", 1, func(_ *scene, spec *LinkSpec) {
		spec.Type, spec.Body = "revoke", nil
	}),
	signedLie(RuleLinkJSON, "an empty revoke section", 1, func(_ *scene, spec *LinkSpec) {
		spec.Type, spec.Body = "revoke", map[string]any{"revoke": map[string]any{"kids": []string{}}}
	}),
	signedLie(RuleLinkJSON, "a wallet of version 1", 1, func(_ *scene, spec *LinkSpec) {
		wallet := NewSigningKey(randomSeed())
		spec.Type, spec.ReverseSigner, spec.ReverseSection = "wallet.stellar", wallet, "wallet_key"
		spec.Body = map[string]any{"wallet_key": map[string]any{"kid": wallet.KID().String()}, "wallet": map[string]any{"network": "stellar"}}
	}),

	signedLie(RuleLinkOwner, "another user's id", 1, func(s *scene, spec *LinkSpec) { spec.UID = s.bob.UID }),
	signedLie(RuleLinkOwner, "another user's name", 2, func(_ *scene, spec *LinkSpec) { spec.Username = "bob" }),
	signedLie(RuleLinkOwner, "capitals in the name", 2, func(_ *scene, spec *LinkSpec) { spec.Username = "Alice" }),
	signedLie(RuleLinkOwner, "another host", 1, payloadEdit(func(_, _, key map[string]any) { key["host"] = "example.org" })),

	signedLie(RuleOuter, "another type outside", 2, func(_ *scene, spec *LinkSpec) { spec.EditOuter = func(o *Outer) { o.Type = typeUntrack } }),
	signedLie(RuleOuter, "a team's chain outside", 2, func(_ *scene, spec *LinkSpec) { spec.EditOuter = func(o *Outer) { o.SeqType = 3 } }),
	signedLie(RuleOuter, "a team's chain inside", 2, payloadEdit(func(p, _, _ map[string]any) { p["seq_type"] = 3 })),
	signedLie(RuleOuter, "may be ignored outside", 2, func(_ *scene, spec *LinkSpec) { spec.EditOuter = func(o *Outer) { o.Ignore = true } }),
	signedLie(RuleOuter, "may be ignored inside", 2, payloadEdit(func(p, _, _ map[string]any) { p["ignore_if_unsupported"] = true })),
	signedLie(RuleOuter, "version 1 outside", 2, func(_ *scene, spec *LinkSpec) { spec.EditOuter = func(o *Outer) { o.Version = 1 } }),
	signedLie(RuleOuter, "a track that revokes", 2, func(s *scene, spec *LinkSpec) {
		spec.Body["revoke"] = map[string]any{"kids": []string{s.laptop.Sig.KID().String()}}
	}),
	signedLie(RuleOuter, "an unknown type as a known number", 2, func(_ *scene, spec *LinkSpec) {
		spec.Type, spec.Ignore, spec.EditOuter = "gossip", true, func(o *Outer) { o.Type = typeTrack }
	}),
	signedLie(RuleOuter, "a high skip outside only", 2, func(_ *scene, spec *LinkSpec) {
		spec.EditOuter = func(o *Outer) {
			n := int64(1)
			o.Fields, o.HighSkipSeqno, o.HighSkipHash = 9, &n, make([]byte, 32)
		}
	}),
	signedLie(RuleHighSkip, "to a link that is not the last high one", 1, payloadEdit(func(p, _, _ map[string]any) {
		p["high_skip"] = map[string]any{"seqno": 1, "hash": nil}
	})),

	signedLie(RuleLinkMerkle, "no root quoted", 1, func(_ *scene, spec *LinkSpec) { spec.Root = nil }),
	signedLie(RuleLinkMerkle, "a root that never was", 1, func(_ *scene, spec *LinkSpec) {
		r := *spec.Root
		r.HashMeta[0]++
		spec.Root = &r
	}),
	signedLie(RuleLinkMerkle, "another tree under the quoted root", 2, func(_ *scene, spec *LinkSpec) {
		r := *spec.Root
		r.Node[0]++
		spec.Root = &r
	}),
	signedLie(RuleLinkMerkle, "a root of the future", 2, func(_ *scene, spec *LinkSpec) {
		r := *spec.Root
		r.Seqno += 1000
		spec.Root = &r
	}),
}
