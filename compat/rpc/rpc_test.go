package rpc

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/compat/wire/chat1"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fresh client's first minute works: syncAll names it, clears its inbox and gives
// the whole state; the inbox is empty; the next syncAll says CURRENT; ping answers.
func TestFreshClient(t *testing.T) {
	d := openDoor(t, Limits{})
	alice := kbsig.UIDOf("alice")
	id, err := d.gregor.Inject(t.Context(), gregor.Injection{UID: alice, Category: "team.change", Body: []byte(`[]`)})
	if err != nil {
		t.Fatal(err)
	}
	c := d.dial(t)
	var pong string
	if st := c.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, &pong); st != nil || pong != "pong" {
		t.Fatalf("ping before authentication: %v %q", st, pong)
	}
	var res chat1.SyncAllResult
	if st := c.call(2, "chat.1.remote.syncAll", syncAllArg("alice", 0), &res); st != nil {
		t.Fatalf("syncAll: %+v", st)
	}
	if !bytes.Equal(res.Auth.UID, alice[:]) || res.Auth.Username != "alice" || res.Auth.SID != "sid-alice" {
		t.Errorf("auth: %+v", res.Auth)
	}
	if res.Chat.InboxRes.Typ != chat1.SyncInboxClear || res.Badge.InboxVers != 1 || res.Badge.InboxSyncStatus != chat1.SyncInboxClear {
		t.Errorf("chat: %+v, badge: %+v", res.Chat, res.Badge)
	}
	if n := res.Notification; n.Typ != 0 || n.State == nil || len(n.State.Items) != 1 || !bytes.Equal(n.State.Items[0].Metadata.MsgID, id) {
		t.Errorf("notification: %+v", n)
	}
	var inbox chat1.GetInboxRemoteRes
	arg := map[string]any{"vers": 0, "query": map[string]any{"convIDs": []any{}, "summarizeMaxMsgs": true}, "pagination": nil}
	if st := c.call(1, "chat.1.remote.getInboxRemote", arg, &inbox); st != nil {
		t.Fatalf("getInboxRemote: %+v", st)
	}
	if inbox.Inbox.RType != chat1.InboxFull || inbox.Inbox.Full == nil || inbox.Inbox.Full.Vers != 1 {
		t.Errorf("inbox: %+v", inbox)
	}
	again := d.dial(t)
	if st := again.call(2, "chat.1.remote.syncAll", syncAllArg("alice", 1), &res); st != nil {
		t.Fatalf("syncAll: %+v", st)
	}
	if res.Chat.InboxRes.Typ != chat1.SyncInboxCurrent {
		t.Errorf("second sync: %+v", res.Chat)
	}
	if st := c.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, &pong); st != nil || pong != "pong" {
		t.Errorf("ping: %v %q", st, pong)
	}
}

// A token that is not good is answered with 202, in the compressed form the client
// needs to see it, and the connection lives to try another.
func TestBadSession(t *testing.T) {
	d := openDoor(t, Limits{})
	c := d.dial(t)
	if st := c.call(2, "chat.1.remote.syncAll", syncAllArg("mallory", 0), nil); st == nil || st.Code != status.BadSession {
		t.Fatalf("status %+v", st)
	}
	if st := c.call(1, "gregor.1.incoming.state", gregor1.StateArg{}, nil); st == nil || st.Code != status.LoginRequired {
		t.Fatalf("status %+v", st)
	}
	if st := c.call(2, "chat.1.remote.syncAll", syncAllArg("down", 0), nil); st == nil || st.Code != status.Generic ||
		bytes.Contains([]byte(st.Desc), []byte("secret")) {
		t.Fatalf("status %+v", st)
	}
	if st := c.call(2, "chat.1.remote.syncAll", syncAllArg("alice", 0), nil); st != nil {
		t.Fatalf("status %+v", st)
	}
}

// Every method of clients' gregor.1 files stands in the table: none is unknown, none is
// without a handler, none but the two that say who is there works before
// authentication, and those among servers are refused with a sentence.
func TestGregorTable(t *testing.T) {
	methods := map[string][]string{
		"auth":         {"authenticateSessionToken"},
		"authInternal": {"createGregorSuperUserSessionToken"},
		"authUpdate":   {"revokeSessionIDs"},
		"incoming": {
			"sync", "consumeMessage", "consumePublishMessage", "consumeMessageMulti", "ping", "version", "state",
			"stateByCategoryPrefix", "describeConnectedUsers", "describeConnectedUsersInternal",
		},
		"outgoing": {"broadcastMessage"},
		"remind":   {"getReminders", "deleteReminders"},
	}
	d := openDoor(t, Limits{})
	stranger, alice := d.dial(t), d.login(t, "alice")
	n := 0
	for protocol, names := range methods {
		for _, name := range names {
			full := "gregor.1." + protocol + "." + name
			rt, ok := d.routes[full]
			if !ok || rt.handle == nil || rt.class.bytes == 0 || rt.class.values == 0 {
				t.Errorf("%s has no whole row", full)
				continue
			}
			n++
			open := name == "authenticateSessionToken" || name == "ping"
			if (rt.level == levelNone) != open {
				t.Errorf("%s has level %d", full, rt.level)
			}
			if st := stranger.call(1, full, map[string]any{}, nil); !open && (st == nil || st.Code != status.LoginRequired) {
				t.Errorf("%s before authentication: %+v", full, st)
			}
			if among := protocol == "authInternal" || protocol == "authUpdate" || protocol == "outgoing"; among {
				if st := alice.call(1, full, map[string]any{}, nil); st == nil || st.Code != status.InputError {
					t.Errorf("%s: %+v", full, st)
				}
			}
		}
	}
	for method := range d.routes {
		if strings.HasPrefix(method, "gregor.") {
			n--
		}
	}
	if n != 0 {
		t.Errorf("the table has %d methods more than clients know", -n)
	}
}

// What one device consumes, all devices of the user hear, the sender included, in
// order and with the server's stamp; other users hear nothing.
func TestConsumeAndBroadcast(t *testing.T) {
	d := openDoor(t, Limits{})
	one, two, other := d.login(t, "alice"), d.login(t, "alice/2"), d.login(t, "bob")
	for i := range byte(5) {
		m := gregor1.Message{InBand: &gregor1.InBandMessage{StateUpdate: &gregor1.StateUpdateMessage{
			Metadata: gregor1.Metadata{UID: []byte("whoever"), MsgID: []byte{1, i}, InBandMsgType: 1},
			Creation: &gregor1.Item{Category: "exploding:00", Body: []byte("30")},
		}}}
		if st := one.call(1, "gregor.1.incoming.consumeMessage", gregor1.ConsumeMessageArg{Message: m}, nil); st != nil {
			t.Fatalf("consumeMessage: %+v", st)
		}
	}
	alice := kbsig.UIDOf("alice")
	for _, c := range []*testClient{one, two} {
		var last gregor1.Time
		for i := range byte(5) {
			up := c.broadcast().InBand.StateUpdate
			if !bytes.Equal(up.Metadata.MsgID, []byte{1, i}) || !bytes.Equal(up.Metadata.UID, alice[:]) || up.Metadata.CTime <= last {
				t.Fatalf("message %d: %+v after %d", i, up.Metadata, last)
			}
			last = up.Metadata.CTime
		}
	}
	var st gregor1.State
	if s := other.call(1, "gregor.1.incoming.state", gregor1.StateArg{}, &st); s != nil || len(st.Items) != 0 {
		t.Fatalf("bob's state: %+v %+v", s, st)
	}
	if len(other.pushed) != 0 {
		t.Fatal("bob heard alice's messages")
	}
}

// A notify does what its method does and is not answered, whatever becomes of it; it
// counts as a call that runs.
func TestNotify(t *testing.T) {
	d := openDoor(t, Limits{})
	stranger, alice := d.dial(t), d.login(t, "alice")
	notify := func(c *testClient, method string, arg any) { c.frame(2, method, []any{arg}) }
	m := gregor1.Message{InBand: &gregor1.InBandMessage{StateUpdate: &gregor1.StateUpdateMessage{
		Metadata: gregor1.Metadata{MsgID: []byte("told"), InBandMsgType: 1},
		Creation: &gregor1.Item{Category: "a", Body: []byte("x")},
	}}}
	notify(stranger, "gregor.1.incoming.consumeMessage", gregor1.ConsumeMessageArg{Message: m})
	notify(stranger, "no.such.method", map[string]any{})
	notify(alice, "no.such.method", map[string]any{})
	notify(alice, "gregor.1.incoming.consumeMessage", map[string]any{"m": 5})
	notify(alice, "gregor.1.incoming.consumeMessage", gregor1.ConsumeMessageArg{Message: m})
	if up := alice.broadcast().InBand.StateUpdate; string(up.Metadata.MsgID) != "told" {
		t.Errorf("heard %+v", up)
	}
	for _, c := range []*testClient{stranger, alice} {
		var pong string // the next frame, so nothing was answered before
		if st := c.call(0, "gregor.1.incoming.ping", gregor1.PingArg{}, &pong); st != nil || pong != "pong" {
			t.Errorf("ping: %+v %q", st, pong)
		}
	}
}
