package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keystead/keystead/cmd/keystead/ops"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
)

// auditFunc is node.Audit.
type auditFunc = ops.Auditor

func (a app) clientEnvCmd() *cobra.Command {
	var s settings
	var format, ca string
	cmd := &cobra.Command{
		Use:   "client-env",
		Short: "Say how to point a stock client at this server",
		Long: "Print what points a stock client at the server of this data folder, as it was last\n" +
			"started. The formats:\n\n" +
			"  sh           export lines for sh, bash and zsh\n" +
			"  fish         the same for fish\n" +
			"  unset        takes the export lines back\n" +
			"  fish-unset   takes the fish lines back\n" +
			"  config       commands that write the client's own config file, for desktop clients\n" +
			"               and for good; they stop a running client first\n" +
			"  config-undo  commands that take that back\n" +
			"  json         the same facts for programs\n\n" +
			"Where the push door speaks TLS, clients trust only the root that their own configuration\n" +
			"file names for its host, whatever their system trusts: give it with --ca and the format\n" +
			"config. It then counts for the REST door on the same host, too; a file may hold the roots of\n" +
			"both. Name a root, not the door's own certificate, which changes with every renewal.\n\n" +
			"Run `keystead serve` once before: the signing key and the addresses come from there.\n" +
			"When nothing can be told, the output for a shell is `false`, so that eval fails too.",
		Example: "  eval \"$(keystead client-env)\"\n  keystead client-env --format fish | source\n" +
			"  keystead client-env --format config | sh\n  keystead client-env --format config-undo | sh\n" +
			"  keystead client-env --format config --ca root.pem | sh",
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := a.clientEnv(cmd, &s, format, ca)
			if err != nil && format != ops.FormatJSON {
				// An eval of nothing would succeed and leave the client with its
				// vendor's server.
				fmt.Fprintln(a.stdout, "false")
			}
			if err != nil {
				return err
			}
			_, err = io.WriteString(a.stdout, text)
			return err
		},
	}
	s.folderFlags(cmd)
	cmd.Flags().StringVar(&format, "format", ops.FormatSh, "`FORMAT`: "+strings.Join(ops.Formats(), ", "))
	cmd.Flags().StringVar(&ca, "ca", "", "PEM `FILE` with the root that clients shall trust for the doors that speak TLS")
	return cmd
}

func (a app) clientEnv(cmd *cobra.Command, s *settings, format, ca string) (string, error) {
	cfg, err := s.load(cmd, a)
	if err != nil {
		return "", err
	}
	e, err := ops.ReadEndpoints(cfg.Data.Dir)
	if err != nil {
		return "", orServeFirst(err)
	}
	if kid, err := keyfile.LoadKID(cfg.Data.Dir); err == nil && kid.String() != e.MerkleKID {
		return "", fmt.Errorf("the signing key of %s is not the one of its last start; start the server again", cfg.Data.Dir)
	}
	var roots *ops.Roots
	if ca != "" {
		if roots, err = ops.ReadRoots(ca, time.Now()); err != nil {
			return "", err
		}
		for field, file := range map[string]string{"http.tls_cert": cfg.HTTP.TLSCert, "rpc.tls_cert": cfg.RPC.TLSCert} {
			if err := roots.Lead(file, time.Now()); err != nil {
				return "", fmt.Errorf("%s: %w", field, err)
			}
		}
	}
	if roots == nil && ops.NeedsRoots(e) && format != ops.FormatUnset && format != ops.FormatFishUnset && format != ops.FormatConfigUndo {
		fmt.Fprintln(a.stderr, "The push door speaks TLS. Clients also need its root in their configuration file: use --format config --ca ROOT.pem.")
	}
	return ops.ClientEnv(e, format, roots)
}

// orServeFirst adds what to do when there is no server in the folder.
func orServeFirst(err error) error {
	if errors.Is(err, ops.ErrNotStarted) {
		return fmt.Errorf("%w: run `keystead serve` first, or say which folder with --data", err)
	}
	return err
}

func (a app) healthCmd() *cobra.Command {
	var s settings
	var address string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the running server whether it is well (exit 0) or not (exit 1)",
		Long: "Ask the operator's listener of the running server for /healthz, write one line, and exit\n" +
			"0 if it is well, 1 if it is not or does not answer. Needs no shell and no curl, so that it\n" +
			"serves as the health check of a container.",
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("ops") {
				cfg, err := s.load(cmd, a)
				if err != nil {
					return err
				}
				e, err := ops.ReadEndpoints(cfg.Data.Dir)
				if err != nil {
					return orServeFirst(err)
				}
				address = e.Ops
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return ops.Health(ctx, address, a.stdout)
		},
	}
	s.folderFlags(cmd)
	cmd.Flags().StringVar(&address, "ops", "", "`HOST:PORT` to ask (default: where the server of the data folder listens)")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	return cmd
}

func (a app) verifyCmd() *cobra.Command {
	var s settings
	var all bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Replay and audit everything that is stored",
		Long: "Replay every chain and every root of the data folder and check that all of it holds\n" +
			"together: signatures, links, tree, roots, and the record outside the store. Nothing is\n" +
			"changed. Stop the server first, or verify a copy.",
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd, a)
			if err != nil {
				return err
			}
			paths := 0
			if all {
				paths = -1
			}
			return orServeFirst(ops.Verify(cmd.Context(), cfg.Data.Dir, paths, a.stdout, a.audit))
		},
	}
	cmd.Flags().BoolVar(&all, "all-paths", false, "verify every path that any root ever promised, not a sample of them")
	s.folderFlags(cmd)
	return cmd
}
