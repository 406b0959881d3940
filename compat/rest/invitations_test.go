package rest

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
)

// openDoorTo opens a door with a policy.
func openDoorTo(t *testing.T, p accounts.SignupPolicy) *door {
	t.Helper()
	return openDoor(t, func(o *Options) { o.Signup = p })
}

// invite makes an invitation as the operator does.
func (d *door) invite(t *testing.T, spec accounts.InvitationSpec) (code string, id accounts.InvitationID) {
	t.Helper()
	err := d.store.Update(context.Background(), func(tx *store.Tx) (err error) {
		code, id, err = accounts.NewInvitation(tx, rand.Reader, spec)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return code, id
}

func (d *door) enter(name, code string) error {
	_, err := client.Signup(context.Background(), d.verifier(), client.SignupOptions{
		Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name, Invitation: code,
	})
	return err
}

func wantName(t *testing.T, err error, code int, name string) {
	t.Helper()
	var se *client.StatusError
	if !errors.As(err, &se) || se.Code != code || se.Name != name || len(se.Desc) < 20 {
		t.Fatalf("got %v, want %s (%d) with a sentence", err, name, code)
	}
}

// TestSignUpByInvitation proves that with the policy "invitation" nobody gets in
// without a code, that a client is not told one, that a code works as typed and as
// often as it says, and that a sign-up that fails does not spend it.
func TestSignUpByInvitation(t *testing.T) {
	d := openDoorTo(t, accounts.SignupInvitation)
	_, err := d.verifier().Server().Get(context.Background(), "invitation_bypass_request", nil, nil)
	wantName(t, err, 707, "BAD_INVITATION_CODE")
	for _, code := range []string{openInvitation, "202020202020202020202020", "7kqm2-7kqm2-7kqm2-7kqm2", strings.Repeat("7", 1000)} {
		wantName(t, d.enter("alice", code), 707, "BAD_INVITATION_CODE")
	}

	code, id := d.invite(t, accounts.InvitationSpec{Uses: 2})
	if err := d.enter("alice", strings.ToUpper(strings.ReplaceAll(code, "-", " "))); err != nil {
		t.Fatal(err)
	}
	wantName(t, d.enter("Alice", code), 701, "BAD_SIGNUP_USERNAME_TAKEN")
	if err := d.enter("bobby", code); err != nil {
		t.Fatalf("the refused sign-up spent the invitation: %v", err)
	}
	wantName(t, d.enter("carol", code), 218, "INVITATION_USED")

	v := d.store.View()
	defer v.Close()
	acct, err := accounts.ByName(v, kbsig.Username("bobby"))
	if err != nil || acct.Invitation != id.String() {
		t.Fatalf("the account names the invitation %q, not %s: %v", acct.Invitation, id, err)
	}
}

// TestOneInvitationOneWinner proves that of many who use the last use of an invitation
// at once exactly one gets in.
func TestOneInvitationOneWinner(t *testing.T) {
	d := openDoorTo(t, accounts.SignupInvitation)
	code, _ := d.invite(t, accounts.InvitationSpec{Uses: 1})
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = d.enter("guest"+string(rune('a'+i)), code) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantName(t, err, 218, "INVITATION_USED")
		}
	}
	if won != 1 {
		t.Fatalf("%d got in", won)
	}
}

// TestInvitationCheck proves that the check of a code says what a sign-up with it would.
func TestInvitationCheck(t *testing.T) {
	ctx := context.Background()
	ask := func(d *door, code string) error {
		_, err := d.verifier().Server().Get(ctx, "invitation/check", url.Values{"invitation_id": {code}}, nil)
		return err
	}
	d := openDoorTo(t, accounts.SignupInvitation)
	code, _ := d.invite(t, accounts.InvitationSpec{Uses: 1, Lifetime: time.Hour})
	if err := ask(d, code); err != nil {
		t.Fatal(err)
	}
	wantName(t, ask(d, "202020202020202020202020"), 707, "BAD_INVITATION_CODE")
	d.clock.Advance(time.Hour)
	wantName(t, ask(d, code), 218, "INVITATION_EXPIRED")
	if err := ask(openDoor(t), "anything"); err != nil {
		t.Errorf("an open server refuses a code: %v", err)
	}
	devel := openDoor(t, func(o *Options) { o.Devel = true })
	for _, good := range []string{openInvitation, develInvitation} {
		if err := ask(devel, good); err != nil {
			t.Errorf("devel mode refuses %s: %v", good, err)
		}
	}
	wantName(t, ask(devel, "eeoeoeoe333o3"), 707, "BAD_INVITATION_CODE")
	wantName(t, ask(openDoorTo(t, accounts.SignupClosed), code), 218, "SIGNUP_CLOSED")
}

// TestClosedSignUp proves that a closed server lets nobody in, whatever the code, says
// so with a name that does not make clients ask for another code, and keeps serving
// those whom it has.
func TestClosedSignUp(t *testing.T) {
	d := openDoorTo(t, accounts.SignupClosed)
	code, _ := d.invite(t, accounts.InvitationSpec{Uses: 1})
	for _, c := range []string{code, openInvitation} {
		wantName(t, d.enter("alice", c), 218, "SIGNUP_CLOSED")
	}
	_, err := d.verifier().Server().Get(context.Background(), "invitation_bypass_request", nil, nil)
	wantName(t, err, 218, "SIGNUP_CLOSED")
}

// TestWishForAnInvitation proves that somebody without a code, whose client offers to
// put the wish on a list, is told what to do instead of being left waiting.
func TestWishForAnInvitation(t *testing.T) {
	for policy, name := range map[accounts.SignupPolicy]string{
		accounts.SignupOpen: "NO_INVITATION_NEEDED", accounts.SignupInvitation: "NO_INVITATION_LIST", accounts.SignupClosed: "SIGNUP_CLOSED",
	} {
		d := openDoorTo(t, policy)
		_, err := d.verifier().Server().Post(context.Background(), "invitation_request", url.Values{"email": {"a@example.org"}, "full_name": {"A"}, "notes": {""}}, nil)
		wantName(t, err, 218, name)
	}
}
