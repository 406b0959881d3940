package client

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// worldTeam is what the world holds of a team.
type worldTeam struct {
	entries []map[string]any
	stubs   []string
	tail    *Triple
	boxes   map[UID]map[string]any // newest, as team/get returns it
	prevs   map[string]any
	masks   []any
	members map[UID]bool

	hidden    []any // links, as team/get returns them
	blindings []string
}

func (t *worldTeam) leafValue(id TeamID) []any {
	triple := []any{t.tail.Seqno, t.tail.LinkID.String(), t.tail.SigID.String()}
	if id.Public() {
		return []any{2, triple, []any{}, nil}
	}
	return []any{2, []any{}, triple, nil}
}

func (w *world) team(id TeamID) *worldTeam {
	if w.teams[id] == nil {
		w.teams[id] = &worldTeam{boxes: make(map[UID]map[string]any), prevs: make(map[string]any), members: make(map[UID]bool)}
	}
	return w.teams[id]
}

func (t *worldTeam) append(packet []byte, inner string, by UID) {
	p, err := ParsePacket(packet)
	if err != nil {
		panic(err)
	}
	t.entries = append(t.entries, map[string]any{
		"seqno": len(t.entries) + 1, "sig": b64(packet), "payload_json": inner, "uid": by.String(), "eldest_seqno": 1, "version": 2,
	})
	t.stubs = append(t.stubs, b64(p.Payload))
	o, _ := parseObject([]byte(inner))
	lists, _ := o.sub("body", "team", "members")
	for role, list := range lists {
		for _, s := range list.([]any) {
			u, _ := ParseUserVersion(s.(string))
			t.members[u.UID] = role != "none"
		}
	}
	if typ, _ := o.str("body", "type"); typ == "team.leave" {
		t.members[by] = false
	}
	t.tail = &Triple{Seqno(len(t.entries)), linkIDOf(p.Payload), SigIDBaseOf(packet)}
}

// sigMulti believes every link and box of teams. Boxes belong to the team of the last
// link.
func (w *world) sigMulti(body map[string]any, me *resident) *refusal {
	sigs, _ := body["sigs"].([]any)
	var last TeamID
	for _, s := range sigs {
		e, _ := s.(map[string]any)
		id, err := ParseTeamID(e["team_id"].(string))
		if e["type"] == "team.rotate_key_hidden" {
			w.team(id).hidden = append(w.team(id).hidden, e["sig3"])
			last = id
			continue
		}
		packet, err2 := base64.StdEncoding.DecodeString(e["sig"].(string))
		if err != nil || err2 != nil {
			return &refusal{100, "INPUT_ERROR"}
		}
		w.team(id).append(packet, e["sig_inner"].(string), me.uid)
		last = id
	}
	if b, ok := body["per_team_key"].(map[string]any); ok {
		w.team(last).keep(b)
	}
	if b, ok := body["ratchet_blinding_keys"].(string); ok {
		w.team(last).blindings = append(w.team(last).blindings, b)
	}
	all, _ := body["implicit_team_keys"].(map[string]any)
	for s, b := range all {
		id, _ := ParseTeamID(s)
		w.team(id).keep(b.(map[string]any))
	}
	if !w.hold {
		w.publish(nil)
	}
	return nil
}

// keep stores boxes in the form in which they are served.
func (t *worldTeam) keep(b map[string]any) {
	gen := int(b["generation"].(float64))
	if prev, ok := b["prev"].(string); ok {
		t.prevs[strconv.Itoa(gen)] = prev
	}
	prefix, _ := base64.StdEncoding.DecodeString(b["nonce"].(string))
	for s, packed := range b["boxes"].(map[string]any) {
		raw, _ := base64.StdEncoding.DecodeString(packed.(string))
		v, _ := unpack(raw)
		parts := v.([]any)
		uid, _ := ParseUID(s)
		t.boxes[uid] = map[string]any{
			"nonce":      b64(binary.BigEndian.AppendUint32(slices.Clone(prefix), uint32(parts[2].(int64)))),
			"sender_kid": b["encrypting_kid"], "generation": gen, "ctext": b64(parts[3].([]byte)), "per_user_key_seqno": parts[1],
		}
	}
	for app := 1; app <= teamApplications && len(t.masks) < gen*teamApplications; app++ {
		mask := randomSeed()
		t.masks = append(t.masks, map[string]any{"application": app, "generation": gen, "mask": b64(mask[:])})
	}
}

func (w *world) teamGet(q url.Values, me *resident) (map[string]any, *refusal) {
	if q.Get("lookup_only") != "" {
		return map[string]any{"id": TeamIDOf(q.Get("name"), false).String()}, nil
	}
	id, _ := ParseTeamID(q.Get("id"))
	t := w.teams[id]
	if t == nil {
		return nil, &refusal{2614, "TEAM_NOT_FOUND"}
	}
	box := t.boxes[me.uid]
	if box == nil && q.Get("read_subteam_id") == "" {
		return nil, &refusal{2623, "TEAM_READ_ERROR"}
	}
	low, _ := strconv.Atoi(q.Get("low"))
	reply := map[string]any{
		"id": id.String(), "chain": slices.Clone(toAny(t.entries[low:])), "box": box, "prevs": t.prevs,
		"reader_key_masks": t.masks, "subteam_reader": false, "hidden": slices.Clone(t.hidden), "ratchet_blinding_keys": joinBlindings(t.blindings),
	}
	if !t.members[me.uid] {
		reply["reader_key_masks"] = []any{}
	}
	if q.Get("read_subteam_id") != "" {
		reply["box"], reply["reader_key_masks"], reply["subteam_reader"] = nil, []any{}, true
		reply["hidden"] = stubsOf(t.hidden)
	}
	if list := q.Get("seqnos"); list != "" {
		chain := []any{}
		for _, s := range strings.Split(list, ",") {
			n, _ := strconv.Atoi(s)
			chain = append(chain, t.entries[n-1])
		}
		reply["chain"] = chain
	}
	return reply, nil
}

// stubsOf are hidden links without what they say.
func stubsOf(links []any) []any {
	out := []any{}
	for _, l := range links {
		out = append(out, map[string]any{"o": l.(map[string]any)["o"]})
	}
	return out
}

func toAny(entries []map[string]any) []any {
	out := []any{}
	for _, e := range entries {
		c := make(map[string]any, len(e))
		for k, v := range e {
			c[k] = v
		}
		out = append(out, c)
	}
	return out
}

// teamScene is a scene with a team of alice's, in which bob is a writer, and a subteam.
type teamScene struct {
	*scene
	acme, dev *Team
}

func newTeamScene(s *scene) (*teamScene, error) {
	ctx := s.t.Context()
	acme, err := s.alice.CreateTeam(ctx, "acme")
	if err != nil {
		return nil, err
	}
	if acme, err = s.alice.ChangeTeam(ctx, acme, TeamChange{Roles: map[UserVersion]TeamRole{s.bob.Version(): RoleWriter}}); err != nil {
		return nil, err
	}
	dev, err := s.alice.CreateSubteam(ctx, acme, "dev", RoleNone)
	if err != nil {
		return nil, err
	}
	acme, err = s.alice.LoadTeam(ctx, acme.ID, TeamOptions{})
	return &teamScene{s, acme, dev}, err
}

// fresh loads a team as alice would who knows nothing.
func (s *teamScene) fresh(id TeamID) error {
	_, err := s.alice.LoadTeam(s.t.Context(), id, TeamOptions{Fresh: true})
	return err
}

// as posts with links changed before they are signed, which the world believes, and
// loads the team anew.
func (s *teamScene) as(by *Account, edit func(*LinkSpec), act func() error) error {
	by.EditLink, by.SkipChecks = edit, true
	err := act()
	by.EditLink, by.SkipChecks = nil, false
	if err != nil {
		return fmt.Errorf("the lie was not told: %w", err)
	}
	if err := s.fresh(s.acme.ID); err != nil {
		return err
	}
	return s.fresh(s.dev.ID)
}
