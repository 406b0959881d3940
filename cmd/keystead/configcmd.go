package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/keystead/keystead/cmd/keystead/config"
)

func (a app) configCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print and check the configuration file",
		Args:  exactly(0, ""),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.configPrintCmd(), a.configCheckCmd())
	return cmd
}

func (a app) configPrintCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print a complete file in which every field is explained",
		Long: "Print a complete configuration file in which every field is explained, with the defaults\n" +
			"as values, or with the values of an existing file.",
		Example: "  keystead config print > keystead.toml\n  keystead config print --config old.toml > new.toml",
		Args:    exactly(0, ""),
		RunE: func(*cobra.Command, []string) error {
			c := config.Default()
			if file != "" {
				text, err := os.ReadFile(file)
				if err != nil {
					return fmt.Errorf("read the configuration: %w", err)
				}
				var problems config.Problems
				if c, problems = config.Parse(text); problems.Err() != nil {
					return fmt.Errorf("%s: %w", file, problems.Err())
				}
			}
			_, err := io.WriteString(a.stdout, config.Print(c))
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "`FILE` whose values to print")
	return cmd
}

func (a app) configCheckCmd() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a file, and this machine against it: one line for each mistake",
		Long: "Check a configuration file and what it needs of this machine (folders, certificates, free\n" +
			"addresses), and print one line for each mistake, which says what to change. Serve refuses\n" +
			"the same mistakes with the same lines. Run it as the account of the server. Flags replace\n" +
			"fields of the file, as with serve.\n\n" +
			"Exits 1 if there is a mistake that keeps the server from starting; a warning does not.",
		Args: exactly(1, "the FILE to check"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.file = args[0]
			_, problems, err := s.loadToServe(cmd, a)
			if err != nil {
				return err
			}
			s.report(a.stdout, problems)
			if problems.Err() != nil {
				return errSaid
			}
			_, err = fmt.Fprintf(a.stdout, "%s: ok\n", s.file)
			return err
		},
	}
	s.dataFlag(cmd)
	s.doorFlags(cmd)
	return cmd
}
