package rpc

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/compat/wire/keybase1"
	"github.com/keystead/keystead/engine/limits"
)

// statusOf is the one mapping from our errors to what crosses the wire. What it does
// not know reaches clients as one neutral code: the text of inner errors is for the
// operator's log.
func statusOf(err error) keybase1.Status {
	var e *status.Error
	var refused *limits.Refused
	switch {
	case errors.As(err, &e):
	case errors.As(err, &refused):
		e = status.New(status.RateLimit, "RATE_LIMIT", "too many calls; please wait a little and try again")
	case errors.Is(err, errMalformed), errors.Is(err, errTooLarge):
		e = status.Input("the argument of the call cannot be used")
	case errors.Is(err, gregor.ErrRefused):
		e = status.Input("the message cannot be used")
	case errors.Is(err, context.DeadlineExceeded):
		e = status.New(keybase1.StatusTimeout, "TIMEOUT", "the call took too long")
	case errors.Is(err, context.Canceled):
		e = status.New(keybase1.StatusCanceled, "CANCELED", "the call was cancelled")
	default:
		e = status.New(status.Generic, "GENERIC", "the server could not do this now")
	}
	st := keybase1.Status{Code: e.Code, Name: e.Name, Desc: e.Desc}
	for _, k := range slices.Sorted(maps.Keys(e.Fields)) {
		st.Fields = append(st.Fields, keybase1.StringKVPair{Key: k, Value: e.Fields[k]})
	}
	return st
}
