package client

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
)

// resign gives a root another signature packet.
func (s *scene) resign(f func(p *Packet) []byte) error {
	s.edited(func(_, _ map[string]any) {})
	s.mu.Lock()
	r := s.top()
	b := f(SignPacket(s.key, []byte(r.payload)))
	r.sig = base64.StdEncoding.EncodeToString(b)
	s.mu.Unlock()
	return s.refresh()
}

// rewrite replaces a published root by another one for the same number.
func (s *scene) rewrite(n Seqno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.roots[n-1]
	later := s.roots[n:]
	s.roots = s.roots[:n-1]
	s.seal(&worldRoot{seqno: n, top: old.top, leaves: old.leaves, tails: old.tails},
		func(p map[string]any) { p["body"].(map[string]any)["txid"] = "beef" })
	for _, r := range later {
		s.seal(&worldRoot{seqno: r.seqno, top: r.top, leaves: r.leaves, tails: r.tails}, nil)
	}
}

func payloadLie(name string, f func(payload, body map[string]any)) lie {
	return lie{RuleRootPayload, name, func(s *scene) error {
		s.edited(f)
		return s.refresh()
	}}
}

func skipTableLie(name string, f func(skips map[string]any, n Seqno)) lie {
	return lie{RuleSkipTable, name, func(s *scene) error {
		s.edited(func(_, body map[string]any) { f(body["skips"].(map[string]any), body["seqno"].(Seqno)) })
		return s.refresh()
	}}
}

func replyLie(name, raw string) lie {
	return lie{RuleReply, name, func(s *scene) error {
		s.on("merkle/root", func(_ url.Values, reply map[string]any) { reply["raw"] = raw })
		return s.refresh()
	}}
}

var rootLies = []lie{
	replyLie("not JSON", "<html>"),
	replyLie("no status", `{"seqno":1}`),
	replyLie("status without code", `{"status":{"name":"OK"},"seqno":1}`),
	replyLie("status field that is no string", `{"status":{"code":0,"name":"OK","fields":{"a":1}},"seqno":1}`),
	replyLie("two keys of one name", `{"status":{"code":0,"name":"OK"},"seqno":1,"seqno":2}`),
	replyLie("bytes after the object", `{"status":{"code":0,"name":"OK"},"seqno":99}{}`),
	replyLie("no seqno", `{"status":{"code":0,"name":"OK"}}`),
	replyLie("seqno without payload", `{"status":{"code":0,"name":"OK"},"seqno":1000}`),
	replyLie("nested too deep", `{"status":{"code":0,"name":"OK"},"seqno":1000,"x":`+strings.Repeat("[", 60)+strings.Repeat("]", 60)+`}`),
	{RuleReply, "reply's seqno is not the payload's", func(s *scene) error {
		s.edited(func(_, _ map[string]any) {})
		s.on("merkle/root", func(_ url.Values, reply map[string]any) { reply["seqno"] = reply["seqno"].(Seqno) + 1 })
		return s.refresh()
	}},

	{RuleRootPacket, "an integer in a longer form", func(s *scene) error {
		return s.resign(func(p *Packet) []byte {
			return []byte(strings.Replace(string(p.Encode()), "version\x01", "version\xcc\x01", 1))
		})
	}},
	{RuleRootPacket, "wrong packet hash", func(s *scene) error {
		return s.resign(func(p *Packet) []byte {
			b := p.Encode()
			b[len(b)-20]++
			return b
		})
	}},
	{RuleRootPacket, "encryption tag", func(s *scene) error {
		return s.resign(func(p *Packet) []byte { p.Tag = tagEncryption; return p.Encode() })
	}},
	{RuleRootPacket, "bytes after the packet", func(s *scene) error {
		return s.resign(func(p *Packet) []byte { return append(p.Encode(), 0) })
	}},
	{RuleRootPacket, "line breaks in base64", func(s *scene) error {
		s.edited(func(_, _ map[string]any) {})
		s.on("merkle/root", func(_ url.Values, reply map[string]any) {
			sig := s.top().sig
			reply["sigs"] = map[string]any{s.key.KID().String(): map[string]any{"sig": sig[:64] + "\n" + sig[64:]}}
		})
		return s.refresh()
	}},

	{RuleRootSignature, "forged signature", func(s *scene) error {
		return s.resign(func(p *Packet) []byte { p.Sig[0]++; return p.Encode() })
	}},
	{RuleRootSignature, "another key in the packet", func(s *scene) error {
		return s.resign(func(p *Packet) []byte { return SignPacket(NewSigningKey(randomSeed()), p.Payload).Encode() })
	}},
	{RuleRootSignature, "signature of an older root", func(s *scene) error {
		return s.resign(func(*Packet) []byte { return SignPacket(s.key, []byte(s.roots[0].payload)).Encode() })
	}},
	{RuleRootSignature, "filed under an unknown key", func(s *scene) error {
		s.edited(func(_, _ map[string]any) {})
		s.on("merkle/root", func(_ url.Values, reply map[string]any) {
			reply["sigs"] = map[string]any{NewSigningKey(randomSeed()).KID().String(): map[string]any{"sig": s.top().sig}}
		})
		return s.refresh()
	}},

	payloadLie("tag", func(p, _ map[string]any) { p["tag"] = "signatur" }),
	payloadLie("type", func(_, b map[string]any) { b["type"] = "root" }),
	payloadLie("version", func(_, b map[string]any) { b["version"] = 2 }),
	payloadLie("short root hash", func(_, b map[string]any) { b["root"] = strings.Repeat("0", 64) }),
	payloadLie("upper-case hash", func(_, b map[string]any) { b["root"] = strings.ToUpper(b["root"].(string)) }),
	payloadLie("no ctime", func(p, _ map[string]any) { delete(p, "ctime") }),
	payloadLie("seqno as text", func(_, b map[string]any) { b["seqno"] = "7" }),
	payloadLie("no txid", func(_, b map[string]any) { delete(b, "txid") }),
	payloadLie("no legacy tree", func(_, b map[string]any) { delete(b, "legacy_uid_root") }),
	payloadLie("odd kit hash", func(_, b map[string]any) { b["pvl_hash"] = "ff" }),
	payloadLie("no kbfs", func(_, b map[string]any) { delete(b, "kbfs") }),
	{RuleRootPayload, "two keys of one name", func(s *scene) error {
		s.edited(func(_, _ map[string]any) {})
		s.mu.Lock()
		r := s.top()
		r.payload = strings.Replace(r.payload, `"ctime":`, `"ctime":1,"ctime":`, 1)
		r.sig = SignPacket(s.key, []byte(r.payload)).Armor()
		s.mu.Unlock()
		return s.refresh()
	}},

	{RuleRollback, "an older root", func(s *scene) error {
		s.on("merkle/root", func(_ url.Values, reply map[string]any) {
			for k, v := range s.rootObject(s.roots[1]) {
				reply[k] = v
			}
		})
		return s.refresh()
	}},
	{RuleRollback, "a root from before the first", func(s *scene) error {
		srv := s.server(2)
		srv.FirstRoot = 1000
		_, err := NewVerifier(srv, nil).RefreshRoot(s.t.Context())
		return err
	}},
	{RuleFork, "two roots of one number", func(s *scene) error {
		s.rewrite(s.v.LastRoot().Seqno)
		_, err := NewVerifier(s.server(2), s.v.Witness).RefreshRoot(s.t.Context())
		return err
	}},
	{RuleFork, "the known root again, but different", func(s *scene) error {
		s.rewrite(s.v.LastRoot().Seqno)
		s.on("merkle/root", func(_ url.Values, reply map[string]any) {
			for k, v := range s.rootObject(s.top()) {
				reply[k] = v
			}
		})
		return s.refresh()
	}},
	{RuleFork, "a skip table that tells another past", func(s *scene) error {
		// Not on the path from the last root to the next, so only memory helps.
		s.edited(func(_, body map[string]any) {
			skips := body["skips"].(map[string]any)
			skips[fmt.Sprint(body["seqno"].(Seqno)-4)] = strings.Repeat("ab", 32)
		})
		return s.refresh()
	}},
	{RuleFork, "another witness saw something else", func(s *scene) error {
		other := NewWitness()
		if err := other.Merge(s.v.Witness.Dump()); err != nil {
			return err
		}
		s.rewrite(2)
		v := NewVerifier(s.server(2), nil)
		if err := v.Witness.Merge(nil); err != nil {
			return err
		}
		if _, err := v.RefreshRoot(s.t.Context()); err != nil {
			return err
		}
		return other.Merge(v.Witness.Dump())
	}},
	{RulePrev, "prev of nobody", func(s *scene) error {
		s.edited(func(_, b map[string]any) { b["prev"] = strings.Repeat("ab", 64) })
		return s.refresh()
	}},

	skipTableLie("missing", func(skips map[string]any, n Seqno) { delete(skips, fmt.Sprint(n-2)) }),
	skipTableLie("extra", func(skips map[string]any, n Seqno) { skips[fmt.Sprint(n-3)] = strings.Repeat("ab", 32) }),
	skipTableLie("moved", func(skips map[string]any, n Seqno) {
		skips[fmt.Sprint(n-3)] = skips[fmt.Sprint(n-4)]
		delete(skips, fmt.Sprint(n-4))
	}),
	skipTableLie("odd number", func(skips map[string]any, n Seqno) {
		skips["0"+fmt.Sprint(n-1)] = skips[fmt.Sprint(n-1)]
		delete(skips, fmt.Sprint(n-1))
	}),
	skipTableLie("dummy for a root that exists", func(skips map[string]any, n Seqno) {
		skips[fmt.Sprint(n-4)] = strings.Repeat("0", 64)
	}),

	{RuleSkipPath, "no skips", func(s *scene) error {
		s.edited(func(_, _ map[string]any) {})
		s.on("merkle/root", func(_ url.Values, reply map[string]any) { delete(reply, "skips") })
		return s.refresh()
	}},
	{RuleSkipPath, "one too many", func(s *scene) error {
		s.edited(func(_, _ map[string]any) {})
		s.on("merkle/root", func(_ url.Values, reply map[string]any) { reply["skips"] = []string{s.roots[0].payload} })
		return s.refresh()
	}},
	{RuleSkipPath, "other positions", func(s *scene) error {
		for range 7 { // one path of two stops
			s.edited(func(_, _ map[string]any) {})
		}
		s.on("merkle/root", func(_ url.Values, reply map[string]any) {
			skips := reply["skips"].([]string)
			skips[0], skips[1] = skips[1], skips[0]
		})
		return s.refresh()
	}},
	{RuleSkipHash, "history rewritten under the client", func(s *scene) error {
		s.rewrite(s.v.LastRoot().Seqno)
		s.edited(func(_, _ map[string]any) {})
		return s.refresh()
	}},
	{RuleSkipHash, "a stop of another history", func(s *scene) error {
		for range 3 {
			s.edited(func(_, _ map[string]any) {})
		}
		s.on("merkle/root", func(_ url.Values, reply map[string]any) {
			skips := reply["skips"].([]string)
			skips[0] = strings.Replace(skips[0], "00ff", "00fe", 1)
		})
		return s.refresh()
	}},
	{RuleRootTime, "the clock goes back an hour", func(s *scene) error {
		s.edited(func(p, _ map[string]any) { p["ctime"] = s.clock - 3600 })
		return s.refresh()
	}},
	{RuleRootTime, "the clock goes back a second, with an exact witness", func(s *scene) error {
		s.v.Witness.TimeSlack = 0
		s.edited(func(p, _ map[string]any) { p["ctime"] = s.clock - 2 })
		return s.refresh()
	}},
}
