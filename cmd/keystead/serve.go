package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/node"
	"github.com/keystead/keystead/cmd/keystead/ops"
	"github.com/keystead/keystead/cmd/keystead/ops/redact"
)

// runFunc is node.Run.
type runFunc func(ctx context.Context, cfg config.Config, log *slog.Logger, ready func(node.Bound) error) error

func (a app) serveCmd() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "Run the server until it gets an interrupt or a termination signal; then it takes no new\n" +
			"requests, finishes those it has, and exits 0. A second signal ends it at once.\n\n" +
			"No configuration is needed. The first start makes the data folder, the key that signs\n" +
			"the Merkle roots and the first roots of the tree. Standard output tells how to point a\n" +
			"client at this server; the log goes to standard error.",
		Example: "  keystead serve\n  keystead serve --data /srv/keystead --http 127.0.0.1:4000 --rpc 127.0.0.1:4911",
		Args:    exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, problems, err := s.loadToServe(cmd, a)
			if err != nil {
				return err
			}
			if mistakes := problems.Errors(); len(mistakes) > 0 {
				s.report(a.stderr, mistakes)
				return errSaid
			}
			return a.serve(cmd.Context(), cfg, problems.Warnings(), a.clientEnvCommand(cmd, cfg))
		},
	}
	s.folderFlags(cmd)
	s.doorFlags(cmd)
	return cmd
}

// serve runs the node and, once its doors are open, writes down where they are and
// tells people how to use them.
func (a app) serve(ctx context.Context, cfg config.Config, warnings config.Problems, hint string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	log := redact.New(a.stderr, redact.Options{Level: level, Format: cfg.Log.Format})
	for _, w := range warnings {
		log.Warn("configuration", "field", w.Field, "text", w.Text)
	}
	err := a.run(ctx, cfg, log, func(bound node.Bound) error {
		e := ops.Endpoints{
			ServerURI: cfg.ServerURI(bound.HTTP),
			PushURI:   cfg.PushURI(bound.RPC),
			MerkleKID: bound.MerkleKID.String(),
			Devel:     cfg.Devel,
			Ops:       config.Dialable(bound.Ops),
		}
		if err := ops.WriteEndpoints(cfg.Data.Dir, e); err != nil {
			return err
		}
		return welcome(a.stdout, cfg.Data.Dir, e, hint)
	})
	if err != nil {
		log.Error("the server stopped", "err", err)
		return fmt.Errorf("%w: %w", errSaid, err)
	}
	log.Info("the server stopped as it was told")
	return nil
}

// welcome is what a person reads after the start.
func welcome(w io.Writer, dir string, e ops.Endpoints, hint string) error {
	env, err := ops.ClientEnv(e, ops.FormatSh, nil)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Keystead is serving from %s\n\n", dir)
	fmt.Fprintf(&b, "Point a stock client at it, in another terminal:\n\n")
	for line := range strings.Lines(env) {
		b.WriteString("  " + line)
	}
	fmt.Fprintf(&b, "\nor in one line:\n\n  eval \"$(%s)\"\n\n", hint)
	if ops.NeedsRoots(e) {
		fmt.Fprintf(&b, "The push door speaks TLS, and a client trusts only the root that its own configuration\nnames for it. ROOT.pem is the root of the door's certificate:\n\n  %s --format config --ca ROOT.pem | sh\n\n", hint)
	}
	b.WriteString("A client that runs already must be stopped first: keybase ctl stop\n")
	if e.Ops != "" {
		fmt.Fprintf(&b, "Health and metrics: http://%s/healthz http://%s/metrics\n", e.Ops, e.Ops)
	}
	b.WriteString("Stop the server with Ctrl-C.\n")
	_, err = io.WriteString(w, b.String())
	return err
}

// clientEnvCommand is the command line that finds the server which this one starts,
// from any folder. A folder that only the configuration file names is named too.
func (a app) clientEnvCommand(cmd *cobra.Command, cfg config.Config) string {
	line := a.self + " client-env"
	if cmd.Flags().Changed("data") || cmd.Flags().Changed("config") {
		line += " --data " + ops.QuoteSh(cfg.Data.Dir)
	}
	return line
}

// selfName is how a person calls this program again: as it was called, unless
// `go run` called it under a name that is gone when it ends.
func selfName(arg0 string) string {
	if strings.Contains(arg0, "go-build") {
		return "go run ./cmd/keystead"
	}
	if strings.ContainsAny(arg0, " '\"\\$`") {
		return ops.QuoteSh(arg0)
	}
	return arg0
}
