package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keystead/keystead/cmd/keystead/adminapi"
)

func (a app) sessionsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List and end the password sessions of an account",
		Long: "List and end the sessions of an account that were made with its password. Devices need\n" +
			"none: each signs its own tokens, until its owner removes it with `keybase device remove`.\n" +
			"The list shows them too.\n\n" +
			"The commands talk to the running server; if none runs, they work on its stored data.",
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.sessionsListCmd(), a.sessionsEndCmd())
	return cmd
}

func (a app) sessionsListCmd() *cobra.Command {
	var s settings
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list USERNAME",
		Short: "List the sessions and devices of an account",
		Args:  exactly(1, "the USERNAME of an account"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list adminapi.SessionList
			if err := a.control(cmd, &s, adminapi.SessionsList, adminapi.SessionsOf{User: args[0]}, &list); err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(a.stdout)
				e.SetIndent("", "  ")
				return e.Encode(list)
			}
			return writeSessions(a.stdout, list)
		},
	}
	s.folderFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeSessions(w io.Writer, list adminapi.SessionList) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if list.Lockdown {
		fmt.Fprintf(t, "%s is in lockdown mode: sessions of the password change nothing.\n", list.User)
	}
	if len(list.Sessions) == 0 {
		fmt.Fprintf(t, "no password sessions of %s\n", list.User)
	} else {
		fmt.Fprintln(t, "SESSION\tMADE\tEXPIRES\tMADE WITH")
		for _, s := range list.Sessions {
			with := "the password"
			if s.Device != "" {
				with = "device " + s.Device
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.ID, minute(s.Made), minute(s.Expires), with)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t, "\nDEVICE\tKIND\tLAST USED")
	for _, d := range list.Devices {
		fmt.Fprintf(t, "%s\t%s\t%s\n", d.ID, d.Type, minute(d.LastUsed))
	}
	return t.Flush()
}

func (a app) sessionsEndCmd() *cobra.Command {
	var s settings
	var all bool
	cmd := &cobra.Command{
		Use:   "end USERNAME [SESSION]",
		Short: "End one password session of an account, or all",
		Long: "End one password session of an account, by the id that `keystead sessions list` shows, or\n" +
			"all with --all. Whoever uses it must show the password again. Devices are not affected.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 && !all || len(args) == 1 && all {
				return nil
			}
			return usageError{errors.New(cmd.CommandPath() + " takes the USERNAME of an account and the id of a SESSION, or --all instead of it")}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req := adminapi.EndSessions{User: args[0], All: all}
			if !all {
				req.ID = args[1]
			}
			var out adminapi.EndedSessions
			if err := a.control(cmd, &s, adminapi.SessionsEnd, req, &out); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.stdout, "ended: %s of %s\n", plural(out.Ended, "session"), out.User)
			return err
		},
	}
	s.folderFlags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "end all of them")
	return cmd
}
