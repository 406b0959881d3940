package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/keystead/keystead/cmd/keystead/config"
)

// adoptFunc is node.Adopt.
type adoptFunc func(cfg config.Config, out io.Writer) error

func (a app) adoptCmd() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "adopt",
		Short: "Say that a moved or restored data folder is now the server",
		Long: "Say that a data folder which was moved, copied or restored is from now on the server.\n\n" +
			"Clients never forget a Merkle root. If two copies of a folder both go on, or an older one\n" +
			"does, clients see two histories and refuse the server for good; so the server refuses to\n" +
			"start from a folder that is not the one it made. Run this only if the folder holds\n" +
			"everything up to the last minute and its original will never run again.",
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd, a)
			if err != nil {
				return err
			}
			return a.adopt(cfg, a.stdout)
		},
	}
	s.folderFlags(cmd)
	return cmd
}
