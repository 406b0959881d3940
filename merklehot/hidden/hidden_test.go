package hidden_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/roots"
)

// A client can load what was posted: the links as they were, one after the other, with
// the newest key, and a root that commits to the last of them.
func TestPostedLinksAreServed(t *testing.T) {
	w := newWorld(t)
	id := team(1)
	w.visible[id] = hidden.Visible{Tail: kbsig.Sig3Tail{Seqno: 3, Link: kbsig.LinkID{3}}, Generation: 2, Implicit: true}
	var posted []*client.HiddenLink
	for gen := int64(3); gen < 8; gen++ {
		posted = append(posted, w.rotate(t, id, gen))
	}
	v := w.st.View()
	defer v.Close()
	var prev client.HiddenTail
	n := 0
	err := hidden.Links(v, id, 2, func(seqno kbsig.Seqno, r hidden.Record) error {
		e := r.Entry(false)
		l, err := client.ParseHidden(e.Inner, e.Outer, e.Sig)
		if err != nil {
			return err
		}
		if want := posted[seqno-1]; e.Inner != want.Inner || e.Outer != want.Outer || e.Sig != want.Sig || l.ID != want.ID {
			t.Errorf("link %d is not the one posted", seqno)
		}
		if n > 0 && l.Prev != prev.LinkID {
			t.Errorf("link %d does not follow", seqno)
		}
		if stub := r.Entry(true); stub.Inner != "" || stub.Sig != "" || stub.Outer != e.Outer {
			t.Errorf("stub of link %d: %+v", seqno, stub)
		}
		back, err := r.Link()
		if err != nil || back.ID != kbsig.LinkID(l.ID) || back.PTK.Generation != int64(seqno)+2 {
			t.Errorf("link %d read again: %+v, %v", seqno, back, err)
		}
		prev = l.Tail()
		n++
		return nil
	})
	if err != nil || n != 3 {
		t.Fatalf("%d links, %v", n, err)
	}
	st := w.load(t, id)
	if k := st.PTK(); st.Tail().Seqno != 5 || k.Generation != 7 || k.Seqno != 5 || k.Signing != kbsig.KID(posted[4].Key.Sig) || k.Encryption != kbsig.KID(posted[4].Key.Enc) {
		t.Errorf("%+v, %+v", st.Tail(), k)
	}
	s := roots.StateOf(v)
	p, err := s.BlindProof(v, id, s.Root().Seqno)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := client.VerifyBlind(hex.EncodeToString(p.Hash[:]), id, base64.StdEncoding.EncodeToString(p.Proof))
	if err != nil || tail == nil || *tail != posted[4].Tail() {
		t.Errorf("the root says %+v, %v", tail, err)
	}
}

// Each way in which a rotation may not stand where it was posted is refused with the
// number that clients act on, and changes nothing.
func TestRefusals(t *testing.T) {
	other := errors.New("not a writer")
	edit := func(f func(l *client.HiddenLink)) func(*world, *client.HiddenLink) hidden.Posted {
		return func(_ *world, l *client.HiddenLink) hidden.Posted {
			f(l)
			l.Build(key("device"), key("fresh"))
			return item(l)
		}
	}
	post := func(f func(p *hidden.Posted)) func(*world, *client.HiddenLink) hidden.Posted {
		return func(_ *world, l *client.HiddenLink) hidden.Posted {
			p := item(l)
			f(&p)
			return p
		}
	}
	for name, tc := range map[string]struct {
		post func(*world, *client.HiddenLink) hidden.Posted
		kind hidden.Kind
		is   error
	}{
		"the next link":         {post: edit(func(*client.HiddenLink) {})},
		"implicit admin":        {post: edit(func(l *client.HiddenLink) { l.Admin = &client.HiddenAdmin{Team: l.Team, Seqno: 2, SeqType: 3} })},
		"a nameless client":     {post: edit(func(l *client.HiddenLink) { l.Client = nil })},
		"seqno again":           {post: edit(func(l *client.HiddenLink) { l.Seqno-- }), kind: hidden.KindOldSeqno},
		"seqno too far":         {post: edit(func(l *client.HiddenLink) { l.Seqno++ }), kind: hidden.KindOldSeqno},
		"another prev":          {post: edit(func(l *client.HiddenLink) { l.Prev[0]++ }), kind: hidden.KindOldSeqno},
		"first with prev":       {post: edit(func(l *client.HiddenLink) { l.Seqno = 1 }), kind: hidden.KindInput},
		"second without":        {post: edit(func(l *client.HiddenLink) { l.Prev = client.LinkID{} }), kind: hidden.KindInput},
		"old parent":            {post: edit(func(l *client.HiddenLink) { l.Parent.Seqno-- }), kind: hidden.KindOrder},
		"another parent":        {post: edit(func(l *client.HiddenLink) { l.Parent.LinkID[0]++ }), kind: hidden.KindOrder},
		"generation again":      {post: edit(func(l *client.HiddenLink) { l.Key.Generation-- }), kind: hidden.KindGeneration},
		"generation too far":    {post: edit(func(l *client.HiddenLink) { l.Key.Generation++ }), kind: hidden.KindGeneration},
		"generation zero":       {post: edit(func(l *client.HiddenLink) { l.Key.Generation = 0 }), kind: hidden.KindInput},
		"no such team":          {post: edit(func(l *client.HiddenLink) { l.Team = team(9); l.Seqno, l.Prev = 1, client.LinkID{} }), is: errNoTeam},
		"implicit, it is not":   {post: edit(func(l *client.HiddenLink) { l.Implicit = true }), kind: hidden.KindMismatch},
		"public":                {post: edit(func(l *client.HiddenLink) { l.Public = true }), kind: hidden.KindPublic},
		"a public team":         {post: edit(func(l *client.HiddenLink) { l.Team[15] = 0x2e }), kind: hidden.KindPublic},
		"no team's id":          {post: edit(func(l *client.HiddenLink) { l.Team[15] = 0x26 }), kind: hidden.KindInput},
		"encryption of signing": {post: edit(func(l *client.HiddenLink) { l.Key.Enc = key("x").KID() }), kind: hidden.KindInput},
		"no incarnation":        {post: edit(func(l *client.HiddenLink) { l.Eldest = 0 }), kind: hidden.KindInput},
		"no entropy at all":     {post: edit(func(l *client.HiddenLink) { l.Entropy = make([]byte, 65) }), kind: hidden.KindInput},
		"signed by another": {post: func(_ *world, l *client.HiddenLink) hidden.Posted {
			mine := l.Sig
			l.Build(key("another device"), key("gen 4"))
			l.Sig = mine
			return item(l)
		}, kind: hidden.KindSignature},
		"not allowed":         {post: func(w *world, l *client.HiddenLink) hidden.Posted { w.mayNot = other; return item(l) }, is: other},
		"item of another":     {post: post(func(p *hidden.Posted) { p.TeamID = team(9).String() }), kind: hidden.KindMismatch},
		"item's other key":    {post: post(func(p *hidden.Posted) { p.SigningKID = key("x").KID().String() }), kind: hidden.KindMismatch},
		"item's other keys":   {post: post(func(p *hidden.Posted) { p.Signing = p.Encryption }), kind: hidden.KindMismatch},
		"item's other type":   {post: post(func(p *hidden.Posted) { p.Type = "team.rotate_key" }), kind: hidden.KindInput},
		"item's other chain":  {post: post(func(p *hidden.Posted) { p.SeqType = 3 }), kind: hidden.KindInput},
		"item's version":      {post: post(func(p *hidden.Posted) { p.Version = 2 }), kind: hidden.KindInput},
		"item with inner":     {post: post(func(p *hidden.Posted) { p.SigInner = "{}" }), kind: hidden.KindInput},
		"a stub":              {post: post(func(p *hidden.Posted) { p.Inner, p.Sig = "", "" }), kind: hidden.KindInput},
		"base64 with a break": {post: post(func(p *hidden.Posted) { p.Outer += "\n" }), kind: hidden.KindInput},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.visible[team(1)] = hidden.Visible{Tail: kbsig.Sig3Tail{Seqno: 3, Link: kbsig.LinkID{3}}, Generation: 2}
			w.rotate(t, team(1), 3)
			w.rotate(t, team(1), 4)
			before := *w.load(t, team(1))
			err := w.post(tc.post(w, w.next(t, team(1), 5)))
			switch {
			case tc.kind == 0 && tc.is == nil:
				if err != nil {
					t.Error(err)
				}
				return
			case err == nil || hidden.KindOf(err) != tc.kind || tc.is != nil && !errors.Is(err, tc.is):
				t.Errorf("kind %d: %v", hidden.KindOf(err), err)
			}
			if *w.load(t, team(1)) != before {
				t.Error("the chain changed")
			}
		})
	}
}

// Every kind of refusal has its row, once, so that no door is without a number.
func TestKinds(t *testing.T) {
	for i, k := range hidden.Kinds {
		if k.Kind != hidden.Kind(i+1) || k.Code == 0 || k.Name == "" {
			t.Errorf("row %d: %+v", i, k)
		}
	}
	if last := hidden.Kinds[len(hidden.Kinds)-1].Kind; last != hidden.KindCorrupt {
		t.Errorf("the table ends with %d", last)
	}
}

// A visible link's ratchets are taken only with keys that explain them by links that
// are in the hidden chain; what is kept explains them to clients later.
func TestRatchets(t *testing.T) {
	w := newWorld(t)
	id := team(1)
	w.visible[id] = hidden.Visible{Tail: kbsig.Sig3Tail{Seqno: 3, Link: kbsig.LinkID{3}}, Generation: 2}
	first, second := w.rotate(t, id, 3).Tail(), w.rotate(t, id, 4).Tail()
	blind := func(tail client.HiddenTail, k byte) (kbsig.Ratchet, []hidden.Blinding) {
		list, err := kbsig.ParseBlindings(client.EncodeBlinding(tail, [32]byte{k}))
		if err != nil {
			t.Fatal(err)
		}
		return kbsig.Ratchet(client.RatchetOf(tail, [32]byte{k})), list
	}
	newest, newestKeys := blind(second, 1)
	older, olderKeys := blind(first, 2)
	foreign, foreignKeys := blind(client.HiddenTail{Seqno: 1, LinkID: second.LinkID}, 3)
	ahead, aheadKeys := blind(client.HiddenTail{Seqno: 3, LinkID: second.LinkID}, 4)
	forged := []hidden.Blinding{{Tail: newestKeys[0].Tail, Ratchet: older, Key: [32]byte{9}}}
	type h = []kbsig.Ratchet
	for name, tc := range map[string]struct {
		ratchets h
		given    []hidden.Blinding
		needed   bool
		kind     hidden.Kind
	}{
		"the end":            {h{newest}, newestKeys, true, 0},
		"an older and it":    {h{older, newest}, append(olderKeys, newestKeys...), true, 0},
		"an older":           {h{older}, olderKeys, true, hidden.KindNoRatchet},
		"an older, unneeded": {h{older}, olderKeys, false, 0},
		"none":               {nil, nil, true, hidden.KindNoRatchet},
		"none, unneeded":     {nil, nil, false, 0},
		"keys for no link":   {nil, newestKeys, true, hidden.KindNoRatchet},
		"unexplained":        {h{newest}, olderKeys, true, hidden.KindRatchet},
		"another link":       {h{foreign}, foreignKeys, false, hidden.KindRatchet},
		"a link to come":     {h{ahead}, aheadKeys, false, hidden.KindRatchet},
		"a key that lies":    {h{older}, forged, false, hidden.KindRatchet},
	} {
		v := w.st.View()
		got, err := hidden.CheckRatchets(v, id, w.load(t, id), tc.ratchets, tc.given, tc.needed)
		v.Close()
		if hidden.KindOf(err) != tc.kind || (err == nil) != (tc.kind == 0) || err == nil && len(got) != len(tc.ratchets) {
			t.Errorf("%s: %d kept, kind %d: %v", name, len(got), hidden.KindOf(err), err)
		}
	}
	v := w.st.View()
	defer v.Close()
	if _, err := hidden.CheckRatchets(v, team(2), new(hidden.State), nil, nil, true); err != nil {
		t.Errorf("a team without a hidden chain: %v", err)
	}
	if _, err := hidden.CheckRatchets(v, team(2), new(hidden.State), h{newest}, newestKeys, true); hidden.KindOf(err) != hidden.KindRatchet {
		t.Errorf("a ratchet of a team without a hidden chain: %v", err)
	}
	if err := w.st.Update(t.Context(), func(tx *store.Tx) error {
		hidden.PutBlindings(tx, id, append(newestKeys, olderKeys...))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	v2 := w.st.View()
	defer v2.Close()
	kept, err := hidden.Blindings(v2, id, h{newest, older, newest})
	if err != nil {
		t.Fatal(err)
	}
	said, err := client.ParseBlindings(kbsig.EncodeBlindings(kept))
	if err != nil || len(said) != 2 || said[client.Ratchet(newest)] != second || said[client.Ratchet(older)] != first {
		t.Errorf("%v, %v", said, err)
	}
	if _, err := hidden.Blindings(v2, id, h{foreign}); hidden.KindOf(err) != hidden.KindCorrupt {
		t.Errorf("a ratchet that nothing explains: %v", err)
	}
}

// Whatever is changed in the bytes of a good link, it is refused, or an independent
// client takes it too and reads the same out of it.
func TestMutants(t *testing.T) {
	w := newWorld(t)
	w.visible[team(1)] = hidden.Visible{Tail: kbsig.Sig3Tail{Seqno: 3, Link: kbsig.LinkID{3}}, Generation: 2}
	good := w.next(t, team(1), 3)
	dev, ptk := key("device"), key("gen 3")
	rapid.Check(t, func(t *rapid.T) {
		l := *good
		if rapid.Bool().Draw(t, "resigned") {
			// The signer lies: what it signs holds together.
			mutateFields(t, &l)
			l.Build(dev, ptk)
		}
		p := item(&l)
		if rapid.Bool().Draw(t, "bytes") {
			part := rapid.SampledFrom([]*string{&p.Inner, &p.Outer, &p.Sig}).Draw(t, "part")
			*part = mutateBytes(t, *part)
		}
		got, err := hidden.Parse(p)
		if err != nil {
			if hidden.KindOf(err) == 0 {
				t.Fatalf("refused without a kind: %v", err)
			}
			return
		}
		c, err := client.ParseHidden(p.Inner, p.Outer, p.Sig)
		if err != nil {
			t.Fatalf("taken, but a client says: %v", err)
		}
		if got.ID != kbsig.LinkID(c.ID) || got.Seqno != kbsig.Seqno(c.Seqno) || got.Prev != kbsig.LinkID(c.Prev) || got.PTK.Generation != int64(c.Key.Generation) ||
			got.PTK.Signing != kbsig.KID(c.Key.Sig) || got.PTK.Encryption != kbsig.KID(c.Key.Enc) || got.Parent.Seqno != kbsig.Seqno(c.Parent.Seqno) || got.Team != kbsig.TeamID(c.Team) {
			t.Fatalf("a client reads another link: %+v, %+v", got, c)
		}
		v := w.st.View()
		defer v.Close()
		st, err := hidden.Load(v, got.Team)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Apply(got, w); err != nil {
			return
		}
		// It may stand: then it differs in nothing by which readers judge its place.
		if c.Team != good.Team || c.Seqno != 1 || c.Prev != good.Prev || c.Parent != good.Parent || c.Key.Generation != 3 || c.Implicit || c.Public || c.Eldest != good.Eldest && c.Eldest < 1 {
			t.Fatalf("it would stand: %+v", c)
		}
	})
}

func mutateFields(t *rapid.T, l *client.HiddenLink) {
	n := rapid.SampledFrom([]int64{-1, 0, 1, 31, 127, 128, 65536, 1 << 33, 1 << 53, 1<<62 + 1}).Draw(t, "number")
	switch rapid.IntRange(0, 12).Draw(t, "field") {
	case 0:
		l.Seqno = client.Seqno(n)
	case 1:
		l.Prev = client.LinkID{}
	case 2:
		l.Key.Generation = int(n)
	case 3:
		l.Ctime = n
	case 4:
		l.RootSeqno = client.Seqno(n)
	case 5:
		l.Parent.Seqno = client.Seqno(n)
	case 6:
		l.Eldest = client.Seqno(n)
	case 7:
		l.Entropy = make([]byte, rapid.IntRange(0, 300).Draw(t, "entropy"))
	case 8:
		l.Client = &[2]string{string(make([]byte, rapid.IntRange(0, 300).Draw(t, "client"))), ""}
	case 9:
		l.Admin = &client.HiddenAdmin{Team: l.Team, Seqno: client.Seqno(n), SeqType: int(n)}
	case 10:
		l.Team[rapid.IntRange(0, 15).Draw(t, "byte")]++
	case 11:
		l.Key.Enc[rapid.IntRange(0, 34).Draw(t, "byte")]++
	case 12:
		l.Public = true
	}
}

func mutateBytes(t *rapid.T, s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
	switch rapid.IntRange(0, 3).Draw(t, "how") {
	case 0:
		b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	case 1:
		b = b[:at]
	case 2:
		b = append(b, rapid.Byte().Draw(t, "more"))
	case 3:
		b = append(b[:at], append([]byte{rapid.Byte().Draw(t, "inserted")}, b[at:]...)...)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// Bytes of any kind are no hidden link, or one that an independent client takes.
func FuzzParse(f *testing.F) {
	w := newWorld(f)
	w.visible[team(1)] = hidden.Visible{Tail: kbsig.Sig3Tail{Seqno: 3, Link: kbsig.LinkID{3}}, Generation: 2}
	l := w.next(f, team(1), 3)
	raw := func(s string) []byte { b, _ := base64.StdEncoding.DecodeString(s); return b }
	f.Add(raw(l.Inner), raw(l.Outer), raw(l.Sig))
	f.Fuzz(func(t *testing.T, inner, outer, sig []byte) {
		e := base64.StdEncoding.EncodeToString
		if _, err := kbsig.ParseSig3(e(inner), e(outer), e(sig)); err == nil {
			if _, err := client.ParseHidden(e(inner), e(outer), e(sig)); err != nil {
				t.Errorf("taken, but a client says: %v", err)
			}
		}
		if in, err := kbsig.DecodeSig3Inner(inner); err == nil && string(in.Encode()) != string(inner) {
			t.Errorf("%x has two encodings", inner)
		}
		if o, err := kbsig.DecodeSig3Outer(outer); err == nil && string(o.Encode()) != string(outer) {
			t.Errorf("%x has two encodings", outer)
		}
	})
}

// Blinding keys of any bytes are refused, or are just what they encode to again and what
// a client reads.
func FuzzBlindings(f *testing.F) {
	raw, _ := base64.StdEncoding.DecodeString(client.EncodeBlinding(client.HiddenTail{Seqno: 300, LinkID: client.LinkID{1}}, [32]byte{2}))
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := base64.StdEncoding.EncodeToString(b)
		list, err := kbsig.ParseBlindings(s)
		if err != nil || len(list) == 0 {
			return
		}
		if kbsig.EncodeBlindings(list) != s {
			t.Errorf("%x has two encodings", b)
		}
		if _, err := client.ParseBlindings(s); err != nil {
			t.Error(err)
		}
	})
}

// Stubs leave out what they have not, as the client's JSON does.
func TestStubJSON(t *testing.T) {
	b, err := json.Marshal(hidden.Record{Inner: []byte{1}, Outer: []byte{2}, Sig: []byte{3}}.Entry(true))
	if err != nil || string(b) != `{"o":"Ag=="}` {
		t.Errorf("%s, %v", b, err)
	}
}
