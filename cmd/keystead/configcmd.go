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
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a file: one line for each mistake, saying what to change",
		Long: "Check a configuration file and print one line for each mistake, FILE:LINE:COLUMN first.\n" +
			"Exits 1 if there is a mistake that keeps the server from starting; a warning does not.",
		Args: exactly(1, "the FILE to check"),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read the configuration: %w", err)
			}
			_, problems := config.Parse(text)
			for _, p := range problems {
				if p.Line > 0 {
					fmt.Fprintf(a.stdout, "%s:%s\n", args[0], p)
				} else {
					fmt.Fprintf(a.stdout, "%s: %s\n", args[0], p)
				}
			}
			if problems.Err() != nil {
				return errSaid
			}
			_, err = fmt.Fprintf(a.stdout, "%s: ok\n", args[0])
			return err
		},
	}
}
