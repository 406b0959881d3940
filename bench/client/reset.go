package client

import (
	"context"
	"net/url"
	"time"
)

// Reset throws all keys away with the password; links stay. The next
// ProvisionFirst begins a new incarnation. client: go/libkb/reset_delete.go
func (a *Account) Reset(ctx context.Context) error {
	if err := a.end(ctx, "nuke"); err != nil {
		return err
	}
	return a.afterReset(ctx)
}

// Delete ends the account for ever, with the password.
func (a *Account) Delete(ctx context.Context) error { return a.end(ctx, "delete") }

// end proves the password to an endpoint.
func (a *Account) end(ctx context.Context, endpoint string) error {
	loginSession, err := a.getSalt(ctx)
	if err != nil {
		return err
	}
	args, err := a.loginProofs(loginSession)
	if err != nil {
		return err
	}
	// The answer may be lost, but asking again would be asking for another reset.
	_, err = a.Server().Post(ctx, endpoint, args, a.credential())
	return err
}

// afterReset forgets what is no more and logs in anew.
func (a *Account) afterReset(ctx context.Context) error {
	a.Device, a.Devices, a.PUKs, a.Session = nil, make(map[DeviceID]*Device), nil, nil
	relogin, err := Login(ctx, a.Verifier, a.Username, "", a.Stream)
	if err != nil {
		return err
	}
	a.Session = relogin.Session
	return a.Reload(ctx)
}

// Waiting is a reset that waits. client: go/engine/account_reset.go:accountResetStatusResponse
type Waiting struct {
	ID    string
	Event int
	Since time.Time
	Delay time.Duration
}

// EnterReset asks for a reset that waits: with the password session of this account, or,
// if self is false, as somebody who knows no more than the name.
// client: go/engine/account_reset.go:AccountReset.Run
func (a *Account) EnterReset(ctx context.Context, self bool) error {
	if !self {
		_, err := a.Server().Post(ctx, "autoreset/enter", url.Values{"username": {a.Username}, "self": {"0"}}, nil)
		return err
	}
	_, err := a.Server().Post(ctx, "autoreset/enter", url.Values{"username": {""}, "self": {"1"}}, a.Session)
	return err
}

// ResetStatus asks how far a waiting reset has come; nil if none waits.
func (a *Account) ResetStatus(ctx context.Context, c Credential) (*Waiting, error) {
	reply, err := a.Server().Get(ctx, "autoreset/status", nil, c)
	if err != nil {
		return nil, err
	}
	var id *string
	if err := reply.into("reset_id", &id); err != nil || id == nil {
		return nil, err
	}
	w, at, delay := &Waiting{ID: *id}, "", int64(0)
	if err := reply.into("event_type", &w.Event); err != nil {
		return nil, err
	}
	if err := reply.into("delay_secs", &delay); err != nil {
		return nil, err
	}
	if at, err = reply.text("event_time"); err != nil {
		return nil, err
	}
	if w.Since, err = time.Parse(time.RFC3339, at); err != nil {
		return nil, violated(RuleReply, reply.Endpoint, "event_time: %v", err)
	}
	w.Delay = time.Duration(delay) * time.Second
	return w, nil
}

// CancelReset ends a waiting reset. client: go/libkb/reset_delete.go:CancelResetPipeline
func (a *Account) CancelReset(ctx context.Context, c Credential) error {
	_, err := a.Server().Post(ctx, "autoreset/cancel", url.Values{"src": {"app"}}, c)
	return err
}

// FinishReset does a reset that has waited long enough, and goes on with the same session.
// client: go/engine/account_reset.go:AccountReset.resetPrompt
func (a *Account) FinishReset(ctx context.Context) error {
	if _, err := a.Server().PostJSON(ctx, "autoreset/reset", map[string]any{"src": "app"}, a.Session); err != nil {
		return err
	}
	a.Device, a.Devices, a.PUKs = nil, make(map[DeviceID]*Device), nil
	return a.Reload(ctx)
}
