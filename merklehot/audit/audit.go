// Package audit reads everything that a store holds and says what does not hold.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
)

// ErrDamaged says that the store holds something that it must not, or lacks
// something that it must hold.
var ErrDamaged = errors.New("the store does not hold together")

// Run audits what r shows; kid is the key that roots must be signed with. It writes
// one line for each problem and a summary line to out, and returns ErrDamaged if
// there was a problem.
func Run(ctx context.Context, r store.Reader, kid kbsig.KID, out io.Writer) error {
	if _, err := fmt.Fprintln(out, "nothing audited"); err != nil {
		return err
	}
	return ctx.Err()
}
