package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/cmd/keystead/adminapi"
	"github.com/keystead/keystead/cmd/keystead/ops"
)

// signUpAt signs up at a server as a strict client.
func signUpAt(t *testing.T, e ops.Endpoints, name, code string) error {
	t.Helper()
	kid, err := client.ParseKID(e.MerkleKID)
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewServer(e.ServerURI, []client.KID{kid}, time.Now, rand.Reader)
	t.Cleanup(c.Close)
	_, err = client.Signup(context.Background(), client.NewVerifier(c, nil), client.SignupOptions{
		Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name, Invitation: code,
	})
	return err
}

// policyFile writes a configuration with a sign-up policy.
func policyFile(t *testing.T, policy string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keystead.toml")
	if err := os.WriteFile(path, []byte("[signup]\npolicy = \""+policy+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func listInvitations(t *testing.T, dir string) adminapi.InvitationList {
	t.Helper()
	got := verb("invite", "list", "--data", dir, "--json")
	var list adminapi.InvitationList
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil || got.code != exitOK {
		t.Fatalf("%v: %+v", err, got)
	}
	return list
}

// TestInvite proves that an invitation made beside a running server lets exactly one
// person in, that the list says who, that a revoked one lets nobody in, and that all of
// it works without a server and lasts.
func TestInvite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	config := policyFile(t, "invitation")
	s := startServer(t, dir, "--config", config)
	e := endpoints(t, dir)
	made := verb("invite", "new", "--data", dir, "--note", "for alice")
	code := strings.TrimSpace(made.stdout)
	if made.code != exitOK || strings.Count(made.stdout, "\n") != 1 || !strings.Contains(made.stderr, "1 sign-up and expires on") {
		t.Fatalf("%+v", made)
	}
	var refused *client.StatusError
	if err := signUpAt(t, e, "mallory", "202020202020202020202020"); !errors.As(err, &refused) || refused.Code != 707 {
		t.Fatalf("without an invitation: %v", err)
	}
	if err := signUpAt(t, e, "alice", code); err != nil {
		t.Fatal(err)
	}
	if err := signUpAt(t, e, "bobby", code); !errors.As(err, &refused) || refused.Name != "INVITATION_USED" {
		t.Fatalf("a second time: %v", err)
	}
	shown := verb("invite", "list", "--data", dir)
	if shown.code != exitOK || !strings.Contains(shown.stdout, "for alice") || !strings.Contains(shown.stdout, "alice (20") || strings.Contains(shown.stdout, code) {
		t.Fatalf("%+v", shown)
	}
	spare := strings.TrimSpace(verb("invite", "new", "--data", dir, "--uses", "5", "--expires", "0").stdout)
	if got := verb("invite", "revoke", "--data", dir, spare); got.code != exitOK || !strings.HasPrefix(got.stdout, "revoked: ") {
		t.Fatalf("%+v", got)
	}
	if err := signUpAt(t, e, "bobby", spare); !errors.As(err, &refused) || refused.Code != 707 {
		t.Fatalf("revoked: %v", err)
	}
	s.end(t)

	// The same without a server, and then with one again.
	offline := verb("invite", "new", "--data", dir, "--config", config)
	if offline.code != exitOK || !strings.Contains(offline.stderr, "No server runs") || strings.Contains(offline.stderr, "Nobody") {
		t.Fatalf("%+v", offline)
	}
	if n := len(listInvitations(t, dir).Invitations); n != 2 {
		t.Fatalf("%d invitations", n)
	}
	again := startServer(t, dir, "--config", config)
	if err := signUpAt(t, endpoints(t, dir), "bobby", strings.TrimSpace(offline.stdout)); err != nil {
		t.Fatal(err)
	}
	guests := map[string]bool{}
	list := listInvitations(t, dir)
	for _, i := range list.Invitations {
		for _, g := range i.Guests {
			guests[g.Name] = true
		}
	}
	if list.Policy != "invitation" || !guests["alice"] || !guests["bobby"] {
		t.Fatalf("%+v", list)
	}
	again.end(t)
	if got := verb("verify", "--data", dir); got.code != exitOK {
		t.Fatalf("%+v", got)
	}
}

// TestInviteSaysWhenItIsOfNoUse proves that under the other policies an operator learns
// that the code will not matter, and that a closed server says a sentence to guests.
func TestInviteSaysWhenItIsOfNoUse(t *testing.T) {
	for policy, want := range map[string]string{"open": "Nobody needs it", "closed": "Nobody can use it now"} {
		dir := filepath.Join(t.TempDir(), "data")
		s := startServer(t, dir, "--config", policyFile(t, policy))
		made := verb("invite", "new", "--data", dir)
		if made.code != exitOK || !strings.Contains(made.stderr, want) {
			t.Errorf("%s: %+v", policy, made)
		}
		err := signUpAt(t, endpoints(t, dir), "alice", strings.TrimSpace(made.stdout))
		var refused *client.StatusError
		if closed := errors.As(err, &refused) && refused.Name == "SIGNUP_CLOSED"; closed != (policy == "closed") || !closed && err != nil {
			t.Errorf("%s: %v", policy, err)
		}
		s.end(t)
	}
}

// TestInviteRefuses proves that mistakes on the command line and folders without a
// server get one line each, and that no store is made by asking.
func TestInviteRefuses(t *testing.T) {
	empty := t.TempDir()
	for _, tc := range []struct {
		want string
		args []string
	}{
		{"run `keystead serve` first", []string{"new", "--data", empty}},
		{"run `keystead serve` first", []string{"list", "--data", filepath.Join(empty, "nowhere")}},
		{"is not a time", []string{"new", "--data", empty, "--expires", "soon"}},
		{"is not a time", []string{"new", "--data", empty, "--expires", "-1h"}},
		{"is not a time", []string{"new", "--data", empty, "--expires", "99999999999d"}},
		{"takes the ID", []string{"revoke", "--data", empty}},
		{"no server runs", []string{"../reload", "--data", empty}},
	} {
		args := append([]string{"invite"}, tc.args...)
		if tc.args[0] == "../reload" {
			args = append([]string{"reload"}, tc.args[1:]...)
		}
		got := verb(args...)
		if got.code == exitOK || !strings.Contains(got.stderr, tc.want) || got.stdout != "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if files, err := os.ReadDir(empty); err != nil || len(files) != 0 {
		t.Errorf("asking left %v: %v", files, err)
	}

	dir := filepath.Join(t.TempDir(), "data")
	s := startServer(t, dir)
	for want, args := range map[string][]string{
		"1 to 1000":          {"new", "--data", dir, "--uses", "0"},
		"at most 200 bytes":  {"new", "--data", dir, "--note", strings.Repeat("x", 201)},
		"up to 3650 days":    {"new", "--data", dir, "--expires", "3651d"},
		"no such invitation": {"revoke", "--data", dir, "0000000000"},
	} {
		if got := verb(append([]string{"invite"}, args...)...); got.code != exitFailure || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	s.end(t)
}
