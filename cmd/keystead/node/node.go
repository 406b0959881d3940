// Package node joins the rooms into one running server: it opens the store, makes
// or loads the signing key and the genesis, and listens on the doors.
//
// It decides nothing: rules live in the rooms, settings in cmd/keystead/config.
package node

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/compat/kbsig"
)

// Bound tells where the doors listen, as host:port with the real port even when
// the setting said port 0, and which key signs the roots. Ops is empty when the
// operator's listener is off.
type Bound struct {
	HTTP, RPC, Ops string
	MerkleKID      kbsig.KID
}

// Run serves until ctx ends, then stops in order and returns nil. It calls ready
// once, after every door accepts connections and before it serves for long; an
// error from ready stops the server.
func Run(ctx context.Context, cfg config.Config, log *slog.Logger, ready func(Bound) error) error {
	return errors.New("node: not wired")
}

// Audit replays everything that the data folder holds and writes what it found,
// one line a subject, to out; the error says that something does not hold.
func Audit(ctx context.Context, dir string, out io.Writer) error {
	return errors.New("node: not wired")
}
