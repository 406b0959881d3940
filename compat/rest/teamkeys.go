package rest

import (
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teamkeys"
	"github.com/keystead/keystead/merklehot/teams"
)

// Limits of keys of teams.
const (
	// teamEKBodyMax bounds a body with a team's ephemeral key: see teamEKBoxesMax.
	teamEKBodyMax = 8 << 20
	// pseudonymsMax bounds the pseudonyms of one request.
	pseudonymsMax = 1000
)

// withKeys is teamAccess for members who have the keys of a team; others are told that
// there are none. client: go/ephemeral/team_ek_test.go
func (c *call) withKeys(argument string) (teams.Access, error) {
	a, err := c.teamAccess(argument)
	if err != nil {
		return a, err
	}
	if !a.Keys() {
		return a, status.Missing("the key of this team")
	}
	return a, nil
}

// sealedSeed is an argument, or a field, that holds an armoured encryption packet.
func sealedSeed(s string) (string, error) {
	if len(s) > argBytesMax {
		return "", status.Input("too long for a box")
	}
	if _, err := kbsig.DecodeArmoredEncryption(s); err != nil {
		return "", status.Input("not a box: %v", err)
	}
	return s, nil
}

// postTeamEK: POST team/team_ek. client: go/ephemeral/team_ek.go:postNewTeamEK
func postTeamEK(c *call) (any, error) {
	t, err := parsed(c, "team_id", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	ek, err := parsed(c, "sig", kbsig.OpenTeamEK)
	if err != nil {
		return nil, err
	}
	boxes, err := c.teamEKBoxes()
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error {
		return teamError(teamkeys.PutTeamEK(tx, t, c.who.UID, ek, boxes))
	})
}

func (c *call) teamEKBoxes() ([]teams.TeamEKBox, error) {
	var in []struct {
		Box        string `json:"box"`
		Generation int64  `json:"recipient_generation"`
		User       string `json:"recipient_uid"`
	}
	bad := status.InputField("boxes", "not a list of boxes")
	raw := []byte(c.raw("boxes"))
	if checkJSON(raw) != nil || len(raw) > 0 && (json.Unmarshal(raw, &in) != nil || namesOnce(raw) != nil) || len(in) > teamEKBoxesMax {
		return nil, bad
	}
	out := make([]teams.TeamEKBox, len(in))
	for i, b := range in {
		u, err := kbsig.ParseUID(b.User)
		if err != nil {
			return nil, bad
		}
		if _, err := sealedSeed(b.Box); err != nil {
			return nil, err
		}
		out[i] = teams.TeamEKBox{Box: b.Box, Generation: b.Generation, User: u}
	}
	return out, nil
}

// teamEK: GET team/team_ek: the newest statement, or null.
// client: go/ephemeral/team_ek.go:fetchTeamEKStatement
func teamEK(c *call) (any, error) {
	a, err := c.withKeys("team_id")
	if err != nil {
		return nil, err
	}
	ek, err := keyboxes.NewestTeamEK(c.view(), a.Team)
	if err != nil {
		return nil, err
	}
	out := struct {
		Sig *string `json:"sig"`
	}{}
	if ek != nil {
		out.Sig = &ek.Sig
	}
	return out, nil
}

// teamEKBox: GET team/team_ek_box. Who came after the key learns that.
// client: go/ephemeral/team_ek.go:TeamEphemeralKeyer.Fetch
func teamEKBox(c *call) (any, error) {
	a, err := c.withKeys("team_id")
	if err != nil {
		return nil, err
	}
	generation, err := c.integer("generation", 0)
	if err != nil {
		return nil, err
	}
	type result struct {
		Box              string `json:"box"`
		UserEKGeneration int64  `json:"user_ek_generation"`
		Sig              string `json:"sig"`
	}
	out := struct {
		Result *result `json:"result"`
	}{}
	if generation < 1 {
		return out, nil
	}
	ek, box, err := keyboxes.GetTeamEKBox(c.view(), a.Team, generation, a.UV)
	if err != nil || ek == nil {
		return out, err
	}
	if box != nil {
		out.Result = &result{box.Box, box.Generation, ek.Sig}
		return out, nil
	}
	later, err := teamkeys.JoinedAfter(c.view(), a.Team, a.UV, ek.Link)
	if err != nil {
		return nil, err
	}
	if later {
		return nil, status.New(status.EKMemberAfter, "EPHEMERAL_MEMBER_AFTER_EK", "you joined the team after this key was made")
	}
	return out, nil
}

// memberEKs: GET team/member_eks. client: go/ephemeral/team_ek.go:fetchTeamMemberStatements
func memberEKs(c *call) (any, error) {
	a, err := c.withKeys("team_id")
	if err != nil {
		return nil, err
	}
	sigs := map[string]string{}
	err = teamkeys.MemberEKs(c.view(), a.Team, func(u kbsig.UID, sig string) { sigs[u.String()] = sig })
	if err != nil {
		return nil, err
	}
	return struct {
		Sigs map[string]string `json:"sigs"`
	}{sigs}, nil
}

// application is the number of the application that a bot's key is for.
func (c *call) application() (int, error) {
	n, err := c.integer("application", 0)
	if err == nil && (n < 1 || n > keyboxes.TeamApplications) {
		err = status.InputField("application", "there is no such application")
	}
	return int(n), err
}

// botSeries is the series of keys that a bot asks for.
func (c *call) botSeries() (id keyboxes.BotKeyID, err error) {
	a, err := c.teamAccess("team_id")
	if err != nil {
		return id, err
	}
	if a.Role != teamchain.RoleRestrictedBot || !a.Member() {
		return id, status.New(status.TeamReadError, "TEAM_READ_ERROR", "you are not a restricted bot of this team")
	}
	id = keyboxes.BotKeyID{Team: a.Team, Bot: c.who.UID, Eldest: a.UV.Eldest, Ephemeral: c.flag("is_ephemeral")}
	id.Application, err = c.application()
	return id, err
}

// postBotKey: POST teambot/key: a key for a restricted bot.
// client: go/teambot/member_keyer.go:MemberKeyer.postNewTeambotKey, go/ephemeral/teambot_ek.go:postNewTeambotEK
func postBotKey(c *call) (any, error) {
	t, err := parsed(c, "team_id", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	ephemeral := c.flag("is_ephemeral")
	k, err := parsed(c, "sig", func(s string) (*kbsig.BotKey, error) { return kbsig.OpenBotKey(s, ephemeral) })
	if err != nil {
		return nil, err
	}
	box, err := parsed(c, "box", sealedSeed)
	if err != nil {
		return nil, err
	}
	if ephemeral {
		if app, err := c.application(); err != nil || app != kbsig.AppChat {
			return nil, status.InputField("application", "ephemeral keys are for chat")
		}
	}
	return none{}, c.update(func(tx *store.Tx) error {
		return teamError(teamkeys.PutBotKey(tx, t, c.who.UID, k, box, ephemeral))
	})
}

type botKeyJSON struct {
	Box string `json:"box,omitempty"`
	Sig string `json:"sig"`
}

type botKeyReply struct {
	Result *botKeyJSON `json:"result"`
}

// botKey: GET teambot/key: the newest statement about the caller's key.
// client: go/ephemeral/teambot_ek.go:fetchLatestTeambotEK
func botKey(c *call) (any, error) {
	id, err := c.botSeries()
	if err != nil {
		return nil, err
	}
	k, err := keyboxes.NewestBotKey(c.view(), id)
	if err != nil || k == nil {
		return botKeyReply{}, err
	}
	return botKeyReply{&botKeyJSON{Sig: k.Sig}}, nil
}

// botBox: GET teambot/box. client: go/teambot/bot_keyer.go:BotKeyer.remoteFetch
func botBox(c *call) (any, error) {
	id, err := c.botSeries()
	if err != nil {
		return nil, err
	}
	generation, err := c.integer("generation", 0)
	if err != nil || generation < 1 {
		return botKeyReply{}, err
	}
	k, err := keyboxes.GetBotKey(c.view(), id, generation)
	if err != nil || k == nil {
		return botKeyReply{}, err
	}
	return botKeyReply{&botKeyJSON{k.Box, k.Sig}}, nil
}

// botKeyNeeded: POST teambot/key_needed: a bot asks the members for a key.
// client: go/teambot/notify.go:notifyTeambotKeyNeeded
func botKeyNeeded(c *call) (any, error) {
	id, err := c.botSeries()
	if err != nil {
		return nil, err
	}
	generation, err := c.integer("generation", 0)
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error {
		return teamkeys.Need(tx, id, generation)
	})
}

// forgetBotKey: POST teambot/delete_for_test, of devel mode.
// client: go/teambot/common.go:deleteTeambotKeyForTest
func forgetBotKey(c *call) (any, error) {
	id, err := c.botSeries()
	if err != nil {
		return nil, err
	}
	generation, err := c.integer("generation", 0)
	if err != nil || generation < 1 {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error {
		keyboxes.DropBotKey(tx, id, generation)
		return nil
	})
}

// pseudonymJSON is what a key's pseudonym stands for.
// client: go/libkb/key_pseudonym.go:keyPseudonymReq
type pseudonymJSON struct {
	Pseudonym   string `json:"key_pseudonym,omitempty"`
	ID          string `json:"user_or_team_id"`
	Application int    `json:"app_id"`
	Generation  int64  `json:"key_gen"`
	Nonce       string `json:"nonce"`
}

// pseudonymRow is what is known of a pseudonym, or why nothing is.
type pseudonymRow struct {
	Err  *pseudonymFault `json:"err"`
	Info *pseudonymJSON  `json:"info"`
}

type pseudonymFault struct {
	Desc string `json:"message"`
}

var errPseudonym = pseudonymFault{"nobody knows this pseudonym"}

// postPseudonyms: POST team/key_pseudonym. A pseudonym is the hash of what it stands for,
// which its readers check, so it does not matter who says so first.
// client: go/libkb/key_pseudonym.go:MakeAndPostKeyPseudonyms
func postPseudonyms(c *call) (any, error) {
	var in struct {
		List []pseudonymJSON `json:"key_pseudonyms"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if len(in.List) > pseudonymsMax {
		return nil, status.Input("more than %d pseudonyms", pseudonymsMax)
	}
	names := make([][32]byte, len(in.List))
	out := make([]keyboxes.Pseudonym, len(in.List))
	for i, p := range in.List {
		var err error
		if names[i], out[i], err = p.parse(); err != nil {
			return nil, err
		}
	}
	return none{}, c.update(func(tx *store.Tx) error {
		for i := range names {
			if id := kbsig.TeamID(out[i].ID); isTeamID(id) {
				if a, err := accessIn(tx, id, c.who.UID); err != nil || !a.Keys() {
					return errTeamClosed
				}
			}
			if err := keyboxes.PutPseudonym(tx, names[i], out[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func isTeamID(t kbsig.TeamID) bool {
	_, err := kbsig.ParseTeamID(t.String())
	return err == nil
}

func (p pseudonymJSON) parse() (name [32]byte, out keyboxes.Pseudonym, err error) {
	into := func(to []byte, s string) error {
		b, err := hex.DecodeString(s)
		if err != nil || len(b) != len(to) {
			return status.Input("not %d bytes of hex in a pseudonym", len(to))
		}
		copy(to, b)
		return nil
	}
	if err = into(name[:], p.Pseudonym); err != nil {
		return name, out, err
	}
	if err = into(out.ID[:], p.ID); err != nil {
		return name, out, err
	}
	if err = into(out.Nonce[:], p.Nonce); err != nil {
		return name, out, err
	}
	if p.Application < 1 || p.Application > keyboxes.TeamApplications || p.Generation < 1 {
		return name, out, status.Input("a pseudonym of no key")
	}
	out.Application, out.Generation = p.Application, p.Generation
	return name, out, nil
}

// pseudonyms: GET team/key_pseudonym: as many rows as were asked, in their order. What
// belongs to a team is told to those in it. client: go/libkb/key_pseudonym.go:GetKeyPseudonyms
func pseudonyms(c *call) (any, error) {
	list, err := c.str("key_pseudonyms")
	if err != nil {
		return nil, err
	}
	parts := strings.Split(list, ",")
	if len(parts) > pseudonymsMax {
		return nil, status.InputField("key_pseudonyms", "too many pseudonyms")
	}
	rows := make([]pseudonymRow, len(parts))
	for i, part := range parts {
		b, err := hex.DecodeString(part)
		if err != nil || len(b) != 32 {
			return nil, status.InputField("key_pseudonyms", "not a list of pseudonyms")
		}
		p, err := c.pseudonym([32]byte(b))
		if err != nil {
			return nil, err
		}
		if rows[i].Info = p; p == nil {
			rows[i].Err = &errPseudonym
		}
	}
	return struct {
		Rows []pseudonymRow `json:"key_pseudonyms"`
	}{rows}, nil
}

// folderPseudonyms: POST kbfs/pseudonym/get, which clients ask last for what belongs to
// none of their teams. They never gave folders' keys pseudonyms here, so nobody knows any.
// client: go/saltpackkeys/saltpack_pseudonym_resolvers.go:KeyPseudonymResolver.ResolveKeys
func folderPseudonyms(c *call) (any, error) {
	var in struct {
		List []string `json:"tlf_pseudonyms"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if len(in.List) > pseudonymsMax {
		return nil, status.Input("more than %d pseudonyms", pseudonymsMax)
	}
	rows := make([]pseudonymRow, len(in.List))
	for i, name := range in.List {
		if b, err := hex.DecodeString(name); err != nil || len(b) != 32 {
			return nil, status.InputField("tlf_pseudonyms", "not a list of pseudonyms")
		}
		rows[i].Err = &errPseudonym
	}
	return struct {
		Rows []pseudonymRow `json:"tlf_pseudonyms"`
	}{rows}, nil
}

func (c *call) pseudonym(name [32]byte) (*pseudonymJSON, error) {
	p, err := keyboxes.GetPseudonym(c.view(), name)
	if err != nil || p == nil {
		return nil, err
	}
	if id := kbsig.TeamID(p.ID); isTeamID(id) {
		a, err := teams.AccessOf(c.view(), id, c.who.UID, kbsig.TeamID{})
		if err != nil || !a.Keys() {
			return nil, teamError(err)
		}
	}
	return &pseudonymJSON{ID: hex.EncodeToString(p.ID[:]), Application: p.Application, Generation: p.Generation, Nonce: hex.EncodeToString(p.Nonce[:])}, nil
}
