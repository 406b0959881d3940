package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
)

const (
	teamEKSection = "current_team_ek_metadata"
	teamEKField   = "team_ephemeral_dh_public"
	reasonTeamEK  = "Derived-Ephemeral-Team-NaCl-DH-1"
)

// TeamEK is a team's ephemeral key whose seed we hold.
type TeamEK struct {
	Generation int
	Seed       Seed
	Key        *DHKey
}

// PostTeamEK publishes the next ephemeral key of a team, boxed for every member who has
// one of their own. client: go/ephemeral/team_ek.go:publishNewTeamEK
func (a *Account) PostTeamEK(ctx context.Context, t *Team) (*TeamEK, error) {
	id := url.Values{"team_id": {t.ID.String()}}
	reply, err := a.Server().Get(ctx, "team/team_ek", id, a.credential())
	if err != nil {
		return nil, err
	}
	var last *string
	if err := reply.into("sig", &last); err != nil {
		return nil, err
	}
	ek := &TeamEK{Generation: 1}
	if last != nil {
		s, err := openEK(teamEKSection, teamEKField, *last)
		if err != nil {
			return nil, violated(RuleEK, "team/team_ek", "%v", err)
		}
		ek.Generation = s.Generation + 1
	}
	if ek.Seed, err = newSeed(a.Server().Random); err != nil {
		return nil, err
	}
	ek.Key = NewDHKey(ek.Seed.derive(reasonTeamEK))
	root, err := a.Verifier.RefreshRoot(ctx)
	if err != nil {
		return nil, err
	}
	boxes, err := a.teamEKBoxes(ctx, t, ek)
	if err != nil {
		return nil, err
	}
	sig := signEK(teamEKSection, teamEKField, t.Key().Sig, ek.Key.KID(), ek.Generation, root)
	_, err = a.postForm(ctx, "team/team_ek", url.Values{"team_id": {t.ID.String()}, "sig": {sig}, "boxes": {boxes}}, a.credential())
	return ek, err
}

func (a *Account) teamEKBoxes(ctx context.Context, t *Team, ek *TeamEK) (string, error) {
	reply, err := a.Server().Get(ctx, "team/member_eks", url.Values{"team_id": {t.ID.String()}}, a.credential())
	if err != nil {
		return "", err
	}
	var sigs map[string]string
	if err := reply.into("sigs", &sigs); err != nil {
		return "", err
	}
	boxes := []map[string]any{}
	for u := range sigs {
		uid, err := ParseUID(u)
		if err != nil {
			return "", violated(RuleEK, "team/member_eks", "%v", err)
		}
		s, err := a.UserEK(ctx, uid)
		if err != nil {
			return "", err
		}
		if s == nil {
			continue
		}
		box, err := SealAnonymous(a.Server().Random, ek.Seed[:], s.KID)
		if err != nil {
			return "", err
		}
		boxes = append(boxes, map[string]any{"box": box.Armor(), "recipient_generation": s.Generation, "recipient_uid": u})
	}
	b, err := json.Marshal(boxes)
	return string(b), err
}

// OpenTeamEK fetches our box of a team's ephemeral key and opens it with our own; nil if
// there is no box for us. client: go/ephemeral/team_ek.go:TeamEphemeralKeyer
func (a *Account) OpenTeamEK(ctx context.Context, team TeamID, generation int) (*TeamEK, error) {
	reply, err := a.Server().Get(ctx, "team/team_ek_box", url.Values{"team_id": {team.String()}, "generation": {strconv.Itoa(generation)}}, a.credential())
	if err != nil {
		return nil, err
	}
	var r *struct {
		Box        string `json:"box"`
		Generation int    `json:"user_ek_generation"`
		Sig        string `json:"sig"`
	}
	if err := reply.into("result", &r); err != nil || r == nil {
		return nil, err
	}
	s, err := openEK(teamEKSection, teamEKField, r.Sig)
	if err != nil {
		return nil, violated(RuleEK, "team/team_ek_box", "%v", err)
	}
	mine, err := a.OpenUserEK(ctx, a.Device, r.Generation)
	if err != nil {
		return nil, err
	}
	if mine == nil {
		return nil, violated(RuleEK, "team/team_ek_box", "to generation %d of ours, which there is not", r.Generation)
	}
	seed, _, err := mine.Key.Open(r.Box)
	if err != nil || len(seed) != len(Seed{}) {
		return nil, violated(RuleBox, "team/team_ek_box", "%v", err)
	}
	ek := &TeamEK{Generation: generation, Seed: Seed(seed), Key: NewDHKey(Seed(seed).derive(reasonTeamEK))}
	if s.Generation != generation || ek.Key.KID() != s.KID {
		return nil, violated(RuleBox, "team/team_ek_box", "the seed makes another key")
	}
	return ek, nil
}

// AskBotKey asks the members of a team for a key of ours; generation 0 is the newest.
// client: go/teambot/notify.go:notifyTeambotKeyNeeded
func (a *Account) AskBotKey(ctx context.Context, team TeamID, application TeamApplication, generation int, ephemeral bool) error {
	_, err := a.postForm(ctx, "teambot/key_needed", url.Values{
		"team_id": {team.String()}, "application": {strconv.Itoa(int(application))},
		"generation": {strconv.Itoa(generation)}, "is_ephemeral": {strconv.FormatBool(ephemeral)},
	}, a.credential())
	return err
}

// addEK puts the first ephemeral key of a team beside the links of a post: signed by the
// team's new key, boxed for those of uids who have an ephemeral key of their own.
// client: go/teams/teams.go:Team.sigPayload
func (p *TeamPost) addEK(ctx context.Context, id TeamID, by *TeamKey, uvs map[UserVersion]bool) error {
	a := p.a
	seed, err := newSeed(a.Server().Random)
	if err != nil {
		return err
	}
	root, err := a.Verifier.RefreshRoot(ctx)
	if err != nil {
		return err
	}
	boxes := []map[string]any{}
	for uv := range uvs {
		uid := uv.UID
		theirs, err := a.UserEK(ctx, uid)
		if err != nil {
			return err
		}
		if theirs == nil {
			continue
		}
		box, err := SealAnonymous(a.Server().Random, seed[:], theirs.KID)
		if err != nil {
			return err
		}
		boxes = append(boxes, map[string]any{"box": box.Armor(), "recipient_generation": theirs.Generation, "recipient_uid": uid.String()})
	}
	kid := NewDHKey(seed.derive(reasonTeamEK)).KID()
	p.body["team_ek"] = map[string]any{
		"team_id": id.String(), "sig": signEK(teamEKSection, teamEKField, by.Sig, kid, 1, root), "boxes": boxes,
	}
	return nil
}
