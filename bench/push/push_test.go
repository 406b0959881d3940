//go:build linux

package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// TestSmallCrowd runs the whole measurement with few devices against the built server:
// they come in, hear everything, those that stall are cut off, and all are back after a
// restart.
func TestSmallCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts a server")
	}
	var out bytes.Buffer
	err := command(context.Background(), strings.Fields("-idle 20 -busy 20 -per-user 10 -stalled 0.05 -last 1s"), &out)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
}
