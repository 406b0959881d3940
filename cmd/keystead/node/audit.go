package node

import (
	"context"
	"errors"
	"io"
)

func Audit(ctx context.Context, dir string, out io.Writer) error { return errors.New("not wired") }
