package rest

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// botScene is a team of alice, bob, and a restricted bot; all of them have ephemeral keys.
type botScene struct {
	t                 *testing.T
	d                 *door
	alice, bob, robot *client.Account
	acme              *client.Team
	told              int // how many entries of the outbox were looked at
}

func newBotScene(t *testing.T) *botScene {
	d := openDoor(t)
	s := &botScene{t: t, d: d, alice: d.signUp(t, "alice"), bob: d.signUp(t, "bob"), robot: d.signUp(t, "robot")}
	for _, a := range []*client.Account{s.alice, s.bob, s.robot} {
		s.renew(a)
	}
	var err error
	s.acme, err = s.alice.CreateTeam(t.Context(), "acme")
	s.must(err)
	s.acme, err = s.alice.ChangeTeam(t.Context(), s.acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{
		s.bob.Version(): client.RoleWriter, s.robot.Version(): client.RoleRestrictedBot}})
	s.must(err)
	s.news()
	return s
}

func (s *botScene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// renew gives somebody new ephemeral keys, as after the loss of the old ones.
func (s *botScene) renew(a *client.Account) {
	s.t.Helper()
	_, err := a.PostDeviceEK(s.t.Context(), a.Device)
	s.must(err)
	_, err = a.PostUserEK(s.t.Context())
	s.must(err)
}

// news is what was told of bots' keys since the last time, as "name category body", sorted.
func (s *botScene) news() (out []string) {
	s.t.Helper()
	names := map[kbsig.UID]string{}
	for _, a := range []*client.Account{s.alice, s.bob, s.robot} {
		names[kbsig.UID(a.UID)] = a.Username
	}
	v := s.d.store.View()
	defer v.Close()
	n := 0
	s.must(v.Scan(keys.Events(), keys.End(keys.Events()), func(_, b []byte) error {
		r, err := store.Decode[events.Record](b)
		if n++; err != nil || n <= s.told || !strings.Contains(r.Category, "teambot") {
			return err
		}
		to := []kbsig.UID{r.To}
		for i := 0; i+len(r.To) <= len(r.Also); i += len(r.To) {
			to = append(to, kbsig.UID(r.Also[i:i+len(r.To)]))
		}
		for _, u := range to {
			out = append(out, names[u]+" "+r.Category+" "+string(r.Body))
		}
		return nil
	}))
	s.told = n
	slices.Sort(out)
	return out
}

// tells checks what was told of bots' keys since the last time.
func (s *botScene) tells(what string, want ...string) {
	s.t.Helper()
	if got := s.news(); !slices.Equal(got, want) {
		s.t.Errorf("%s: told %q, want %q", what, got, want)
	}
}

// id is how bodies of news begin.
func (s *botScene) id() string { return `{"id":"` + s.acme.ID.String() + `",` }

// asks checks that the bot's question for an ephemeral key reaches those, and only those,
// who have the team's keys, and says what it shall.
func (s *botScene) asks(what string, generation int, rest string) {
	s.t.Helper()
	s.must(s.robot.AskBotKey(s.t.Context(), s.acme.ID, client.AppChat, generation, true))
	body := s.id() + `"uid":"` + s.robot.UID.String() + `",` + rest + `}`
	s.tells(what, "alice ephemeral.teambot_key_needed "+body, "bob ephemeral.teambot_key_needed "+body)
}

// opens checks that the bot has a key, which the members have, too.
func (s *botScene) opens(what string, want *client.BotKey, ephemeral bool) {
	s.t.Helper()
	got, err := s.robot.OpenBotKey(s.t.Context(), s.acme.ID, client.AppChat, want.Generation, ephemeral)
	if err != nil || got == nil || got.Seed != want.Seed {
		s.t.Errorf("%s: the bot opens %v: %v", what, got, err)
	}
}

// TestBotKeys proves that a restricted bot gets the keys that members derive for it, once,
// and hears of each; that a second member who derives the same changes nothing; that a key
// which the bot could not trust, or which nobody may make, is refused with a code on which
// members try again; and that who has no right to it gets no box.
// client: go/teambot/member_keyer.go:MemberKeyer, go/systests/teambot_test.go:TestTeambotKey
func TestBotKeys(t *testing.T) {
	ctx := context.Background()
	s := newBotScene(t)
	step := func(k *client.BotKey, err error) *client.BotKey {
		t.Helper()
		s.must(err)
		return k
	}
	got, err := s.robot.OpenBotKey(ctx, s.acme.ID, client.AppChat, 1, false)
	if err != nil || got != nil {
		t.Fatalf("before there is one: %v, %v", got, err)
	}
	s.must(s.robot.AskBotKey(ctx, s.acme.ID, client.AppChat, 1, false))
	need := s.id() + `"uid":"` + s.robot.UID.String() + `","generation":1,"application":2}`
	s.tells("ask", "alice teambot.teambot_key_needed "+need, "bob teambot.teambot_key_needed "+need)

	one := step(s.alice.PostBotKey(ctx, s.acme, s.robot.UID, client.AppChat, 1))
	s.tells("first key", "robot teambot.new_teambot_key "+s.id()+`"generation":1,"application":2}`)
	s.opens("first key", one, false)
	bobs, err := s.bob.LoadTeam(ctx, s.acme.ID, client.TeamOptions{})
	s.must(err)
	before, err := s.robot.BotKeyNow(ctx, s.acme.ID, client.AppChat, false)
	s.must(err)
	_, err = s.bob.PostBotKey(ctx, bobs, s.robot.UID, client.AppChat, 1)
	wantCode(t, "bob derives the same", err, 3800)
	_, err = s.alice.PostBotKey(ctx, s.acme, s.robot.UID, client.AppKBFS, 1)
	s.must(err)
	s.tells("another application", "robot teambot.new_teambot_key "+s.id()+`"generation":1,"application":1}`)
	if now, err := s.robot.BotKeyNow(ctx, s.acme.ID, client.AppChat, false); err != nil || *now != *before {
		t.Errorf("the key is %v now, was %v: %v", now, before, err)
	}

	old := s.acme.Key().Sig
	s.acme, err = s.alice.RotateTeamHidden(ctx, s.acme)
	s.must(err)
	two := step(s.alice.PostBotKey(ctx, s.acme, s.robot.UID, client.AppChat, 2))
	s.tells("after a rotation", "robot teambot.new_teambot_key "+s.id()+`"generation":2,"application":2}`)
	s.opens("after a rotation", two, false)
	s.opens("of before", one, false)

	now := s.acme.Key().Sig
	for what, tc := range map[string]struct {
		by        *client.Account
		bot       *client.Account
		signer    *client.SigningKey
		gen, puk  int
		app, code int
	}{
		"signed by an old key of the team": {s.alice, s.robot, old, 1, 1, 3, 3802},
		"a generation that is to come":     {s.alice, s.robot, now, 3, 1, 3, 3802},
		"sealed to a key that is to come":  {s.alice, s.robot, now, 2, 2, 3, 3801},
		"a member who is no bot":           {s.alice, s.bob, now, 2, 1, 3, 100},
		"made by the bot itself":           {s.robot, s.robot, now, 2, 1, 3, 2623},
		"no such application":              {s.alice, s.robot, now, 2, 1, 8, 100},
	} {
		statement := fmt.Sprintf(`{"teambot_dh_public":"%s","generation":%d,"uid":"%s","puk_generation":%d,"application":%d}`, two.Key.KID(), tc.gen, tc.bot.UID, tc.puk, tc.app)
		box, err := client.SealAnonymous(tc.by.Server().Random, two.Seed[:], tc.bot.PUKs[0].Enc.KID())
		s.must(err)
		_, err = tc.by.Server().Post(ctx, "teambot/key", url.Values{
			"team_id": {s.acme.ID.String()}, "sig": {client.SignPacket(tc.signer, []byte(statement)).Armor()}, "box": {box.Armor()}, "is_ephemeral": {"false"},
		}, tc.by.NIST(tc.by.Device))
		wantCode(t, what, err, tc.code)
	}
	s.tells("refusals")
	for _, a := range []*client.Account{s.alice, s.bob} {
		_, err := a.OpenBotKey(ctx, s.acme.ID, client.AppChat, 1, false)
		wantCode(t, a.Username+" asks for a box", err, 2623)
		wantCode(t, a.Username+" asks for a key", a.AskBotKey(ctx, s.acme.ID, client.AppChat, 1, false), 2623)
	}
}

// TestBotEKs proves that a restricted bot gets an ephemeral key with each of the team's
// that members make for it; and that when it asks for the newest, members are told to make
// the next one for the whole team if, and only if, the newest that the bot has is of no use:
// sealed to a key that the bot has lost, or signed by an old key of the team. They are told
// after which generation, so that of all of them one does it.
// client: go/ephemeral/handler.go:HandleTeambotEKNeeded, go/systests/ephemeral_test.go:TestEphemeralTeambotEK
func TestBotEKs(t *testing.T) {
	ctx := context.Background()
	s := newBotScene(t)
	team := func() *client.TeamEK {
		t.Helper()
		ek, err := s.alice.PostTeamEK(ctx, s.acme)
		s.must(err)
		return ek
	}
	give := func(ek *client.TeamEK) {
		t.Helper()
		k, err := s.alice.PostBotEK(ctx, s.acme, s.robot.UID, ek)
		s.must(err)
		what := fmt.Sprintf("key %d", ek.Generation)
		s.tells(what, "robot ephemeral.new_teambot_key "+s.id()+fmt.Sprintf(`"generation":%d}`, ek.Generation))
		s.opens(what, k, true)
		if now, err := s.robot.BotKeyNow(ctx, s.acme.ID, client.AppChat, true); err != nil || now == nil || now.Generation != ek.Generation || now.Signer != s.acme.Key().Sig.KID() {
			t.Errorf("%s: the newest is %v: %v", what, now, err)
		}
	}
	s.asks("before there is one", 0, `"generation":0`)
	one := team()
	s.asks("before the bot has one", 0, `"generation":0`)
	give(one)
	s.asks("without need", 0, `"generation":0`)
	s.asks("for an old one", 1, `"generation":1`)
	_, err := s.alice.PostBotEK(ctx, s.acme, s.robot.UID, one)
	wantCode(t, "again", err, 3800)

	s.renew(s.robot)
	s.asks("after the loss of its own", 0, `"generation":0,"forceCreateGeneration":1`)
	s.asks("for the one it cannot open", 1, `"generation":1`)
	two := team()
	s.asks("when there is one already", 0, `"generation":0,"forceCreateGeneration":2`)
	give(two)
	s.asks("with all it needs", 0, `"generation":0`)

	s.acme, err = s.alice.RotateTeamHidden(ctx, s.acme)
	s.must(err)
	s.asks("after a rotation of the team's key", 0, `"generation":0,"forceCreateGeneration":2`)
	three := team()
	_, err = s.robot.OpenBotKey(ctx, s.acme.ID, client.AppChat, three.Generation, true)
	s.must(err)
	s.asks("when the bot was passed over", 0, `"generation":0,"forceCreateGeneration":3`)
	give(three)
	s.asks("in the end", 0, `"generation":0`)
	for generation, want := range map[int]bool{0: false, 1: true, 3: true, 4: false, 50: false} {
		reply, err := s.robot.Server().Get(ctx, "teambot/box", url.Values{
			"team_id": {s.acme.ID.String()}, "application": {"2"}, "is_ephemeral": {"1"}, "generation": {fmt.Sprint(generation)},
		}, s.robot.NIST(s.robot.Device))
		var got struct {
			Result *botKeyJSON `json:"result"`
		}
		if err == nil {
			err = reply.Decode(&got)
		}
		if err != nil || (got.Result != nil) != want {
			t.Errorf("box of generation %d: %v, %v", generation, got.Result, err)
		}
	}
}

// TestEKsAreToldFirst proves that the answer to a post which brings a new ephemeral key of a
// team waits for its news, which the client needs to make the keys of bots, but not for long,
// and that other posts do not wait.
// client: go/systests/ephemeral_test.go:TestEphemeralTeambotEK
func TestEKsAreToldFirst(t *testing.T) {
	ctx := context.Background()
	var waits atomic.Int32
	d := openDoor(t, func(o *Options) {
		o.Told = func(ctx context.Context) error {
			waits.Add(1)
			<-ctx.Done() // as if news never went out
			return ctx.Err()
		}
	})
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bob")
	must := mustOf(t)
	acme, err := alice.CreateTeam(ctx, "acme")
	must(err)
	acme, err = alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleWriter}})
	must(err)
	if n := waits.Load(); n != 0 {
		t.Errorf("%d posts without a key wait", n)
	}
	_, err = alice.ChangeTeam(ctx, acme, client.TeamChange{
		Roles: map[client.UserVersion]client.TeamRole{bob.Version(): client.RoleNone}, Rotate: true, FirstEK: true,
	})
	must(err)
	if n := waits.Load(); n != 1 {
		t.Errorf("a post with a key waits %d times", n)
	}
}
