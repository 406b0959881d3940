package client

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// wrong is one link or post that a server must refuse. edit changes what an
// honest client would have sent; when it is nil, post changes the body.
type wrong struct {
	name string
	edit func(a *Account, s *LinkSpec)
	post func(a *Account, endpoint string, body map[string]any)
}

func inPayload(f func(payload, body, key map[string]any)) func(*Account, *LinkSpec) {
	return func(_ *Account, s *LinkSpec) {
		s.EditPayload = func(p map[string]any) {
			b := p["body"].(map[string]any)
			f(p, b, b["key"].(map[string]any))
		}
	}
}

func inJSON(f func(string) string) func(*Account, *LinkSpec) {
	return func(_ *Account, s *LinkSpec) { s.EditJSON = func(b []byte) []byte { return []byte(f(string(b))) } }
}

func inOuter(f func(*Outer)) func(*Account, *LinkSpec) {
	return func(_ *Account, s *LinkSpec) { s.EditOuter = f }
}

func inPacket(f func(*Packet)) func(*Account, *LinkSpec) {
	return func(_ *Account, s *LinkSpec) { s.EditPacket = f }
}

func inBody(f func(a *Account, body map[string]any)) func(*Account, string, map[string]any) {
	return func(a *Account, endpoint string, body map[string]any) {
		if endpoint == "key/multi" || endpoint == "follow" {
			f(a, body)
		}
	}
}

// everyLink are mistakes that any link can have.
var everyLink = []wrong{
	{name: "seqno too high", edit: func(_ *Account, s *LinkSpec) { s.Seqno++ }},
	{name: "seqno too low", edit: func(_ *Account, s *LinkSpec) { s.Seqno-- }},
	{name: "prev of nobody", edit: func(_ *Account, s *LinkSpec) { s.Prev[0]++ }},
	{name: "null prev", edit: inPayload(func(p, _, _ map[string]any) { p["prev"] = nil })},
	{name: "another name", edit: func(_ *Account, s *LinkSpec) { s.Username = "bob" }},
	{name: "capitals in the name", edit: func(_ *Account, s *LinkSpec) { s.Username = "Alice" }},
	{name: "another id", edit: func(_ *Account, s *LinkSpec) { s.UID = UIDOf("bob") }},
	{name: "another host", edit: inPayload(func(_, _, k map[string]any) { k["host"] = "example.org" })},
	{name: "another eldest key", edit: func(_ *Account, s *LinkSpec) { s.Eldest = NewSigningKey(randomSeed()).KID() }},
	{name: "no eldest key", edit: func(_ *Account, s *LinkSpec) { s.Eldest = KID{} }},
	{name: "another signer inside", edit: inPayload(func(_, _, k map[string]any) { k["kid"] = NewSigningKey(randomSeed()).KID().String() })},
	{name: "an unknown signer", edit: func(_ *Account, s *LinkSpec) { s.Signer = NewSigningKey(randomSeed()) }},
	{name: "the per-user key as signer", edit: func(a *Account, s *LinkSpec) { s.Signer = a.PUKs[0].Sig }},
	{name: "an unknown type", edit: inPayload(func(_, b, _ map[string]any) { b["type"] = "gossip" })},
	{name: "another version", edit: inPayload(func(_, b, _ map[string]any) { b["version"] = 3 })},
	{name: "another tag", edit: inPayload(func(p, _, _ map[string]any) { p["tag"] = "x" })},
	{name: "no expiry", edit: inPayload(func(p, _, _ map[string]any) { delete(p, "expire_in") })},
	{name: "negative expiry", edit: inPayload(func(p, _, _ map[string]any) { p["expire_in"] = -1 })},
	{name: "no ctime", edit: inPayload(func(p, _, _ map[string]any) { delete(p, "ctime") })},
	{name: "ctime as text", edit: inPayload(func(p, _, _ map[string]any) { p["ctime"] = "1" })},
	{name: "ctime of another age", edit: func(_ *Account, s *LinkSpec) { s.Ctime = 5 }},
	{name: "ctime far ahead", edit: func(_ *Account, s *LinkSpec) { s.Ctime += 365 * 24 * 3600 }},
	{name: "another chain", edit: inPayload(func(p, _, _ map[string]any) { p["seq_type"] = 3 })},
	{name: "a root that never was", edit: func(_ *Account, s *LinkSpec) { r := *s.Root; r.HashMeta[0]++; s.Root = &r }},
	{name: "another tree", edit: func(_ *Account, s *LinkSpec) { r := *s.Root; r.Node[0]++; s.Root = &r }},
	{name: "a root of the future", edit: func(_ *Account, s *LinkSpec) { r := *s.Root; r.Seqno += 100; s.Root = &r }},
	{name: "no root", edit: func(_ *Account, s *LinkSpec) { s.Root = nil }},
	{name: "leading space", edit: inJSON(func(j string) string { return " " + j })},
	{name: "bytes after it", edit: inJSON(func(j string) string { return j + "x" })},
	{name: "two keys of one name", edit: inJSON(func(j string) string { return strings.Replace(j, `"ctime":`, `"ctime":5,"ctime":`, 1) })},
	{name: "not UTF-8", edit: inJSON(func(j string) string { return strings.Replace(j, "go client", "go \xffclient", 1) })},
	{name: "not JSON", edit: inJSON(func(string) string { return "{" })},
	{name: "forged signature", edit: inPacket(func(p *Packet) { p.Sig[7]++ })},
	{name: "wrong packet tag", edit: inPacket(func(p *Packet) { p.Tag = tagEncryption })},
	{name: "wrong signature type", edit: inPacket(func(p *Packet) { p.SigType = 33 })},
	{name: "packet not detached", edit: inPacket(func(p *Packet) { p.Detached = false })},
	{name: "another key in the packet", edit: inPacket(func(p *Packet) { k := NewSigningKey(randomSeed()).KID(); p.Key = k[:] })},
	{name: "wrong packet hash", edit: func(_ *Account, s *LinkSpec) {
		s.EditPacketRaw = func(b []byte) []byte { b[len(b)-20]++; return b }
	}},
	{name: "bytes after the packet", edit: func(_ *Account, s *LinkSpec) {
		s.EditPacketRaw = func(b []byte) []byte { return append(b, 0) }
	}},
	{name: "an integer in a longer form", edit: func(_ *Account, s *LinkSpec) {
		s.EditPacketRaw = func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "version\x01", "version\xcc\x01", 1))
		}
	}},
}

// v2Links are mistakes of links with an outer frame.
var v2Links = []wrong{
	{name: "another type outside", edit: inOuter(func(o *Outer) { o.Type = typeRevoke })},
	{name: "another seqno outside", edit: inOuter(func(o *Outer) { o.Seqno++ })},
	{name: "another prev outside", edit: inOuter(func(o *Outer) { o.Prev = make([]byte, 32) })},
	{name: "another inner hash", edit: inOuter(func(o *Outer) { o.Curr = make([]byte, 32) })},
	{name: "no inner hash", edit: inOuter(func(o *Outer) { o.Curr = nil })},
	{name: "another chain outside", edit: inOuter(func(o *Outer) { o.SeqType = 2 })},
	{name: "version 1 outside", edit: inOuter(func(o *Outer) { o.Version = 1 })},
	{name: "may be ignored outside", edit: inOuter(func(o *Outer) { o.Ignore = true })},
	{name: "outer bytes after it", edit: func(_ *Account, s *LinkSpec) {
		s.EditOuterBytes = func(b []byte) []byte { return append(b, 0) }
	}},
	{name: "another inner link", post: inBody(func(_ *Account, b map[string]any) {
		b["sig_inner"] = strings.Replace(b["sig_inner"].(string), "go client", "go cliant", 1)
	})},
	{name: "no inner link", post: inBody(func(_ *Account, b map[string]any) { delete(b, "sig_inner") })},
	{name: "wrong signature id", post: inBody(func(_ *Account, b map[string]any) { b["sig_id_base"] = strings.Repeat("ab", 32) })},
	{name: "another signing key", post: inBody(func(_ *Account, b map[string]any) { b["signing_kid"] = NewSigningKey(randomSeed()).KID().String() })},
	{name: "another target", post: inBody(func(_ *Account, b map[string]any) { b["uid"] = UIDOf("carol").String() })},
	{name: "a revoke section", edit: inPayload(func(_, b, _ map[string]any) {
		b["revoke"] = map[string]any{"kids": []string{NewSigningKey(randomSeed()).KID().String()}}
	})},
	{name: "a track of nobody", edit: inPayload(func(_, b, _ map[string]any) { b["track"].(map[string]any)["id"] = UIDOf("nobody").String() })},
}

func only(typ string, f func(a *Account, s *LinkSpec)) func(*Account, *LinkSpec) {
	return func(a *Account, s *LinkSpec) {
		if s.Type == typ {
			f(a, s)
		}
	}
}

func sectionOf(s *LinkSpec, name string) map[string]any { return s.Body[name].(map[string]any) }

func firstSig(b map[string]any) map[string]any { return b["sigs"].([]map[string]any)[0] }

func pukOf(b map[string]any) map[string]any { return b["per_user_key"].(map[string]any) }

// newDevices are mistakes of sibkey, subkey and their boxes.
var newDevices = []wrong{
	{name: "no reverse signature", edit: only("sibkey", func(_ *Account, s *LinkSpec) { s.ReverseSigner = nil })},
	{name: "reverse signature by the signer", edit: only("sibkey", func(_ *Account, s *LinkSpec) { s.ReverseSigner = s.Signer })},
	{name: "reverse signature of another statement", edit: only("sibkey", func(_ *Account, s *LinkSpec) {
		s.EditReversed = func(p map[string]any) { p["ctime"] = p["ctime"].(int64) - 1 }
	})},
	{name: "a key that is used already", edit: only("sibkey", func(a *Account, s *LinkSpec) {
		s.ReverseSigner = a.Device.Sig
		sectionOf(s, "sibkey")["kid"], sectionOf(s, "device")["kid"] = a.Device.Sig.KID().String(), a.Device.Sig.KID().String()
	})},
	{name: "a device id that is used already", edit: only("sibkey", func(a *Account, s *LinkSpec) { sectionOf(s, "device")["id"] = a.Device.ID.String() })},
	{name: "a device name that is used already", edit: only("sibkey", func(a *Account, s *LinkSpec) {
		sectionOf(s, "device")["name"] = strings.ToUpper(a.Device.Name)
	})},
	{name: "a device without a name", edit: only("sibkey", func(_ *Account, s *LinkSpec) { delete(sectionOf(s, "device"), "name") })},
	{name: "a device of an unknown type", edit: only("sibkey", func(_ *Account, s *LinkSpec) { sectionOf(s, "device")["type"] = "toaster" })},
	{name: "a defunct device", edit: only("sibkey", func(_ *Account, s *LinkSpec) { sectionOf(s, "device")["status"] = 2 })},
	{name: "a device with another key", edit: only("sibkey", func(a *Account, s *LinkSpec) { sectionOf(s, "device")["kid"] = a.PUKs[0].Sig.KID().String() })},
	{name: "no device", edit: only("sibkey", func(_ *Account, s *LinkSpec) { delete(s.Body, "device") })},
	{name: "a device id with another suffix", edit: only("sibkey", func(_ *Account, s *LinkSpec) {
		sectionOf(s, "device")["id"] = sectionOf(s, "device")["id"].(string)[:30] + "19"
	})},
	{name: "an unknown parent", edit: only("subkey", func(_ *Account, s *LinkSpec) {
		sectionOf(s, "subkey")["parent_kid"] = NewSigningKey(randomSeed()).KID().String()
	})},
	{name: "a signing key as subkey", edit: only("subkey", func(_ *Account, s *LinkSpec) {
		sectionOf(s, "subkey")["kid"] = NewSigningKey(randomSeed()).KID().String()
	})},
	{name: "a subkey that is used already", edit: only("subkey", func(a *Account, s *LinkSpec) { sectionOf(s, "subkey")["kid"] = a.Device.Enc.KID().String() })},
	{name: "an eldest link", edit: only("sibkey", func(_ *Account, s *LinkSpec) { s.Type = "eldest" })},
	{name: "only the second link is wrong", edit: only("subkey", func(_ *Account, s *LinkSpec) { s.Prev[3]++ })},
	{name: "links in the wrong order", post: inBody(func(_ *Account, b map[string]any) {
		sigs := b["sigs"].([]map[string]any)
		sigs[0], sigs[1] = sigs[1], sigs[0]
	})},
	{name: "no links", post: inBody(func(_ *Account, b map[string]any) { b["sigs"] = []any{} })},
	{name: "links that are no list", post: inBody(func(_ *Account, b map[string]any) { b["sigs"] = "x" })},
	{name: "a link without signature", post: inBody(func(_ *Account, b map[string]any) { delete(firstSig(b), "sig") })},
	{name: "another public key", post: inBody(func(_ *Account, b map[string]any) {
		firstSig(b)["public_key"] = NewSigningKey(randomSeed()).KID().String()
	})},
	{name: "another type beside it", post: inBody(func(_ *Account, b map[string]any) { firstSig(b)["type"] = "subkey" })},
	{name: "wrong signature id", post: inBody(func(_ *Account, b map[string]any) { firstSig(b)["sig_id_short"] = strings.Repeat("A", 36) })},
	{name: "a box of another generation", post: inBody(func(_ *Account, b map[string]any) { pukOf(b)["generation"] = 7 })},
	{name: "a box for nobody", post: inBody(func(_ *Account, b map[string]any) {
		pukOf(b)["boxes"].([]map[string]any)[0]["receiver_kid"] = NewDHKey(randomSeed()).KID().String()
	})},
	{name: "a box that is no packet", post: inBody(func(_ *Account, b map[string]any) { pukOf(b)["boxes"].([]map[string]any)[0]["box"] = "AAAA" })},
}

// newPUKs are mistakes of a per-user-key roll.
var newPUKs = []wrong{
	{name: "a generation is left out", edit: func(_ *Account, s *LinkSpec) { sectionOf(s, "per_user_key")["generation"] = 3 }},
	{name: "a generation twice", edit: func(_ *Account, s *LinkSpec) { sectionOf(s, "per_user_key")["generation"] = 1 }},
	{name: "reverse signature by the device", edit: func(a *Account, s *LinkSpec) { s.ReverseSigner = a.Device.Sig }},
	{name: "an old signing key", edit: func(a *Account, s *LinkSpec) {
		s.ReverseSigner = a.PUKs[0].Sig
		sectionOf(s, "per_user_key")["signing_kid"] = a.PUKs[0].Sig.KID().String()
	}},
	{name: "two signing keys", edit: func(_ *Account, s *LinkSpec) {
		sectionOf(s, "per_user_key")["encryption_kid"] = NewSigningKey(randomSeed()).KID().String()
	}},
	{name: "no prev", post: inBody(func(_ *Account, b map[string]any) { delete(pukOf(b), "prev") })},
	{name: "a missing box", post: inBody(func(_ *Account, b map[string]any) {
		boxes := pukOf(b)["boxes"].([]map[string]any)
		pukOf(b)["boxes"] = boxes[:len(boxes)-1]
	})},
	{name: "no boxes at all", post: inBody(func(_ *Account, b map[string]any) { delete(b, "per_user_key") })},
	{name: "a box for a stranger", post: inBody(func(_ *Account, b map[string]any) {
		boxes := pukOf(b)["boxes"].([]map[string]any)
		extra := map[string]any{"generation": 2, "box": boxes[0]["box"], "receiver_kid": NewDHKey(randomSeed()).KID().String()}
		pukOf(b)["boxes"] = append(boxes, extra)
	})},
	{name: "other public keys beside it", post: inBody(func(_ *Account, b map[string]any) {
		firstSig(b)["public_keys"].(map[string]any)["signing"] = NewSigningKey(randomSeed()).KID().String()
	})},
}

// revocations are mistakes of a device's end.
var revocations = []wrong{
	{name: "an unknown key", edit: only("revoke", func(_ *Account, s *LinkSpec) {
		sectionOf(s, "revoke")["kids"] = []string{NewSigningKey(randomSeed()).KID().String()}
	})},
	{name: "nothing", edit: only("revoke", func(_ *Account, s *LinkSpec) { sectionOf(s, "revoke")["kids"] = []string{} })},
	{name: "a key twice", edit: only("revoke", func(_ *Account, s *LinkSpec) {
		k := sectionOf(s, "revoke")["kids"].([]string)
		sectionOf(s, "revoke")["kids"] = append(k, k[0])
	})},
	{name: "an unknown signature", edit: only("revoke", func(_ *Account, s *LinkSpec) {
		s.Body["revoke"] = map[string]any{"sig_ids": []string{SigIDBase{}.SigID()}}
	})},
	{name: "another device", edit: only("revoke", func(_ *Account, s *LinkSpec) {
		sectionOf(s, "device")["id"] = strings.Repeat("ab", 15) + "18"
	})},
	{name: "a status of alive", edit: only("revoke", func(_ *Account, s *LinkSpec) { sectionOf(s, "device")["status"] = 1 })},
	{name: "no lease", post: inBody(func(_ *Account, b map[string]any) { delete(b, "downgrade_lease_id") })},
	{name: "another lease", post: inBody(func(_ *Account, b map[string]any) { b["downgrade_lease_id"] = strings.Repeat("ab", 16) })},
}

// TestLiveRefusals posts every wrong link to the built server: each is refused
// with a status, none leaves a trace, and the next honest link is taken.
func TestLiveRefusals(t *testing.T) {
	l := startLive(t)
	ctx := t.Context()
	v := l.verifier(nil)
	alice, bob := l.signup(v, "alice"), l.signup(v, "bob")
	l.signup(v, "carol")
	target, err := alice.AddDevice(ctx, "target", DeviceMobile)
	l.do("a device to revoke", err)

	n := 0
	for _, f := range []struct {
		name   string
		tables [][]wrong
		act    func() error
		undo   func() error // after an honest act, before the next table
	}{
		{"follow", [][]wrong{everyLink, v2Links},
			func() error { return alice.Follow(ctx, bob.UID) }, func() error { return alice.Unfollow(ctx, bob.UID) }},
		{"add device", [][]wrong{everyLink, newDevices},
			func() error {
				n++
				_, err := alice.AddDevice(ctx, fmt.Sprintf("device %d", n), DeviceDesktop)
				return err
			}, nil},
		{"roll per-user key", [][]wrong{everyLink, newPUKs}, func() error { return alice.RollPUK(ctx) }, nil},
		{"revoke device", [][]wrong{revocations}, func() error { return alice.RevokeDevice(ctx, target.ID) }, nil},
	} {
		for _, table := range f.tables {
			for _, w := range table {
				t.Run(f.name+"/"+w.name, func(t *testing.T) { refuse(t, ctx, alice, f.act, w) })
			}
		}
		l.do(f.name+" without a mistake", f.act())
		if f.undo != nil {
			l.do("undo "+f.name, f.undo())
		}
	}
	u, err := l.verifier(nil).LoadUser(ctx, alice.UID, LoadOptions{Quoted: true})
	l.do("a stranger's view", err)
	if d := u.Family.Device(target.ID); d == nil || !d.Revoked {
		t.Error("the honest revocation should have worked")
	}
}

// refuse posts one wrong thing.
func refuse(t *testing.T, ctx context.Context, a *Account, act func() error, w wrong) {
	a.EditLink, a.EditPost = nil, nil
	if w.edit != nil {
		a.EditLink = func(s *LinkSpec) { w.edit(a, s) }
	}
	if w.post != nil {
		a.EditPost = func(endpoint string, body map[string]any) { w.post(a, endpoint, body) }
	}
	posted := len(a.Posted)
	err := act()
	a.EditLink, a.EditPost = nil, nil
	t.Log(err)
	switch code := StatusCode(err); {
	case code > 0 && len(a.Posted) == posted:
	default:
		t.Errorf("it was not refused: %v", err)
	}
	if err := a.Reload(ctx); err != nil {
		t.Fatalf("it left a trace: %v", err)
	}
}

// TestLiveTokens sends tokens and proofs that a server must not take.
func TestLiveTokens(t *testing.T) {
	l := startLive(t)
	ctx := t.Context()
	v := l.verifier(nil)
	alice, bob := l.signup(v, "alice"), l.signup(v, "bob")
	srv, dev := v.srv, alice.Device
	for _, c := range []struct {
		name string
		edit func(*NIST)
		key  *SigningKey
		form func(*NIST) []byte
	}{
		{name: "another version", edit: func(n *NIST) { n.Version = 35 }},
		{name: "another host", edit: func(n *NIST) { n.Host = "example.org" }},
		{name: "another user", edit: func(n *NIST) { n.UID = bob.UID }},
		{name: "another device", edit: func(n *NIST) { n.Device = bob.Device.ID }},
		{name: "expired", edit: func(n *NIST) { n.Generated -= n.Lifetime + 1 }},
		{name: "from the future", edit: func(n *NIST) { n.Generated += 7 * 24 * 3600 }},
		{name: "too long a life", edit: func(n *NIST) { n.Lifetime *= 10 }},
		{name: "no life", edit: func(n *NIST) { n.Lifetime = 0 }},
		{name: "negative life", edit: func(n *NIST) { n.Lifetime = -5 }},
		{name: "another key", key: bob.Device.Sig},
		{name: "the per-user key", key: alice.PUKs[0].Sig},
		{name: "a hash that was never shown", form: func(n *NIST) []byte { return n.Short }},
		{name: "cut short", form: func(n *NIST) []byte { return n.Long[:len(n.Long)-1] }},
		{name: "one byte more", form: func(n *NIST) []byte { return append(n.Long, 0) }},
		{name: "one bit of the signature", form: func(n *NIST) []byte { n.Long[20] ^= 1; return n.Long }},
		{name: "empty", form: func(*NIST) []byte { return nil }},
	} {
		n, err := NewNIST(alice.UID, dev.ID, time.Now(), srv.Random)
		l.do(c.name, err)
		if c.edit != nil {
			c.edit(n)
		}
		key := c.key
		if key == nil {
			key = dev.Sig
		}
		n.Sign(key)
		token := n.Long
		if c.form != nil {
			token = c.form(n)
		}
		if err := srv.CheckSession(ctx, RawToken(b64(token))); StatusCode(err) <= 0 {
			t.Errorf("%s: not refused: %v", c.name, err)
		}
	}
	for _, c := range []struct {
		name string
		edit func(*LoginProof)
		seed Seed
	}{
		{name: "another session", edit: func(p *LoginProof) { p.Session = b64([]byte("made up")) }},
		{name: "another host", edit: func(p *LoginProof) { p.Host = "example.org" }},
		{name: "another name", edit: func(p *LoginProof) { p.Username = "bob" }},
		{name: "another type", edit: func(p *LoginProof) { p.Type = "eldest" }},
		{name: "expired", edit: func(p *LoginProof) { p.Ctime -= 7 * 24 * 3600 }},
		{name: "from the future", edit: func(p *LoginProof) { p.Ctime += 7 * 24 * 3600 }},
		{name: "another password", seed: randomSeed()},
	} {
		session, err := alice.getSalt(ctx)
		l.do(c.name, err)
		args, err := alice.loginProofs(session)
		l.do(c.name, err)
		p, err := NewLoginProof("alice", session, time.Now(), srv.Random)
		l.do(c.name, err)
		seed := alice.Stream.EdDSASeed()
		if c.seed != (Seed{}) {
			seed = c.seed
		}
		if c.edit != nil {
			c.edit(p)
		}
		sig, err := p.Sign(seed)
		l.do(c.name, err)
		args.Set("pdpka5", sig)
		args.Set("email_or_username", "alice")
		if _, err := srv.Post(ctx, "login", args, nil); StatusCode(err) <= 0 {
			t.Errorf("login with %s: not refused: %v", c.name, err)
		}
	}
}
