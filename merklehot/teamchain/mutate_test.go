package teamchain

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
)

var (
	judgeOut = flag.String("judge-out", "", "write every mutant and what it comes after to this `file`, one JSON object a line, for judging by a stock client")
	mutants  = flag.Int("mutants", 4000, "how many mutants to make")
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

// mutate makes one change to a draft or its text, and says which.
func (h *hand) mutate(d *draft) (Posted, string) {
	m := *d
	m.doc = deepCopy(d.doc).(obj)
	if k, ok := m.team()["per_team_key"].(obj); ok {
		k["reverse_sig"] = nil
	}
	switch h.rng.IntN(12) {
	case 0:
		return h.mutateOuter(&m)
	case 1:
		return h.mutateText(&m)
	case 2:
		m.by = pick(h.world, h.people)
		kid := kbsig.KIDOfPrivate(m.by.key).String()
		m.doc["body"].(obj)["key"] = obj{"kid": kid, "eldest_kid": kid, "uid": m.by.uid.String(), "username": string(m.by.name), "host": "keybase.io"}
		return m.sign(), "signer"
	}
	var all []place
	places("", m.doc, &all)
	at := pick(h.world, all)
	what := at.path
	switch n := h.rng.IntN(10); {
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

// mutateText changes the text in ways that some JSON readers do not see.
func (h *hand) mutateText(m *draft) (Posted, string) {
	b := m.inner()
	i := bytes.IndexByte(b[h.rng.IntN(len(b)-1):], '"')
	switch h.rng.IntN(6) {
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
		if i >= 0 && i < len(b) {
			b = bytes.Clone(b)
			b[h.rng.IntN(len(b))] ^= byte(1 << h.rng.IntN(7))
		}
	}
	return m.signText(b), "text"
}

// harmless are changes of what no reader looks at, so that a link stays one that may
// stand.
var harmless = []string{
	".ctime", ".expire_in", ".client", ".body.key.username", ".body.key.eldest_kid", ".body.merkle_root.hash", ".body.merkle_root.ctime",
	".entropy", ".box_summary_hash", ".invites", ".members", ".kbfs", ".bot_settings", ".settings", ".encryption_kid", "signer", "text",
	".body.team.name", ".body.team.subteam.name", ".body.team.id", ".completed_invites", ".used_invites", ".admin", ".parent", ".per_team_key",
	".body.team changed", ".body changed", " changed", ".body.team.settings",
}

// Links that differ in one thing from one that a stock client would make are refused,
// unless the difference is one that readers allow; and a refused link changes nothing.
// With -judge-out a stock client judges the same links: nothing may be taken here that
// it refuses.
func TestMutants(t *testing.T) {
	n := *mutants
	if testing.Short() {
		n = 500
	}
	var out *json.Encoder
	if *judgeOut != "" {
		f, err := os.Create(*judgeOut)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out = json.NewEncoder(f)
	}
	made, taken := 0, map[string]int{}
	for seed := uint64(0); made < n; seed++ {
		h := &hand{world: newWorld(seed, 8), tag: fmt.Sprint(seed)}
		for range 60 {
			ds := h.step()
			if ds == nil {
				continue
			}
			for at := range ds {
				made += h.mutantsOf(t, ds, at, out, taken)
			}
			if err := h.post(ds...); err != nil {
				t.Fatalf("seed %d: %v: %s", seed, err, ds[0].inner())
			}
		}
	}
	total := 0
	for what, times := range taken {
		total += times
		if !slices.ContainsFunc(harmless, func(s string) bool { return strings.Contains(what, s) }) {
			t.Errorf("a link is taken %d times with this: %s", times, what)
		}
	}
	t.Logf("%d mutants, %d taken", made, total)
}

// judged is a line for a stock client.
type judged struct {
	Base     bool        `json:"base"`
	New      bool        `json:"new"`
	Team     string      `json:"team"`
	Link     WireLink    `json:"link"`
	UID      string      `json:"u"`
	Eldest   kbsig.Seqno `json:"e"`
	Implicit bool        `json:"i"`
	Ours     bool        `json:"ours"`
	What     string      `json:"what"`
}

func (h *hand) mutantsOf(t *testing.T, ds []*draft, at int, out *json.Encoder, taken map[string]int) (made int) {
	team, _ := kbsig.ParseTeamID(ds[at].team()["id"].(string))
	before := h.teams[team]
	if out != nil {
		h.writeBase(t, out, team)
	}
	good := make([]Posted, len(ds))
	for i, d := range ds {
		good[i] = d.sign()
	}
	for range 25 {
		p, what := h.mutate(ds[at])
		if what == "" {
			continue
		}
		made++
		ps := slices.Clone(good)
		ps[at] = p
		links, _, err := h.check(ps...)
		same := err == nil && p.Sig == good[at].Sig
		if err == nil && !same {
			taken[what]++
		}
		if before != h.teams[team] {
			t.Fatal("a judgement changed a team")
		}
		if out == nil || ds[at].outer.Type == kbsig.LinkTeamDeleteRoot || ds[at].outer.Type == kbsig.LinkTeamDeleteUpPointer {
			continue
		}
		by := h.signerOf(p)
		line := judged{Team: team.String(), UID: by.UID.String(), Eldest: by.Eldest, Ours: err == nil, What: what + " " + ds[at].outer.Type.TeamName()}
		line.Link = WireLink{Seqno: ds[at].outer.Seqno, Sig: p.Sig, PayloadJSON: p.SigInner, UID: line.UID, EldestSeqno: by.Eldest, Version: 2}
		line.Implicit = h.impliedAdmin(p, team, by)
		if err == nil && links[at].Type != ds[at].outer.Type {
			line.What += " as " + links[at].Type.TeamName()
		}
		if err := out.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

func (h *hand) writeBase(t *testing.T, out *json.Encoder, team kbsig.TeamID) {
	lines := []judged{{New: true, What: "nothing", Team: team.String()}}
	if s := h.teams[team]; s != nil {
		lines = nil
		for i, r := range s.records {
			e, err := r.Entry(false)
			if err != nil {
				t.Fatal(err)
			}
			l, err := r.Link()
			if err != nil {
				t.Fatal(err)
			}
			implicit := l.Admin != nil && l.Admin.Team != team
			lines = append(lines, judged{New: i == 0, Base: true, Team: team.String(), Link: e, UID: r.Signer.UID.String(), Eldest: r.Signer.Eldest, Implicit: implicit, What: l.Type.TeamName()})
		}
	}
	for _, l := range lines {
		if err := out.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
}

// signerOf is whose key signed.
func (h *hand) signerOf(p Posted) kbsig.UserVersion {
	raw, _ := base64.StdEncoding.DecodeString(p.Sig)
	if sig, err := kbsig.DecodeSignature(raw); err == nil {
		for _, x := range h.people {
			if kbsig.KIDOfPrivate(x.key) == sig.KID {
				return x.uv()
			}
		}
	}
	return kbsig.UserVersion{}
}

// impliedAdmin reports whether a text names a link by which the signer became an admin
// of a team above, and has been one since.
func (h *hand) impliedAdmin(p Posted, team kbsig.TeamID, by kbsig.UserVersion) bool {
	var doc struct {
		Body struct {
			Team struct {
				Admin *struct {
					Team  string      `json:"team_id"`
					Seqno kbsig.Seqno `json:"seqno"`
					Type  int         `json:"seq_type"`
				} `json:"admin"`
			} `json:"team"`
		} `json:"body"`
	}
	if json.Unmarshal([]byte(p.SigInner), &doc) != nil || doc.Body.Team.Admin == nil || doc.Body.Team.Admin.Type != kbsig.SeqTypeSemiprivate {
		return false
	}
	for at := team; ; {
		st, _ := h.Team(at)
		if st == nil {
			return false
		}
		parent, ok := st.Parent()
		if !ok {
			return false
		}
		at = parent
		if at.String() != doc.Body.Team.Admin.Team {
			continue
		}
		above, _ := h.Team(at)
		points, _ := above.RoleLog(by)
		found := false
		for _, r := range points {
			if r.Seqno == doc.Body.Team.Admin.Seqno {
				found = r.Role.AtLeast(RoleAdmin)
			} else if !r.Role.AtLeast(RoleAdmin) {
				found = false
			}
		}
		return found
	}
}
