//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// attackerFlag makes this program the attacker: it reads an arena from standard input
// and writes the outcome to standard output.
const attackerFlag = "-attacker"

// attackerNice is how far the attacker steps back before server and victim.
const attackerNice = 10

// arena is what an attack works with.
type arena struct {
	Attack    string
	REST, RPC string // host:port
	KID       string // of the server
	Victim    string // uid
	LoginKID  string // of some password
	Size      size
}

// fork runs an attack in a process of its own.
func fork(ctx context.Context, a arena) (o outcome, err error) {
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	in, err := json.Marshal(a)
	if err != nil {
		return o, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, self, attackerFlag)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return o, fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return o, json.Unmarshal(stdout.Bytes(), &o)
}

// attackerMain is the attacker. A priority belongs to a thread and is inherited by
// those that it starts: so one thread steps back and starts the program again.
func attackerMain(ctx context.Context, in io.Reader, out io.Writer) int {
	runtime.LockOSThread()
	if nice, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil && nice > 20-attackerNice { // the kernel tells 20-nice
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, attackerNice); err == nil {
			err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	runtime.UnlockOSThread()
	if err := attackOnce(ctx, in, out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func attackOnce(ctx context.Context, in io.Reader, out io.Writer) error {
	var a arena
	if err := json.NewDecoder(in).Decode(&a); err != nil {
		return err
	}
	chosen, err := choose([]string{a.Attack})
	if err != nil {
		return err
	}
	o, err := chosen[0].run(ctx, &a)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(o)
}
