// Command keystead is an open server for stock Keybase clients, and its operator's
// verbs. Run `keystead serve` to start one with no configuration at all, and
// `keystead help` for the rest.
//
// This package is the command line: flags, signals, exit codes and what people
// read. What the verbs do is in ops, what can be set is in config, and the server
// itself is in node.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/node"
	"github.com/keystead/keystead/cmd/keystead/preflight"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // the verb ran and the answer is no
	exitUsage   = 2 // the command line makes no sense
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the usual effect of a signal is back, so that a second
	// one ends a server that does not stop by itself.
	context.AfterFunc(ctx, stop)
	a := app{
		self: selfName(os.Args[0]), stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, environ: os.Environ,
		run: node.Run, audit: node.Audit, adopt: node.Adopt, preflight: preflight.Check, offline: node.Offline,
	}
	os.Exit(a.main(ctx, os.Args[1:]))
}

// app is the command line with everything it touches as a value, for tests.
type app struct {
	self           string // how a person calls this program
	stdout, stderr io.Writer
	getenv         func(string) string
	environ        func() []string // nil: not looked at
	run            runFunc
	audit          auditFunc
	adopt          adoptFunc
	preflight      func(config.Config, time.Time) config.Problems // nil: not done
	offline        offlineFunc
}

// usageError marks a mistake on the command line.
type usageError struct{ error }

// main runs one command line and returns the exit code.
func (a app) main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errSaid) {
		fmt.Fprintf(a.stderr, "keystead: %v\n", err)
	}
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(a.stderr, "Run `%s --help` for how it is used.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailure
}

// errSaid ends a command whose own output has already told what is wrong.
var errSaid = errors.New("the command has said what is wrong")

// root is the command tree.
func (a app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "keystead",
		Short: "An open server for stock Keybase clients",
		Long: "Keystead is an open server that stock Keybase clients can use.\n\n" +
			"`keystead serve` starts one without any configuration; `keystead client-env` says how\n" +
			"to point a client at it.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q", args[0])}
			}
			return nil
		},
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(a.serveCmd(), a.clientEnvCmd(), a.healthCmd(), a.verifyCmd(), a.adoptCmd(), a.inviteCmd(), a.announceCmd(), a.sessionsCmd(), a.reloadCmd(), a.configCmd(), a.limitsCmd(), a.versionCmd())
	return root
}

// exactly is cobra's argument count, as a mistake of usage.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		if n == 0 {
			return usageError{fmt.Errorf("%s takes no argument, but got %q", cmd.CommandPath(), args[0])}
		}
		return usageError{fmt.Errorf("%s takes %s", cmd.CommandPath(), what)}
	}
}
