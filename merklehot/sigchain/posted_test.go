package sigchain

import (
	"bytes"
	"encoding/base64"
	"slices"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
)

// eachPosted calls f with every posted link of every scene, as v1 and as v2.
func eachPosted(t *testing.T, f func(t *testing.T, w *world, d *draft, p Posted)) {
	for _, sc := range scenes {
		for _, v := range []int{1, 2} {
			w := sc.setup(t)
			seqno, prev, el := w.st.Tail, w.st.TailLink, w.st.Eldest
			for _, d := range sc.drafts(w, v) {
				if d.typ == "eldest" {
					el = signKID(d.by)
				}
				p := w.sign(d, seqno+1, prev, el)
				l := must[*Link](t)(Parse(p))
				seqno, prev = l.Seqno, l.ID
				t.Run(sc.name+"/"+d.typ, func(t *testing.T) { f(t, w, d, p) })
			}
		}
	}
}

// No byte of any packet can change.
func TestPacketFlips(t *testing.T) {
	eachPosted(t, func(t *testing.T, _ *world, d *draft, p Posted) {
		if d.gpg != nil {
			return // the bits of messages are the business of kbsig/pgp
		}
		packet := must[[]byte](t)(base64.StdEncoding.DecodeString(p.Sig))
		for i := range packet {
			m := bytes.Clone(packet)
			m[i] ^= 1 << (i % 8)
			if _, err := parseLink(m, []byte(p.SigInner), d.bundle); err == nil {
				t.Fatalf("byte %d of %d", i, len(packet))
			}
		}
		for i := 0; i < len(p.SigInner); i++ {
			m := []byte(p.SigInner)
			m[i] ^= 1 << (i % 7)
			if _, err := parseLink(packet, m, d.bundle); err == nil {
				t.Fatalf("byte %d of the inner link", i)
			}
		}
		if _, err := parseLink(packet[:len(packet)-1], []byte(p.SigInner), ""); err == nil {
			t.Fatal("packet cut short")
		}
	})
}

// A packet without its hash is refused: clients would give it another id.
func TestHashlessPacket(t *testing.T) {
	eachPosted(t, func(t *testing.T, _ *world, d *draft, p Posted) {
		if d.gpg != nil {
			return
		}
		packet := must[[]byte](t)(base64.StdEncoding.DecodeString(p.Sig))
		i, j := bytes.LastIndex(packet, []byte("\xa4hash\x82")), bytes.LastIndex(packet, []byte("\xa3tag"))
		bare := append(append([]byte{0x83}, packet[1:i]...), packet[j:]...)
		if _, err := kbsig.DecodeSignature(bare); err != nil {
			t.Fatal(err)
		}
		if _, err := parseLink(bare, []byte(p.SigInner), d.bundle); KindOf(err) != KindSignature {
			t.Fatal(err)
		}
	})
}

// An outer link that differs from the inner one in anything is refused, though
// the right key signs it.
func TestOuterDisagrees(t *testing.T) {
	eachPosted(t, func(t *testing.T, w *world, d *draft, p Posted) {
		if d.v != 2 {
			return
		}
		packet := must[[]byte](t)(base64.StdEncoding.DecodeString(p.Sig))
		sig := must[*kbsig.Signature](t)(kbsig.DecodeSignature(packet))
		for name, bend := range map[string]func(*kbsig.Outer){
			"seqno":   func(o *kbsig.Outer) { o.Seqno++ },
			"prev":    func(o *kbsig.Outer) { o.Prev[3] ^= 1 },
			"curr":    func(o *kbsig.Outer) { o.Curr[3] ^= 1 },
			"type":    func(o *kbsig.Outer) { o.Type++ },
			"none":    func(o *kbsig.Outer) { o.Type = kbsig.LinkNone },
			"team":    func(o *kbsig.Outer) { o.Type += 32 },
			"ignore":  func(o *kbsig.Outer) { o.IgnoreIfUnsupported = !o.IgnoreIfUnsupported },
			"skip":    func(o *kbsig.Outer) { o.Fields, o.HighSkip = 9, &kbsig.HighSkip{Seqno: 1, Hash: o.Curr} },
			"no skip": func(o *kbsig.Outer) { o.Fields, o.HighSkip = 9, &kbsig.HighSkip{} },
		} {
			o := must[*kbsig.Outer](t)(kbsig.DecodeOuter(sig.Payload))
			bend(o)
			if _, err := parseLink(kbsig.SignPacket(signer(d.by), o.Encode()), []byte(p.SigInner), d.bundle); err == nil {
				t.Errorf("%s differs", name)
			}
		}
		for _, fields := range []int{5, 6} {
			o := must[*kbsig.Outer](t)(kbsig.DecodeOuter(sig.Payload))
			young := o.IgnoreIfUnsupported // the old forms have no place for it
			o.Fields = fields
			if _, err := parseLink(kbsig.SignPacket(signer(d.by), o.Encode()), []byte(p.SigInner), d.bundle); (err == nil) == young {
				t.Errorf("old form of %d elements: %v", fields, err)
			}
		}
	})
}

// What is sent beside the signature must agree with it.
func TestPostedDisagrees(t *testing.T) {
	other := kbsig.SigIDBase{1}
	eachPosted(t, func(t *testing.T, _ *world, d *draft, p Posted) {
		l := must[*Link](t)(Parse(p))
		full := p
		full.SigIDBase, full.SigIDShort, full.IsRemoteProof = l.SigID.String(), l.SigID.Short(), "0"
		if s := l.Service; s != nil {
			full.IsRemoteProof = "1"
			full.RemoteUsername, full.RemoteHost = s.Username, s.Host
			switch {
			case s.Generic():
				full.RemoteService, full.Type = s.Name, "web_service_binding.generic_social"
			case s.Social():
				full.Type = "web_service_binding." + s.Name
			case s.Protocol == "dns":
				full.Type = "web_service_binding.dns"
			default:
				full.RemoteHost, full.Type = s.Protocol+"//"+s.Host, "web_service_binding.generic"
			}
		}
		if d.typ == "eldest" {
			full.IsPrimary, full.NewEldest = "1", "1"
		} else {
			full.EldestKID = l.Eldest.String()
		}
		if _, err := Parse(full); err != nil {
			t.Fatal(err)
		}
		for name, bend := range map[string]func(*Posted){
			"signing_kid":     func(p *Posted) { p.SigningKID = signKID("Z").String() },
			"no signing_kid":  func(p *Posted) { p.SigningKID = "" },
			"type":            func(p *Posted) { p.Type = "announcement" },
			"sig_id_base":     func(p *Posted) { p.SigIDBase = other.String() },
			"sig_id_short":    func(p *Posted) { p.SigIDShort = other.Short() },
			"is_remote_proof": func(p *Posted) { p.IsRemoteProof = oneIf(p.IsRemoteProof == "0") },
			"remote_username": func(p *Posted) { p.RemoteUsername += "x" },
			"remote_host":     func(p *Posted) { p.RemoteHost += "x" },
			"remote_service":  func(p *Posted) { p.RemoteService += "x" },
			"service":         func(p *Posted) { p.Type = "web_service_binding.reddit" },
			"is_update":       func(p *Posted) { p.IsUpdate = map[bool]string{true: "0", false: "1"}[l.Type == kbsig.LinkPGPUpdate] },
			"is_primary":      func(p *Posted) { p.IsPrimary = map[string]string{"1": "0"}[p.IsPrimary] + "x" },
			"new_eldest":      func(p *Posted) { p.NewEldest = "2" },
			"eldest_kid":      func(p *Posted) { p.EldestKID = signKID("Z").String() },
			"public_key":      func(p *Posted) { p.PublicKey = signKID("Z").String() },
			"public_keys":     func(p *Posted) { p.PublicSigning = signKID("Z").String() },
			"encryption":      func(p *Posted) { p.PublicEncrypt = encKID("Z").String() },
			"uid":             func(p *Posted) { p.UID = kbsig.UIDOf("carol").String() },
			"sig":             func(p *Posted) { p.Sig += "\nx" },
			"sig_inner":       func(p *Posted) { p.SigInner += " " },
			"no sig":          func(p *Posted) { p.Sig = "" },
			"pgp":             func(p *Posted) { p.Sig = "-----BEGIN PGP MESSAGE-----\n" },
		} {
			m := full
			bend(&m)
			if _, err := Parse(m); err == nil || KindOf(err) == KindNone {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A statement can be signed by the right key and still be of a type that is not
// taken: then the refusal says so.
func TestNotAvailable(t *testing.T) {
	w := signUp(t)
	for _, typ := range []string{"web_service_binding", "cryptocurrency", "wallet.stellar", "wot.vouch", "wot.react", "pgp_update",
		"device", "announcement", "update_passphrase_hash", "update_settings", "auth", "teams.root", "Track", "none", ""} {
		for _, v := range []int{1, 2} {
			d := &draft{typ: typ, by: "A", v: v}
			if _, err := w.links(d); KindOf(err) != KindNotAvailable && KindOf(err) != KindInput {
				t.Errorf("%q v%d: %v", typ, v, err)
			}
		}
	}
}

// Each kind has its row, and each row a code and a name that clients know.
func TestKinds(t *testing.T) {
	for i, k := range Kinds {
		if int(k.Kind) != i || k.Name == "" || (k.Code == 0) != (i == 0) {
			t.Errorf("row %d: %+v", i, k)
		}
	}
	if KindCorrupt.Info().Kind != Kinds[len(Kinds)-1].Kind || Kind(-1).Info().Kind != KindCorrupt {
		t.Error("table is not complete")
	}
}

// A repeated request is known only if all its links are the newest ones.
func TestAlreadyPosted(t *testing.T) {
	w := twoDevices(t)
	last := must[*Link](t)(w.records[len(w.records)-1].Link())
	before := must[*Link](t)(w.records[len(w.records)-2].Link())
	first := must[*Link](t)(w.records[0].Link())
	for name, c := range map[string]struct {
		links []*Link
		want  bool
	}{
		"both":    {[]*Link{before, last}, true},
		"newest":  {[]*Link{last}, true},
		"older":   {[]*Link{before}, false},
		"swapped": {[]*Link{last, before}, false},
		"first":   {[]*Link{first, last}, false},
		"none":    {nil, false},
	} {
		if got, err := AlreadyPosted(w.st, c.links, w.record); err != nil || got != c.want {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	fresh := must[[]*Link](t)(w.links(track("bob", "A")))
	if got, _ := AlreadyPosted(w.st, fresh, w.record); got {
		t.Error("a new link is no repeat")
	}
}

// What a door serves is what was stored: full entries of both versions, stubs of
// follows and of what only young clients know, and nothing from a damaged record.
func TestRecordEntries(t *testing.T) {
	eachPosted(t, func(t *testing.T, _ *world, d *draft, p Posted) {
		l := must[*Link](t)(Parse(p))
		r := l.Record()
		for _, stub := range []bool{false, true} {
			e := must[kbsig.WireEntry](t)(r.Entry(stub))
			if e != l.Entry(stub) {
				t.Fatal("record and link differ")
			}
			wantStub := stub && d.v == 2 && l.Revoke == nil && slices.Contains([]string{"track", "untrack", "wot.vouch", "wot.react"}, d.typ)
			if (e.S2 != "") != wantStub || e.SigVersion != 0 != !wantStub {
				t.Fatalf("stub %v: %+v", stub, e)
			}
		}
		if d.v == 2 {
			r.Inner = append(bytes.Clone(r.Inner), ' ')
			if _, err := r.Entry(false); KindOf(err) != KindCorrupt {
				t.Fatal(err)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	w := signUp(f)
	for _, d := range append(statements(), track("bob", "A"), sibkey("B", "A", "phone", "mobile"), perUserKey("P2", "A", 2)) {
		for v := 1; v <= 2; v++ {
			d.v = v
			p := w.sign(d, w.st.Tail+1, w.st.TailLink, w.st.Eldest)
			packet, _ := base64.StdEncoding.DecodeString(p.Sig)
			f.Add(packet, []byte(p.SigInner))
		}
	}
	f.Fuzz(func(t *testing.T, packet, inner []byte) {
		l, err := parseLink(packet, inner, "")
		if err != nil {
			if KindOf(err) == KindNone || KindOf(err) == KindCorrupt {
				t.Fatalf("no kind: %v", err)
			}
			return
		}
		if again, err := l.Record().Link(); err != nil || again.ID != l.ID {
			t.Fatalf("record does not read back: %v", err)
		}
	})
}

// FuzzInner judges inner JSON under a valid signature.
func FuzzInner(f *testing.F) {
	w := following(f)
	drafts := []*draft{track("bob", "A"), untrack("bob", "A"), revokeDevice("B", "A", "mobile"), subkey("A"), eldest("A", "name")}
	for _, d := range append(drafts, statements()...) {
		f.Add(w.sign(version(2, d)[0], w.st.Tail+1, w.st.TailLink, w.st.Eldest).SigInner)
	}
	f.Fuzz(func(t *testing.T, inner string) {
		if len(inner) == 0 {
			return
		}
		d := &draft{by: "A", v: 1}
		p := w.signText(d, []byte(inner))
		l, err := parseLink(must[[]byte](t)(base64.StdEncoding.DecodeString(p.Sig)), nil, "")
		if err != nil {
			return
		}
		_, _ = w.st.Apply(l, w)
		if !bytes.Equal(l.Inner(), []byte(inner)) {
			t.Fatal("inner bytes")
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add(following(f).st.Encode())
	f.Add(NewState(kbsig.UIDOf("bob"), "bob").Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeState(b)
		if err != nil {
			if KindOf(err) != KindCorrupt {
				t.Fatal(err)
			}
			return
		}
		again := s.Encode()
		if b[0] < stateVersion { // written anew in today's form, which says the same
			if s, err = DecodeState(again); err != nil {
				t.Fatalf("a state of version %d, written anew: %v", b[0], err)
			}
			b = again
		}
		if !bytes.Equal(s.Encode(), b) {
			t.Fatal("two encodings of one state")
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(following(f).records[5].Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeRecord(b); err == nil && !bytes.Equal(r.Encode(), b) {
			t.Fatal("two encodings of one record")
		}
	})
}
