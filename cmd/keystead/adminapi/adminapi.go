// Package adminapi is the control socket: how the operator's commands talk to a server
// that runs.
//
// The socket is control.sock in the data folder, mode 0600: the right to use it is the
// right to read the folder, and nothing else is asked. A connection carries one
// request and one reply, each a JSON object on one line:
//
//	{"keystead":1,"method":"invite.new","args":{"uses":1}}
//	{"keystead":1,"result":{"code":"7kqm2-...","id":"0a1b2c3d4e"}}
//	{"keystead":1,"error":"there is no method \"invite.old\""}
//
// The number is the protocol's version: another one is refused on both sides, with
// the advice to use the command of the same build as the server.
//
// Methods are values in a Server's table; those of invitations are here, others belong
// to who runs the server. They can be run without a server too, on a store that the
// caller has opened. The package owns no state.
package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Version of the protocol.
const Version = 1

// Limits of the socket.
const (
	requestBytesMax = 64 << 10
	replyBytesMax   = 64 << 20
	// exchangeMax bounds a request, its work and its reply.
	exchangeMax = 30 * time.Second
	// connectionsMax bounds the exchanges under way; more wait in the kernel.
	connectionsMax = 16
)

const socketName = "control.sock"

// Path is where the socket of a data folder lies.
func Path(dataDir string) string { return filepath.Join(dataDir, socketName) }

// ErrNoServer reports that no server runs on a data folder.
var ErrNoServer = errors.New("no server runs on this data folder")

// Method does one thing; args is the JSON that came, and the reply is encoded as
// JSON. Its error is shown to the operator as it is.
type Method func(ctx context.Context, args json.RawMessage) (any, error)

// Methods is a table of them by name.
type Methods map[string]Method

// Do runs one method.
func (m Methods) Do(ctx context.Context, name string, args json.RawMessage) (any, error) {
	method := m[name]
	if method == nil {
		return nil, fmt.Errorf("there is no method %.40q", name)
	}
	return method(ctx, args)
}

// typed makes a Method of a function that takes its arguments as a struct. Unknown
// arguments are refused: an operator who misspells one means something.
func typed[A, R any](fn func(context.Context, A) (R, error)) Method {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var args A
		if len(raw) > 0 {
			if err := strictly(raw, &args); err != nil {
				return nil, fmt.Errorf("arguments: %w", err)
			}
		}
		return fn(ctx, args)
	}
}

type request struct {
	Keystead int             `json:"keystead"`
	Method   string          `json:"method"`
	Args     json.RawMessage `json:"args,omitempty"`
}

type reply struct {
	Keystead int             `json:"keystead"`
	Error    string          `json:"error,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
}
