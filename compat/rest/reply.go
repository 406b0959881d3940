package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/autoreset"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/observe"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// okStatus opens every successful reply.
const okStatus = `{"status":{"code":0,"name":"OK"}`

// none is the reply that has nothing but its status.
type none struct{}

// marshal is encoding/json without HTML escapes and the trailing newline.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// writeReply encodes v, a struct or map, beside the status object.
func (s *Server) writeReply(ctx *fasthttp.RequestCtx, r *route, v any) int {
	ctx.SetContentType("application/json; charset=utf-8")
	ctx.SetStatusCode(fasthttp.StatusOK)
	ctx.SetBodyString(okStatus)
	if with, ok := v.(withRaw); ok {
		// Large parts that are JSON already are not scanned again.
		for _, p := range with.parts {
			ctx.Response.AppendBodyString(`,"` + p.name + `":`)
			ctx.Response.AppendBody(p.json)
		}
		v = with.reply
	}
	if _, empty := v.(none); !empty && v != nil {
		b, err := marshal(v)
		if err != nil || len(b) < 2 || b[0] != '{' {
			s.Logger.Error("reply does not encode", observe.FieldEndpoint, r.name, "type", fmt.Sprint(reflect.TypeOf(v)), "err", err)
			return s.writeError(ctx, internalError())
		}
		if len(b) > 2 {
			ctx.Response.AppendBodyString(",")
			ctx.Response.AppendBody(b[1 : len(b)-1])
		}
	}
	ctx.Response.AppendBodyString("}")
	return status.OK
}

// withRaw is a reply with parts beside it that are JSON already.
type withRaw struct {
	reply any
	parts []rawPart
}

type rawPart struct {
	name string
	json []byte
}

func (s *Server) writeError(ctx *fasthttp.RequestCtx, e *status.Error) int {
	b, err := marshal(map[string]any{"status": struct {
		Code   int               `json:"code"`
		Name   string            `json:"name"`
		Desc   string            `json:"desc"`
		Fields map[string]string `json:"fields,omitempty"`
	}{e.Code, e.Name, e.Desc, e.Fields}})
	if err != nil {
		b = []byte(`{"status":{"code":218,"name":"GENERIC","desc":"internal error"}}`)
	}
	ctx.SetContentType("application/json; charset=utf-8")
	ctx.SetStatusCode(fasthttp.StatusOK)
	ctx.SetBody(b)
	return e.Code
}

// internalError is what a client is told of an error that is not its own.
func internalError() *status.Error {
	return status.New(status.Generic, "GENERIC", "the server could not do that; please try again")
}

// statusOf is the one mapping from our errors to what clients understand.
func (s *Server) statusOf(r *route, err error) *status.Error {
	var se *status.Error
	if errors.As(err, &se) {
		return se
	}
	var refused *limits.Refused
	if errors.As(err, &refused) {
		return refusal(refused)
	}
	if kind := sigchain.KindOf(err); kind != sigchain.KindNone && kind != sigchain.KindCorrupt {
		var refusal *sigchain.Error
		errors.As(err, &refusal)
		info := kind.Info()
		s.Logger.Info("links refused", observe.FieldEndpoint, r.name, "kind", info.Name, "err", err)
		return status.New(info.Code, info.Name, info.Text+": "+refusal.Error())
	}
	if e := teamRefusal(err); e != nil {
		s.Logger.Info("links of teams refused", observe.FieldEndpoint, r.name, "code", e.Code, "err", err)
		return e
	}
	var unwilling *joining.Unwilling
	if errors.As(err, &unwilling) {
		return contactsBlock(unwilling)
	}
	if errors.As(joiningError(err), &se) {
		return se
	}
	for _, m := range errorTable {
		if errors.Is(err, m.err) {
			e := m.status
			return &e
		}
	}
	if errors.Is(err, store.ErrStopped) {
		return status.New(status.Generic, "GENERIC", "the server is shutting down")
	}
	s.Logger.Error("request failed", observe.FieldEndpoint, r.name, "err", err)
	return internalError()
}

var errorTable = []struct {
	err    error
	status status.Error
}{
	{accounts.ErrNoUser, status.Error{Code: status.NotFound, Name: "NOT_FOUND", Desc: "user not found"}},
	{accounts.ErrNameTaken, status.Error{Code: status.UsernameTaken, Name: "BAD_SIGNUP_USERNAME_TAKEN", Desc: "that username is already taken"}},
	{accounts.ErrNameDeleted, status.Error{Code: status.UsernameDeleted, Name: "BAD_SIGNUP_USERNAME_DELETED", Desc: "an account of that name has been deleted; nobody can have the name again"}},
	{accounts.ErrMailTaken, status.Error{Code: status.EmailTaken, Name: "BAD_SIGNUP_EMAIL_TAKEN", Desc: "that email address is already taken"}},
	{accounts.ErrNoInvitation, *badInvitation("this is not an invitation code of this server; check it for mistakes, or ask whoever runs the server for one")},
	{accounts.ErrInvitationUsed, *endedInvitation("USED", "has been used already")},
	{accounts.ErrInvitationExpired, *endedInvitation("EXPIRED", "has expired")},
	{accounts.ErrInvitationWithdrawn, *endedInvitation("WITHDRAWN", "has been withdrawn")},
	{accounts.ErrNoBotToken, status.Error{Code: status.BotTokenNotFound, Name: "BOT_SIGNUP_TOKEN_NOT_FOUND", Desc: "there is no such bot token; its owner may have deleted it"}},
	{accounts.ErrTooManyBotTokens, status.Error{Code: status.InputError, Name: "INPUT_ERROR", Desc: "there are too many bot tokens; delete one first"}},
	{accounts.ErrNoDevice, status.Error{Code: status.DeviceNotFound, Name: "DEVICE_NOT_FOUND", Desc: "device not found"}},
	{accounts.ErrTooManyDevices, status.Error{Code: status.InputError, Name: "INPUT_ERROR", Desc: "this account has too many devices, removed ones included"}},
	{accounts.ErrNoSession, status.Error{Code: status.BadSession, Name: "BAD_SESSION", Desc: "bad or expired session"}},
	{keyboxes.ErrBadGeneration, status.Error{Code: status.EKBadGeneration, Name: "EPHEMERAL_KEY_BAD_GENERATION", Desc: "wrong generation of an ephemeral key"}},
	{keyboxes.ErrNoDeviceEK, status.Error{Code: status.EKUnknownDevice, Name: "EPHEMERAL_KEY_UNEXPECTED_BOX", Desc: "a box for a device without an ephemeral key"}},
	{accounts.ErrHalves, status.Error{Code: status.InputError, Name: "INPUT_ERROR", Desc: "the new password does not cover all devices; try again"}},
	{accounts.ErrStaleGeneration, status.Error{Code: status.InputError, Name: "INPUT_ERROR", Desc: "the password has been changed meanwhile; try again"}},
	{identity.ErrSecretKey, status.Error{Code: status.KeyNotFound, Name: "KEY_NOT_FOUND", Desc: "the account has no active PGP key with this secret key"}},
	{autoreset.ErrNone, status.Error{Code: status.NotFound, Name: "NOT_FOUND", Desc: "no reset of this account is under way"}},
	{autoreset.ErrNotReady, status.Error{Code: status.InputError, Name: "INPUT_ERROR", Desc: "the reset of this account has to wait"}},
	{teams.ErrNoTeam, status.Error{Code: status.TeamNotFound, Name: "TEAM_NOT_FOUND", Desc: "no such team"}},
	{accounts.ErrNoToken, status.Error{Code: status.BadSession, Name: "BAD_SESSION", Desc: "bad or expired session token"}},
}
