//go:build linux

package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// TestSmallCrowd runs the whole measurement with few devices against the built server, plainly and by TLS:
// they come in, hear everything, those that stall are cut off, and all are back after a
// restart.
func TestSmallCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts a server")
	}
	for _, more := range []string{"-stalled 0.05", "-stalled 0 -tls"} {
		var out bytes.Buffer
		err := command(context.Background(), strings.Fields("-idle 20 -busy 20 -per-user 10 -last 1s "+more), &out)
		t.Log(out.String())
		if err != nil {
			t.Fatal(err)
		}
	}
}
