package rest

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/chatlog/push"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
)

// A device says by what it is woken, for itself only, and takes it back before it logs
// out; what is no token of a known kind changes nothing.
func TestPushTokens(t *testing.T) {
	d := openDoor(t)
	alice := d.signUp(t, "alice")
	n, err := client.NewNIST(alice.UID, alice.Device.ID, d.clock.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n.Sign(alice.Device.Sig)
	session := base64.StdEncoding.EncodeToString(n.Long)
	ask := func(method, device, way, token string) int {
		t.Helper()
		form := url.Values{"device_id": {device}, "token_type": {way}, "push_token": {token}}.Encode()
		_, body, _ := d.ask(t, method, "/_/api/1.0/device/push_token.json", "application/x-www-form-urlencoded", form, "X-Keybase-Session", session)
		code, _ := statusIn(t, method, body)
		return code
	}
	kept := func() (out []push.Token) {
		t.Helper()
		v := d.store.View()
		defer v.Close()
		all, err := push.Tokens(v, kbsig.UID(alice.UID))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	id := alice.Device.ID.String()
	if code := ask(http.MethodPost, id, "androidplay", "abc"); code != status.OK || len(kept()) != 1 || kept()[0].Token != "abc" {
		t.Fatalf("status %d, kept %+v", code, kept())
	}
	other := "0123456789abcdef0123456789abcd18"
	for _, bad := range [][3]string{{id, "pigeon", "x"}, {id, "apple", ""}, {other, "apple", "x"}, {"x", "apple", "x"}} {
		if code := ask(http.MethodPost, bad[0], bad[1], bad[2]); code == status.OK || len(kept()) != 1 || kept()[0].Token != "abc" {
			t.Errorf("%v: status %d, kept %+v", bad, code, kept())
		}
	}
	if code := ask(http.MethodDelete, id, "apple", ""); code != status.OK || len(kept()) != 1 {
		t.Errorf("another kind's token: status %d, kept %+v", code, kept())
	}
	if code := ask(http.MethodDelete, id, "androidplay", ""); code != status.OK || len(kept()) != 0 {
		t.Errorf("status %d, kept %+v", code, kept())
	}
}
