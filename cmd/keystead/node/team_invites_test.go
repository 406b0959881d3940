package node

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/keystead/keystead/bench/client"
)

// TestTeamInviteMessages proves that a telephone number that is invited to a team is told
// so, that who holds an invite link learns what the team shows, without being anybody, and
// that searchers learn when an open team changed last.
func TestTeamInviteMessages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	texts := make(chan string, 8)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		texts <- string(b)
	}))
	defer hook.Close()
	l := newLab(t)
	l.cfg.SMS.Webhook = hook.URL
	r := l.mustStart(t)
	defer r.mustStop(t)
	before := l.clock().UnixMilli()
	alice, err := client.Signup(ctx, r.verifier(strictWitness()), client.SignupOptions{
		Name: "alice", Stream: client.CheapStream([]byte("alice")), DeviceName: "desk of alice",
	})
	if err != nil {
		t.Fatal(err)
	}
	acme, err := alice.CreateTeam(ctx, "acme")
	if err == nil {
		acme, err = alice.OpenTeam(ctx, acme, client.RoleReader)
	}
	if err == nil {
		_, err = r.client.Post(ctx, "team/team_showcase", url.Values{"tid": {acme.ID.String()}, "description": {"we make things"}}, alice.NIST(alice.Device))
	}
	if err != nil {
		t.Fatal(err)
	}
	phone, err := alice.NewInvite("phone", "15551234567")
	link, err2 := alice.NewInvite("invitelink", "c2VhbGVk")
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	link["max_uses"] = 10
	if _, err = alice.InviteToTeam(ctx, acme, map[string]any{"reader": []any{phone, link}}); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-texts:
		if !strings.Contains(text, "+15551234567") || !strings.Contains(text, "alice invites you to the team acme") {
			t.Errorf("the number is told %s", text)
		}
	case <-ctx.Done():
	}
	var d struct {
		Inviter string            `json:"inviter_username"`
		Gone    bool              `json:"inviter_reset_or_del"`
		Member  bool              `json:"is_member"`
		Desc    string            `json:"team_desc"`
		Name    string            `json:"team_name"`
		Open    bool              `json:"team_is_open"`
		Members int               `json:"team_num_members"`
		Avatars map[string]string `json:"team_avatars"`
	}
	reply, err := r.client.Get(ctx, "team/get_invite_details", url.Values{"invite_id": {link["id"].(string)}}, nil)
	if err == nil {
		err = reply.Decode(&d)
	}
	if err != nil || d.Inviter != "alice" || d.Gone || d.Member || d.Desc != "we make things" || d.Name != "acme" || !d.Open || d.Members != 1 || d.Avatars == nil {
		t.Errorf("who holds the link is told %+v, %v", d, err)
	}
	var found struct {
		Results []struct {
			Name       string `json:"name"`
			LastActive int64  `json:"lastActive"`
		} `json:"results"`
	}
	reply, err = r.client.Get(ctx, "teamsearch/search", url.Values{"query": {"things"}, "limit": {"5"}}, alice.NIST(alice.Device))
	if err == nil {
		err = reply.Decode(&found)
	}
	if err != nil || len(found.Results) != 1 || found.Results[0].LastActive < before || found.Results[0].LastActive > l.clock().UnixMilli() {
		t.Errorf("found %+v: %v", found, err)
	}
}
