package teamchain

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
)

// place is one value in a JSON document.
type place struct {
	path string
	get  func() any
	set  func(any)
	drop func() // nil: the root
}

func places(path string, v any, out *[]place) {
	switch v := v.(type) {
	case obj:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			p := place{path: path + "." + k, get: func() any { return v[k] }, set: func(x any) { v[k] = x }, drop: func() { delete(v, k) }}
			*out = append(*out, p)
			places(p.path, v[k], out)
		}
	case []any:
		for i := range v {
			*out = append(*out, place{path: path + "[]", get: func() any { return v[i] }, set: func(x any) { v[i] = x }})
			places(path+"[]", v[i], out)
		}
	}
}

func deepCopy(v any) any {
	switch v := v.(type) {
	case obj:
		out := obj{}
		for k, x := range v {
			out[k] = deepCopy(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = deepCopy(v[i])
		}
		return out
	}
	return v
}

// copy is a draft that can be changed by itself, to be signed anew.
func (d *draft) copy() draft {
	m := *d
	m.doc = deepCopy(d.doc).(obj)
	if k, ok := m.team()["per_team_key"].(obj); ok {
		k["reverse_sig"] = nil
	}
	return m
}

// mutate makes one change to a draft or its text, and says which.
func (h *hand) mutate(d *draft) (Posted, string) {
	m := d.copy()
	switch h.rng.IntN(14) {
	case 0:
		return h.mutateOuter(&m)
	case 1:
		return h.mutateText(&m)
	case 2:
		return h.mutatePlace(&m)
	case 3:
		m.by = pick(h.world, h.people)
		kid := kbsig.KIDOfPrivate(m.by.key).String()
		m.doc["body"].(obj)["key"] = obj{"kid": kid, "eldest_kid": kid, "uid": m.by.uid.String(), "username": string(m.by.name), "host": "keybase.io"}
		return m.sign(), "signer"
	}
	all := m.places()
	at := pick(h.world, all)
	return h.changePlace(&m, at, h.rng.IntN(10))
}

func (d *draft) places() (all []place) {
	places("", d.doc, &all)
	return all
}

// changes are the numbers of what changePlace can do; more are the last of them.
const changes = 6

// changePlace makes a change at a place of a draft.
func (h *hand) changePlace(m *draft, at place, n int) (Posted, string) {
	what := at.path
	switch {
	case n == 0 && at.drop != nil:
		at.drop()
		what += " dropped"
	case n == 1:
		at.set(nil)
		what += " null"
	case n == 2:
		at.set(obj{"unknown": 1})
		what += " object"
	case n == 3:
		if o, ok := at.get().(obj); ok {
			o["unknown"] = true
			what += " + unknown"
			break
		}
		at.set([]any{at.get()})
		what += " in a list"
	case n == 4:
		if list, ok := at.get().([]any); ok && len(list) > 0 {
			at.set(append(slices.Clone(list), list[0]))
			what += " with one twice"
			break
		}
		fallthrough
	default:
		at.set(h.other(at.get()))
		what += " changed"
	}
	if _, ok := m.doc["body"].(obj); !ok {
		return Posted{}, ""
	}
	if _, ok := m.doc["body"].(obj)["team"].(obj); !ok {
		return Posted{}, ""
	}
	return m.sign(), what
}

// other is another value of the kind, one that might pass.
func (h *hand) other(v any) any {
	switch v := v.(type) {
	case string:
		choice := []any{v + "x", strings.ToUpper(v), "", "team.rotate_key", "team.leave", "team.change_membership", pick(h.world, h.all).String(), "reader", "owner"}
		for _, p := range h.people {
			choice = append(choice, p.uv().String(), p.uid.String(), fmt.Sprintf("%s%%%d", p.uid, p.eldest+1))
		}
		if len(v) > 1 {
			b := []byte(v)
			b[h.rng.IntN(len(b))] ^= 1
			choice = append(choice, string(b), string(b))
		}
		return pick(h.world, choice)
	case int:
		return pick(h.world, []any{v + 1, v - 1, 0, -1, 3, 1, 17, 1.5, "1", int64(1) << 54})
	case bool:
		return !v
	case []any:
		return pick(h.world, []any{[]any{}, append(slices.Clone(v), pick(h.world, h.people).uv().String()), append(slices.Clone(v), "x"), "x"})
	case obj:
		names := []string{"owner", "admin", "writer", "reader", "bot", "restricted_bot", "none", "cancel"}
		o := maps.Clone(v)
		if a, b := pick(h.world, names), pick(h.world, names); o[a] != nil {
			o[b] = o[a]
			if a != b {
				delete(o, a)
			}
			return o
		}
		o[pick(h.world, names)] = uvs(pick(h.world, h.people))
		return o
	}
	return "x"
}

func (h *hand) mutateOuter(m *draft) (Posted, string) {
	var what string
	switch h.rng.IntN(5) {
	case 0:
		m.outer.Type = kbsig.LinkType(33 + h.rng.IntN(18))
		what = "outer type"
	case 1:
		m.outer.Seqno += kbsig.Seqno(h.rng.IntN(3))
		what = "outer seqno"
	case 2:
		m.outer.Prev[h.rng.IntN(32)] ^= 1
		what = "outer prev"
	case 3:
		m.outer.SeqType = pick(h.world, []int{0, 1, 2, 3, 16, 17})
		what = "outer seq_type"
	case 4:
		m.outer.IgnoreIfUnsupported = true
		what = "outer ignore_if_unsupported"
	}
	return m.sign(), what
}

// mutatePlace has a link say what belongs elsewhere: in another chain, at another place
// of this one, or in a link of another type.
func (h *hand) mutatePlace(m *draft) (Posted, string) {
	other := pick(h.world, h.all)
	switch h.rng.IntN(7) {
	case 0: // at another place, inside and outside
		by := 1 - 2*h.rng.IntN(2)
		m.outer.Seqno += kbsig.Seqno(by)
		m.doc["seqno"] = int(m.outer.Seqno)
		return m.sign(), "place in the chain"
	case 1: // after another link, inside and outside
		m.outer.Prev = sha256.Sum256(h.bytes(4))
		if s := h.teams[m.link()]; s != nil && len(s.records) > 1 {
			m.outer.Prev = mustID(s.records[len(s.records)-2])
		}
		m.doc["prev"] = m.outer.Prev.String()
		return m.sign(), "what it follows"
	case 2: // in the chain of another team
		s := h.teams[other]
		if s == nil || other == m.link() {
			return Posted{}, ""
		}
		m.outer.Seqno, m.outer.Prev = kbsig.Seqno(len(s.records)+1), mustID(s.records[len(s.records)-1])
		m.doc["seqno"], m.doc["prev"], m.team()["id"] = int(m.outer.Seqno), m.outer.Prev.String(), other.String()
		return m.sign(), "another team"
	case 3: // an admin, but of another team
		for _, t := range h.all {
			if st, _ := h.Team(t); st == nil || t == m.link() {
				continue
			}
			points, _ := (must(h.Team(t))).RoleLog(m.by.uv())
			if len(points) > 0 && t.String() != fmt.Sprint(m.admin()["team_id"]) {
				m.team()["admin"] = obj{"team_id": t.String(), "seqno": int(points[len(points)-1].Seqno), "seq_type": 3}
				return m.sign(), "admin of another team"
			}
		}
		return Posted{}, ""
	case 4: // a section of another link
		for _, i := range h.rng.Perm(len(h.seen)) {
			from := h.seen[i].team()
			names := slices.Sorted(maps.Keys(from))
			name := pick(h.world, names)
			if m.team()[name] == nil && name != "per_team_key" {
				m.team()[name] = deepCopy(from[name])
				return m.sign(), "section " + name + " of another link"
			}
		}
		return Posted{}, ""
	case 5: // the new key signs nothing, or something else
		if m.ptk == nil {
			return Posted{}, ""
		}
		k := m.team()["per_team_key"].(obj)
		with := pick(h.world, []any{nil, base64.StdEncoding.EncodeToString(kbsig.SignPacket(m.ptk, []byte("{}"))), base64.StdEncoding.EncodeToString(kbsig.SignPacket(h.key(), mustJSON(m.doc)))})
		m.ptk, k["reverse_sig"] = nil, with
		return m.sign(), "reverse signature"
	}
	// The same outer link in another encoding.
	b := m.inner()
	o := m.outer
	o.Curr = sha256.Sum256(b)
	enc := encodeOuter(o)
	switch h.rng.IntN(5) {
	case 0: // a wider number
		enc = append([]byte{enc[0], 0xcc}, enc[1:]...)
	case 1: // one field more
		enc = append(append([]byte{0x98}, enc[1:]...), 0xc0)
	case 2: // one less
		enc = append([]byte{0x96}, enc[1:len(enc)-1]...)
	case 3: // bytes as text
		enc = bytes.Replace(enc, []byte{0xc4, 32}, []byte{0xd9, 32}, 1)
	case 4: // more behind it
		enc = append(enc, 0xc0)
	}
	p := m.signText(b)
	p.Sig = base64.StdEncoding.EncodeToString(kbsig.SignPacket(m.by.key, enc))
	return p, "outer encoding"
}

func (d *draft) link() kbsig.TeamID {
	t, _ := kbsig.ParseTeamID(fmt.Sprint(d.team()["id"]))
	return t
}

func (d *draft) admin() obj { a, _ := d.team()["admin"].(obj); return a }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func mustJSON(v any) []byte { return must(json.Marshal(v)) }

func mustID(r Record) kbsig.LinkID { return must(r.Link()).ID }

// mutateText changes the text in ways that some JSON readers do not see.
func (h *hand) mutateText(m *draft) (Posted, string) {
	b := m.inner()
	switch h.rng.IntN(8) {
	case 0:
		b = bytes.Replace(b, []byte(`"`), []byte(` "`), 1+h.rng.IntN(5))
	case 1:
		b = append(bytes.Clone(b), ' ')
	case 2:
		b = bytes.Replace(b, []byte(`"tag"`), []byte(`"seqno":1,"tag"`), 1)
	case 3:
		b = bytes.Replace(b, []byte(`"team"`), []byte(`"TEAM"`), 1)
	case 4:
		b = bytes.Replace(b, []byte(`"type"`), []byte(`"\u0074ype"`), 1)
	case 5:
		b = bytes.Replace(b, []byte(`":`), []byte("\": \n"), 1+h.rng.IntN(5))
	case 6: // names in another order
		b = append([]byte(`{"tag":"signature",`), bytes.Replace(b[1:], []byte(`,"tag":"signature"`), nil, 1)...)
	case 7:
		b = bytes.Clone(b)
		b[h.rng.IntN(len(b))] ^= byte(1 << h.rng.IntN(7))
		return m.signText(b), "text with a bit flipped"
	}
	return m.signText(b), "text written otherwise"
}
