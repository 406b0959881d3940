package rpc

import (
	"bytes"
	"context"
	"fmt"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/limits"
)

// Limits of authentication.
const (
	// tokenBytesMax bounds a session token; a long NIST has about 260 characters.
	tokenBytesMax = 2048
	// authFailsMax bounds bad tokens on one connection.
	authFailsMax = 3
	// describedUsersMax bounds the users of one describeConnectedUsers.
	describedUsersMax = 100
)

// badSession makes clients throw their token away and build a new one.
func badSession(desc string) error { return status.New(status.BadSession, "BAD_SESSION", desc) }

// authenticate gives the connection its identity, which it keeps for good.
func (c *conn) authenticate(ctx context.Context, token string) (*session, error) {
	if len(token) == 0 || len(token) > tokenBytesMax {
		return nil, badSession("the session token has no usable size")
	}
	if c.authFails.Load() >= authFailsMax {
		c.drain()
		return nil, badSession("too many bad session tokens")
	}
	// Checking a token costs a signature. Good ones are not counted.
	bad, err := c.srv.opts.Rates.Take(c.from, limits.TokenByAddress)
	if err != nil {
		return nil, err
	}
	uid, name, device, sid, err := c.srv.opts.Auth.AuthenticateNIST(ctx, token)
	if err != nil {
		c.authFails.Add(1)
		return nil, fmt.Errorf("authenticate: %w", err)
	}
	bad.Return()
	id := &session{uid, name, device, sid}
	if c.id.CompareAndSwap(nil, id) {
		c.srv.authenticated(c)
		return id, nil
	}
	if was := c.session(); was.UID != uid || was.Device != device {
		return nil, badSession("the connection belongs to another session")
	}
	return c.session(), nil
}

// subscribe makes the connection a sink of its user's messages, which are held back
// until release, and returns what they follow: the state, or what happened since.
func (c *conn) subscribe(ctx context.Context, id *session, since gregor1.Time) (gregor.Welcome, error) {
	c.subMu.Lock()
	defer c.subMu.Unlock()
	if c.sub != nil {
		c.sub.Cancel()
	}
	c.hold()
	w, sub, err := c.srv.opts.Gregor.SubscribeSince(ctx, id.UID, id.Device, since, sink{c})
	if err != nil {
		c.release()
		return w, err
	}
	c.sub = sub
	return w, nil
}

func (c *conn) unsubscribe() {
	c.subMu.Lock()
	defer c.subMu.Unlock()
	if c.sub != nil {
		c.sub.Cancel()
		c.sub = nil
	}
	c.stopSettling()
}

func authenticateSessionToken(ctx context.Context, c *conn, arg gregor1.AuthenticateSessionTokenArg) (any, error) {
	id, err := c.authenticate(ctx, arg.Session)
	if err != nil {
		return nil, err
	}
	if _, err := c.subscribe(ctx, id, 0); err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", id.UID, err)
	}
	return answerThen{id.authResult(), c.release}, nil
}

func (id *session) authResult() gregor1.AuthResult {
	return gregor1.AuthResult{UID: id.UID[:], Username: string(id.Username), SID: id.SID}
}

func ping(context.Context, *conn, gregor1.PingArg) (any, error) { return "pong", nil }

func version(_ context.Context, c *conn, _ gregor1.VersionArg) (any, error) {
	return c.srv.opts.Version, nil
}

// own checks that the identifiers in an argument, where present, are the session's.
func (id *session) own(uid, device []byte) error {
	if len(uid) != 0 && !bytes.Equal(uid, id.UID[:]) {
		return status.Input("the call names another user")
	}
	if len(device) != 0 && !bytes.Equal(device, id.Device[:]) {
		return status.Input("the call names another device")
	}
	return nil
}

func gregorSync(ctx context.Context, c *conn, arg gregor1.SyncArg) (any, error) {
	id := c.session()
	if err := id.own(arg.UID, arg.DeviceID); err != nil {
		return nil, err
	}
	return result(c.srv.opts.Gregor.Since(ctx, id.UID, id.Device, arg.CTime))
}

func gregorState(ctx context.Context, c *conn, arg gregor1.StateArg) (any, error) {
	return c.stateAt(ctx, arg.UID, arg.DeviceID, arg.TimeOrOffset, "")
}

func gregorStateByPrefix(ctx context.Context, c *conn, arg gregor1.StateByCategoryPrefixArg) (any, error) {
	return c.stateAt(ctx, arg.UID, arg.DeviceID, arg.TimeOrOffset, arg.CategoryPrefix)
}

func (c *conn) stateAt(ctx context.Context, uid, device []byte, at gregor1.TimeOrOffset, prefix string) (any, error) {
	id := c.session()
	if err := id.own(uid, device); err != nil {
		return nil, err
	}
	return result(c.srv.opts.Gregor.State(ctx, id.UID, id.Device, at, prefix))
}

// result drops a value that comes with an error.
func result[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func consumeMessage(ctx context.Context, c *conn, arg gregor1.ConsumeMessageArg) (any, error) {
	return nil, c.srv.opts.Gregor.Consume(ctx, c.session().UID, arg.Message)
}

// consumeMessageMulti is a call among servers, which a user may make for nobody but
// the user.
func consumeMessageMulti(ctx context.Context, c *conn, arg gregor1.ConsumeMessageMultiArg) (any, error) {
	id := c.session()
	for _, uid := range arg.UIDs {
		if err := id.own(uid, nil); err != nil || len(uid) == 0 {
			return nil, status.Input("the call names another user")
		}
	}
	if len(arg.UIDs) == 0 {
		return nil, nil
	}
	return nil, c.srv.opts.Gregor.Consume(ctx, id.UID, arg.Message)
}

// getReminders and deleteReminders are calls among servers; a user has them for the
// user's own items.
func getReminders(ctx context.Context, c *conn, arg gregor1.GetRemindersArg) (any, error) {
	if arg.MaxReminders < 0 {
		return nil, status.Input("a negative number of reminders")
	}
	id := c.session()
	return result(c.srv.opts.Gregor.DueReminders(ctx, id.UID, id.Device, arg.MaxReminders))
}

func deleteReminders(ctx context.Context, c *conn, arg gregor1.DeleteRemindersArg) (any, error) {
	id := c.session()
	for _, r := range arg.ReminderIDs {
		if err := id.own(r.UID, nil); err != nil {
			return nil, err
		}
	}
	return nil, c.srv.opts.Gregor.DeleteReminders(ctx, id.UID, arg.ReminderIDs)
}

// describeConnectedUsers tells users about their own devices only: who else is
// connected is nobody's business, and no stock client asks.
func describeConnectedUsers(_ context.Context, c *conn, arg gregor1.DescribeConnectedUsersArg) (any, error) {
	if len(arg.UIDs) > describedUsersMax {
		return nil, status.Input("more than %d users in one call", describedUsersMax)
	}
	id := c.session()
	users := make([]gregor1.ConnectedUser, 0, len(arg.UIDs))
	for _, uid := range arg.UIDs {
		u := gregor1.ConnectedUser{UID: uid, Devices: []gregor1.ConnectedDevice{}}
		if bytes.Equal(uid, id.UID[:]) {
			u.Devices = connectedDevices(c.srv.opts.Gregor, id.UID)
		}
		users = append(users, u)
	}
	return users, nil
}

func connectedDevices(g *gregor.Service, u kbsig.UID) []gregor1.ConnectedDevice {
	devices := []gregor1.ConnectedDevice{}
	for _, d := range g.Connected(u) {
		devices = append(devices, gregor1.ConnectedDevice{DeviceID: d[:]})
	}
	return devices
}

// serversOnly and clientsOnly refuse what nobody may ask of this door, whoever asks.
func serversOnly(context.Context, *conn, []byte) (any, error) {
	return nil, status.Input("this call is among servers: a client cannot make it")
}

func clientsOnly(context.Context, *conn, []byte) (any, error) {
	return nil, status.Input("this call is the server's to a client: a client cannot make it")
}
