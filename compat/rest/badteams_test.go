package rest

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/joining"
)

// withWays opens the ways into teams; nobody does the work that they leave behind.
func withWays(o *Options) {
	o.Chores = chores.New(chores.Options{Store: o.Store, Logger: o.Logger, Connected: func(kbsig.UID) bool { return false }})
	o.Joining = joining.New(joining.Options{
		Store: o.Store, Identity: o.Identity, Teams: o.Teams, Queue: o.Chores, Rand: o.Rand,
		Known:  func(store.Reader, string, string) (kbsig.UID, bool, error) { return kbsig.UID{}, false, nil },
		Letter: func(string, kbsig.Username, string, string, string) mail.Message { return mail.Message{} },
	})
}

// makeTeams gives alice the teams acme and acme.work, with carol as a writer of acme and
// bobby as its restricted bot, and an invitation to acme; and carol a team of her own.
func (b *badInput) makeTeams(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	must := func(team *client.Team, err error) *client.Team {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return team
	}
	if err := b.alice.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	carol := b.signUp(t, "carol1")
	theirs := must(carol.CreateTeam(ctx, "theirs"))
	bobby := client.UserVersion{UID: client.UIDOf("bobby"), Eldest: 1}
	acme := must(b.alice.CreateTeam(ctx, "acme"))
	acme = must(b.alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{carol.Version(): client.RoleWriter}}))
	acme = must(b.alice.ChangeTeam(ctx, acme, client.TeamChange{Roles: map[client.UserVersion]client.TeamRole{bobby: client.RoleRestrictedBot}}))
	work := must(b.alice.CreateSubteam(ctx, acme, "work", client.RoleNone))
	acme = must(b.alice.LoadTeam(ctx, acme.ID, client.TeamOptions{}))
	i, err := b.alice.NewInvite("twitter", "somebird")
	if err != nil {
		t.Fatal(err)
	}
	acme = must(b.alice.InviteToTeam(ctx, acme, map[string]any{"reader": []any{i}}))
	b.words = map[string]string{
		"ACME": acme.ID.String(), "WORK": work.ID.String(), "THEIRS": theirs.ID.String(), "INVITE": i["id"].(string),
		"CAROL": carol.UID.String(), "NOTEAM": strings.Repeat("5a", 15) + "24", "NOSUB": strings.Repeat("5a", 15) + "25",
	}
}

// badValues are wrong for most arguments.
var badValues = []struct{ name, value string }{
	{"missing", "-"}, {"empty", ""}, {"text", "x"}, {"minus one", "-1"}, {"2^31", "2147483648"}, {"2^64", "18446744073709551616"},
	{"bytes", "\xff\xfe"}, {"a list", "[1]"}, {"a fraction", "1.5"}, {"too long", strings.Repeat("a", 7000)},
	{"upper case", "UPPER"}, {"no such team", "NOTEAM"}, {"a subteam that is none", "NOSUB"}, {"another's team", "THEIRS"}, {"a user", "CAROL"},
}

// badArguments sends a right request with each argument wrong in each way, and shows what
// the person gets. Nothing of what is refused changes anything.
func (b *badInput) badArguments(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var out strings.Builder
	right := url.Values{}
	b.arguments(t, right, d.Input)
	fmt.Fprintf(&out, "right: %s", b.once(t, d, right))
	for line := range strings.Lines(d.Input) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " = ")
		answers, order := make(map[string][]string), []string(nil)
		for _, bad := range badValues {
			args := maps.Clone(right)
			switch value, word := b.words[bad.value]; {
			case bad.value == "-":
				args.Del(name)
			case bad.value == "UPPER":
				args.Set(name, strings.ToUpper(right.Get(name)))
			case word:
				args.Set(name, value)
			default:
				args.Set(name, bad.value)
			}
			if args.Encode() == right.Encode() {
				continue
			}
			answer := b.once(t, d, args)
			if answers[answer] == nil {
				order = append(order, answer)
			}
			answers[answer] = append(answers[answer], bad.name)
		}
		for _, answer := range order {
			fmt.Fprintf(&out, "%s %s: %s", name, strings.Join(answers[answer], ", "), answer)
		}
	}
	return out.String()
}

// once sends one request and shows the answer.
func (b *badInput) once(t *testing.T, d *datadriven.TestData, args url.Values) string {
	t.Helper()
	as := "token"
	d.MaybeScanArgs(t, "as", &as)
	b.clock.Advance(10 * time.Second) // so that no limit on rates speaks first
	method, path, body := strings.ToUpper(d.CmdArgs[0].Key), apiPrefix+d.CmdArgs[1].Key+".json", ""
	if method == post {
		body = args.Encode()
	} else {
		path += "?" + args.Encode()
	}
	before := b.snapshot(t)
	code, answer, _ := b.door.ask(t, method, path, "application/x-www-form-urlencoded", body, b.tokens[as]...)
	shown := b.show(t, code, answer)
	if !strings.HasPrefix(shown, "0 OK") {
		if after := b.snapshot(t); !maps.Equal(before, after) {
			t.Errorf("%s: refused, and something changed: %s", d.Pos, shown)
		}
	}
	first, _, _ := strings.Cut(shown, "\n")
	if strings.Contains(first, "GENERIC:") {
		t.Errorf("%s: an error that says nothing: %s", d.Pos, first)
	}
	if before, _, ok := strings.Cut(first, "cannot be used: "); ok {
		first = before + "cannot be used" // the reason is one of a parser's
	}
	return first + "\n"
}
