package rest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// Limits of posts of teams.
const (
	// sigMultiBodyMax bounds a body of sig/multi: boxes of a team's key, and of its
	// ephemeral key, for some ten thousand members.
	sigMultiBodyMax = 8 << 20
	// implicitTeamsMax bounds the subteams for which one post brings keys.
	implicitTeamsMax = 2000
	// teamEKBoxesMax bounds the boxes of a team's ephemeral key in one post.
	teamEKBoxesMax = 20_000
	// inviteMsgBytesMax bounds what somebody writes into an invitation by mail.
	inviteMsgBytesMax = 4 << 10
	// leaseUIDsMax bounds the members whom one lease covers.
	leaseUIDsMax = 5000
	// toldWait is how long the answer to a post waits at most for news that the client
	// needs before it.
	toldWait = 250 * time.Millisecond
)

// teamMultiJSON is what comes beside the links of teams.
// client: go/teams/teams.go:Team.sigPayload
type teamMultiJSON struct {
	Keys         *kbsig.PostedTeamBoxes            `json:"per_team_key"`
	ImplicitKeys map[string]*kbsig.PostedTeamBoxes `json:"implicit_team_keys"`
	Blindings    string                            `json:"ratchet_blinding_keys"`
	TeamEK       *teamEKJSON                       `json:"team_ek"`
	TeamEKRebox  *teamEKJSON                       `json:"team_ek_rebox"`
	LegacyTLF    *legacyTLFJSON                    `json:"legacy_tlf_upgrade"`
	Permanent    *bool                             `json:"permanent"`
	InviteMsg    string                            `json:"email_invite_msg"`
}

type teamEKJSON struct {
	TeamID string `json:"team_id"`
	Sig    string `json:"sig"`
	Boxes  []struct {
		Box        string `json:"box"`
		Generation int64  `json:"recipient_generation"`
		User       string `json:"recipient_uid"`
	} `json:"boxes"`
}

// client: go/protocol/keybase1/teams.go:TeamGetLegacyTLFUpgrade
type legacyTLFJSON struct {
	EncryptedKeyset  string `json:"encrypted_keyset"`
	TeamGeneration   int64  `json:"team_generation"`
	LegacyGeneration int64  `json:"legacy_generation"`
	AppType          int    `json:"app_type"`
}

// sig3JSON is a hidden link in an item. client: go/libkb/kbsig.go:Sig3
type sig3JSON struct {
	Inner string `json:"i"`
	Outer string `json:"o"`
	Sig   string `json:"s"`
}

// teamMulti is sig/multi about teams.
func (c *call) teamMulti(items []multiJSON, lease string, req *teamMultiJSON) (any, error) {
	if len(items) > teams.PostLinksMax {
		return nil, status.Input("sigs must hold 1 to %d links", teams.PostLinksMax)
	}
	var p teams.Post
	for i := range items {
		item, err := items[i].team()
		if err != nil {
			return nil, err
		}
		p.Items = append(p.Items, item)
	}
	if err := req.fill(&p); err != nil {
		return nil, err
	}
	var err error
	if p.Lease, err = leaseID(lease); err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	if err := c.s.Teams.Post(ctx, c.who.UID, p); err != nil {
		return nil, err
	}
	if p.TeamEK != nil {
		c.told(ctx)
	}
	return none{}, nil
}

// told waits a little until news has gone out. A client that has posted a new ephemeral key
// of a team forgets the one before when it hears of the new one, and derives those of bots
// from the newest that it knows as soon as it has the answer.
// client: go/teams/teams.go:createTeambotKeys, go/ephemeral/lib.go:EKLib.PurgeTeamEKCachesForTeamIDAndGeneration
func (c *call) told(ctx context.Context) {
	if c.s.Told == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, toldWait)
	defer cancel()
	if err := c.s.Told(ctx); err != nil && ctx.Err() == nil {
		c.s.Logger.Warn("rest: no word of news that has gone out", "err", err)
	}
}

// team parses one item; this is most of a post's work.
func (m *multiJSON) team() (item teams.Item, err error) {
	if m.Expansions != nil && string(m.Expansions) != "null" {
		return item, status.InputField("expansions", "links of teams have nothing beside them")
	}
	if m.Sig3 == nil {
		item.Visible, err = teamchain.Parse(teamchain.Posted{
			Sig: m.Sig, SigningKID: m.SigningKID, Type: m.Type, SigInner: m.SigInner, TeamID: m.TeamID,
			SeqType: m.SeqType, Version: m.Version,
		})
		return item, err
	}
	if m.Sig != "" {
		return item, status.InputField("sig", "a hidden link has its signature in sig3")
	}
	p := hidden.Posted{
		Type: m.Type, TeamID: m.TeamID, SigningKID: m.SigningKID, SigInner: m.SigInner, SeqType: m.SeqType, Version: m.Version,
		Inner: m.Sig3.Inner, Outer: m.Sig3.Outer, Sig: m.Sig3.Sig,
	}
	if m.PublicKeys != nil {
		p.Signing, p.Encryption = m.PublicKeys.Signing, m.PublicKeys.Encryption
	}
	item.Hidden, err = hidden.Parse(p)
	return item, err
}

// fill parses what comes beside the links.
func (r *teamMultiJSON) fill(p *teams.Post) (err error) {
	if r.Keys != nil {
		if p.Keys, err = kbsig.ParseTeamBoxes(*r.Keys); err != nil {
			return status.InputField("per_team_key", err.Error())
		}
	}
	if len(r.ImplicitKeys) > implicitTeamsMax {
		return status.InputField("implicit_team_keys", "keys of too many teams")
	}
	for id, boxes := range r.ImplicitKeys {
		t, err := kbsig.ParseTeamID(id)
		if err != nil || boxes == nil {
			return status.InputField("implicit_team_keys", "a malformed team id, or no boxes")
		}
		if p.ImplicitKeys == nil {
			p.ImplicitKeys = make(map[kbsig.TeamID]*kbsig.TeamBoxes, len(r.ImplicitKeys))
		}
		if p.ImplicitKeys[t], err = kbsig.ParseTeamBoxes(*boxes); err != nil {
			return status.InputField("implicit_team_keys", err.Error())
		}
	}
	if p.Blindings, err = kbsig.ParseBlindings(r.Blindings); err != nil {
		return status.InputField("ratchet_blinding_keys", err.Error())
	}
	if p.TeamEK, err = r.TeamEK.parse("team_ek", true); err != nil {
		return err
	}
	if p.TeamEKRebox, err = r.TeamEKRebox.parse("team_ek_rebox", false); err != nil {
		return err
	}
	if l := r.LegacyTLF; l != nil {
		if err := kbsig.CheckKeyset(l.EncryptedKeyset); err != nil {
			return status.InputField("legacy_tlf_upgrade", err.Error())
		}
		p.LegacyTLF = &teams.LegacyTLF{
			EncryptedKeyset: l.EncryptedKeyset, TeamGeneration: l.TeamGeneration,
			LegacyGeneration: l.LegacyGeneration, AppType: l.AppType,
		}
	}
	if len(r.InviteMsg) > inviteMsgBytesMax {
		return status.InputField("email_invite_msg", "the message is too long")
	}
	p.Permanent, p.EmailInviteMsg = r.Permanent, r.InviteMsg
	return nil
}

func (e *teamEKJSON) parse(field string, signed bool) (*teams.TeamEKPost, error) {
	if e == nil {
		return nil, nil
	}
	t, err := kbsig.ParseTeamID(e.TeamID)
	if err != nil {
		return nil, status.InputField(field, err.Error())
	}
	if (e.Sig != "") != signed || len(e.Boxes) > teamEKBoxesMax {
		return nil, status.InputField(field, "the statement is missing, or there are too many boxes")
	}
	out := &teams.TeamEKPost{Team: t, Sig: e.Sig, Boxes: make([]teams.TeamEKBox, len(e.Boxes))}
	for i, b := range e.Boxes {
		u, err := kbsig.ParseUID(b.User)
		if err != nil {
			return nil, status.InputField(field, err.Error())
		}
		out.Boxes[i] = teams.TeamEKBox{Box: b.Box, Generation: b.Generation, User: u}
	}
	return out, nil
}

// downgradeTeam: POST downgrade/team.
// client: go/libkb/downgrade_leases.go:RequestDowngradeLeaseByTeam
func downgradeTeam(c *call) (any, error) {
	t, err := parsed(c, "team_id", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	members, err := c.uidList("member_uids", leaseUIDsMax)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.context()
	defer cancel()
	id, root, err := c.s.Teams.NewLease(ctx, c.who.UID, t, members)
	if err != nil {
		return nil, err
	}
	return leaseReply(id, root), nil
}

// teamRefusal is the status of a refusal of links of teams; nil if err is none.
func teamRefusal(err error) *status.Error {
	if kind := teamchain.KindOf(err); kind != teamchain.KindNone && kind != teamchain.KindCorrupt {
		info := kind.Info()
		return status.New(info.Code, info.Name, info.Text+": "+refusalText[*teamchain.Error](err))
	}
	if kind := hidden.KindOf(err); kind != 0 && kind != hidden.KindCorrupt {
		for _, info := range hidden.Kinds {
			if info.Kind == kind {
				return status.New(info.Code, info.Name, refusalText[*hidden.Error](err))
			}
		}
	}
	return nil
}

// refusalText is what the refusal itself says, without where it happened.
func refusalText[E error](err error) string {
	var e E
	if errors.As(err, &e) {
		return e.Error()
	}
	return err.Error()
}

// contactsBlock tells a client whom it cannot add; it tries again without them.
// client: go/teams/service_helper.go:AddMembers
func contactsBlock(e *joining.Unwilling) *status.Error {
	uids, names := make([]string, len(e.UIDs)), make([]string, len(e.Names))
	for i, u := range e.UIDs {
		uids[i], names[i] = u.String(), string(e.Names[i])
	}
	return status.New(status.TeamContactSettingsBlock, "TEAM_CONTACT_SETTINGS_BLOCK", e.Error()).
		With("uids", strings.Join(uids, ",")).With("usernames", strings.Join(names, ","))
}
