package client

import (
	"errors"
	"net/url"
	"testing"
)

// teamLie lets somebody post what no client may accept.
func teamLie(rule Rule, name string, act func(s *teamScene) error) lie {
	return lie{rule, name, func(s *scene) error {
		t, err := newTeamScene(s)
		if err != nil {
			return err
		}
		return act(t)
	}}
}

// section changes body.team of a link before it is signed.
func section(f func(team map[string]any)) func(*LinkSpec) {
	return func(s *LinkSpec) { f(s.Body["team"].(map[string]any)) }
}

// postedTeam is a change of the team by alice with its section changed.
func postedTeam(rule Rule, name string, f func(s *teamScene, team map[string]any)) lie {
	return teamLie(rule, name, func(s *teamScene) error {
		return s.as(s.alice, section(func(team map[string]any) { f(s, team) }), func() error {
			_, err := s.alice.ChangeTeam(s.t.Context(), s.acme, TeamChange{
				Roles: map[UserVersion]TeamRole{s.bob.Version(): RoleReader}, Rotate: true,
			})
			return err
		})
	})
}

// answered changes the answer of team/get.
func answered(rule Rule, name string, f func(s *teamScene, reply map[string]any)) lie {
	return teamLie(rule, name, func(s *teamScene) error {
		s.on("team/get", func(q url.Values, reply map[string]any) {
			if q.Get("id") == s.acme.ID.String() {
				f(s, reply)
			}
		})
		return s.fresh(s.acme.ID)
	})
}

func entry(reply map[string]any, i int) map[string]any {
	return reply["chain"].([]any)[i].(map[string]any)
}

var teamLies = []lie{
	answered(RuleTail, "a link too few", func(_ *teamScene, r map[string]any) {
		c := r["chain"].([]any)
		r["chain"] = c[:len(c)-1]
	}),
	answered(RuleSeqno, "a link twice", func(_ *teamScene, r map[string]any) {
		c := r["chain"].([]any)
		r["chain"] = []any{c[0], c[1], c[1]}
	}),
	answered(RuleStub, "a membership change without its inside", func(s *teamScene, r map[string]any) {
		e := entry(r, 1)
		delete(e, "sig")
		delete(e, "payload_json")
		e["s2"] = s.teams[s.acme.ID].stubs[1]
	}),
	answered(RuleOuter, "another inside", func(_ *teamScene, r map[string]any) {
		e := entry(r, 1)
		e["payload_json"] = e["payload_json"].(string) + " "
	}),
	answered(RuleLinkOwner, "a link delivered as bob's", func(s *teamScene, r map[string]any) {
		entry(r, 1)["uid"] = s.bob.UID.String()
	}),
	answered(RuleSigner, "a wrong incarnation of the signer", func(_ *teamScene, r map[string]any) {
		entry(r, 1)["eldest_seqno"] = 3
	}),
	answered(RuleTeamKey, "no box", func(_ *teamScene, r map[string]any) { r["box"] = nil }),
	answered(RuleTeamKey, "a box that is for bob", func(s *teamScene, r map[string]any) {
		r["box"] = s.teams[s.acme.ID].boxes[s.bob.UID]
	}),
	answered(RuleTeamKey, "a mask missing", func(_ *teamScene, r map[string]any) {
		r["reader_key_masks"] = r["reader_key_masks"].([]any)[1:]
	}),
	answered(RuleReply, "access by a subteam", func(_ *teamScene, r map[string]any) { r["subteam_reader"] = true }),
	answered(RuleReply, "another team", func(s *teamScene, r map[string]any) { r["id"] = s.dev.ID.String() }),

	postedTeam(RuleTeamKey, "a generation skipped back", func(_ *teamScene, team map[string]any) {
		team["per_team_key"].(map[string]any)["generation"] = 1
	}),
	postedTeam(RuleTeamLink, "a section that has no place there", func(_ *teamScene, team map[string]any) {
		team["name"] = "acme"
	}),
	postedTeam(RuleTeamLink, "somebody twice", func(s *teamScene, team map[string]any) {
		u := s.bob.Version().String()
		team["members"] = map[string]any{"reader": []string{u}, "writer": []string{u}}
	}),
	postedTeam(RuleTeamLink, "an invite used that never was", func(s *teamScene, team map[string]any) {
		team["used_invites"] = []any{map[string]any{"id": "00000000000000000000000000000027", "uv": s.bob.Version().String()}}
	}),
	postedTeam(RuleTeamRole, "admin of a team by another link", func(_ *teamScene, team map[string]any) {
		team["admin"].(map[string]any)["seqno"] = 2
	}),
	postedTeam(RuleTeamRole, "admin of a team that is no ancestor", func(s *teamScene, team map[string]any) {
		team["admin"].(map[string]any)["team_id"] = s.dev.ID.String()
	}),

	teamLie(RuleReverseSig, "a new key that did not sign", func(s *teamScene) error {
		edit := func(l *LinkSpec) { l.ReverseSigner = s.alice.Device.Sig }
		return s.as(s.alice, edit, func() error { _, err := s.alice.RotateTeam(s.t.Context(), s.acme); return err })
	}),
	teamLie(RuleTeamRole, "a writer changes members", func(s *teamScene) error {
		t, err := s.bob.LoadTeam(s.t.Context(), s.acme.ID, TeamOptions{})
		if err != nil {
			return err
		}
		return s.as(s.bob, nil, func() error {
			_, err := s.bob.ChangeTeam(s.t.Context(), t, TeamChange{Roles: map[UserVersion]TeamRole{s.alice.Version(): RoleReader}})
			return err
		})
	}),
	teamLie(RuleTeamName, "a head with another name than the parent says", func(s *teamScene) error {
		edit := section(func(team map[string]any) {
			if team["name"] != nil {
				team["name"] = "acme.ops"
			}
		})
		var err error
		return s.as(s.alice, edit, func() error {
			var id TeamID
			s.alice.EditPost = func(_ string, body map[string]any) {
				items := body["sigs"].([]map[string]any)
				id, _ = ParseTeamID(items[len(items)-1]["team_id"].(string))
			}
			_, err = s.alice.CreateSubteam(s.t.Context(), s.acme, "lab", RoleNone)
			s.dev = &Team{TeamChain: &TeamChain{ID: id}}
			return err
		})
	}),
	teamLie(RuleTeamOrder, "signed by a key that was revoked in a root without the link", func(s *teamScene) error {
		ctx := s.t.Context()
		// The laptop signs while the revocation that quotes an older root is on its way.
		old := s.v.LastRoot()
		if err := s.as(s.alice, func(l *LinkSpec) { l.Signer = s.laptop.Sig }, func() error {
			_, err := s.alice.ChangeTeam(ctx, s.acme, TeamChange{Roles: map[UserVersion]TeamRole{s.bob.Version(): RoleReader}})
			return err
		}); err != nil {
			return err
		}
		s.alice.EditLink = func(l *LinkSpec) { l.Root = old }
		if err := s.alice.RevokeDevice(ctx, s.laptop.ID); err != nil {
			return err
		}
		s.alice.EditLink = nil
		return s.fresh(s.acme.ID)
	}),
	teamLie(RuleTeamLink, "a link after the end", func(s *teamScene) error {
		return s.as(s.alice, nil, func() error {
			ctx := s.t.Context()
			if err := s.alice.DeleteTeam(ctx, s.acme, nil); err != nil {
				return err
			}
			l := s.alice.Sent[0]
			s.acme.Links = append(s.acme.Links, &TeamLink{Team: s.acme.ID, Seqno: l.Spec.Seqno, ID: l.ID})
			_, err := s.alice.RotateTeam(ctx, s.acme)
			return err
		})
	}),
}

// An honest server passes: every act on teams works against the world, and what one
// member does another one verifies.
func TestHonestTeams(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	ts, err := newTeamScene(s)
	if err != nil {
		t.Fatal(err)
	}
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	acme, err := s.bob.LoadTeam(ctx, ts.acme.ID, TeamOptions{})
	step("bob loads", err)
	if acme.Name != "acme" || acme.Role(s.bob.Version()) != RoleWriter || acme.Key().Seed != ts.acme.Key().Seed {
		t.Errorf("bob sees %s, is %s", acme.Name, acme.Role(s.bob.Version()))
	}
	acme, err = s.bob.RotateTeam(ctx, acme)
	step("bob rotates", err)
	acme, err = s.alice.LoadTeam(ctx, acme.ID, TeamOptions{})
	step("alice follows", err)
	acme, err = s.alice.ChangeTeam(ctx, acme, TeamChange{Roles: map[UserVersion]TeamRole{s.bob.Version(): RoleAdmin}})
	step("promote", err)
	dev, err := s.bob.LoadTeam(ctx, ts.dev.ID, TeamOptions{})
	step("bob as admin of the parent", err)
	dev, err = s.bob.ChangeTeam(ctx, dev, TeamChange{Roles: map[UserVersion]TeamRole{s.bob.Version(): RoleWriter}, Rotate: true})
	step("bob lets himself in", err)
	acme, err = s.alice.LoadTeam(ctx, acme.ID, TeamOptions{})
	step("reload", err)
	dev, err = s.alice.LoadTeam(ctx, dev.ID, TeamOptions{})
	step("reload", err)
	dev, err = s.alice.RenameSubteam(ctx, acme, dev, "lab")
	step("rename", err)
	if dev.Name != "acme.lab" {
		t.Errorf("renamed to %s", dev.Name)
	}
	step("leave", s.bob.LeaveTeam(ctx, dev, true))
	i, err := s.alice.NewInvite("email", "carol@example.com")
	step("invite id", err)
	acme, err = s.alice.LoadTeam(ctx, acme.ID, TeamOptions{})
	step("reload", err)
	acme, err = s.alice.InviteToTeam(ctx, acme, map[string]any{"reader": []any{i}})
	step("invite", err)
	acme, err = s.alice.OpenTeam(ctx, acme, RoleReader)
	step("open", err)
	acme, err = s.alice.SetTLF(ctx, acme, "000000000000000000000000000000000000000000000000000000000000aa24")
	step("folder", err)
	if len(acme.Invites) != 1 || !acme.Open || len(acme.TLFs) != 1 {
		t.Errorf("%d invites, open %v, %d folders", len(acme.Invites), acme.Open, len(acme.TLFs))
	}
	dev, err = s.alice.LoadTeam(ctx, dev.ID, TeamOptions{})
	step("reload", err)
	step("delete", s.alice.DeleteTeam(ctx, dev, acme))
	step("reload", ts.fresh(acme.ID))
}

// An honest server passes with hidden chains too: what one member does there another one
// verifies, visible links commit to it, and a team without a hidden chain is proven to
// have none.
func TestHonestHiddenTeams(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	ts, err := newHiddenScene(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ts.fresh(ts.acme.ID), ts.fresh(ts.dev.ID)); err != nil {
		t.Fatal(err)
	}
	seen, err := s.bob.LoadTeam(ctx, ts.acme.ID, TeamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if seen.HiddenTail == nil || seen.HiddenTail.Seqno != 2 || seen.Key().Generation != 3 || seen.Key().Seed != ts.acme.Key().Seed {
		t.Errorf("bob sees hidden link %v, generation %d", seen.HiddenTail, seen.Key().Generation)
	}
	if _, err := s.bob.LoadTeam(ctx, ts.dev.ID, TeamOptions{}); err == nil {
		t.Error("bob reads a subteam of others")
	}
	dev, err := s.alice.RotateTeamHidden(ctx, ts.dev) // now the tree holds two
	if err != nil || dev.Key().Generation != 2 {
		t.Fatalf("rotate the subteam: %v", err)
	}
	ts.dev = dev
	if err := errors.Join(ts.fresh(ts.acme.ID), ts.fresh(ts.dev.ID), ts.moveBelow()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.bob.LoadTeam(ctx, ts.dev.ID, TeamOptions{Fresh: true}); err != nil {
		t.Errorf("bob reads from below: %v", err)
	}
}
