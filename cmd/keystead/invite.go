package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keystead/keystead/cmd/keystead/adminapi"
	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/ops"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/engine/accounts"
)

// offlineFunc is node.Offline: it runs a control method on a folder without a server.
type offlineFunc func(ctx context.Context, cfg config.Config, method string, args, result any) error

// inviteLifetime is how long an invitation lasts if nothing else is said.
const inviteLifetime = 14 * 24 * time.Hour

func (a app) inviteCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Make, list and revoke invitations to sign up",
		Long: "Make, list and revoke the codes with which people sign up where the configuration says\n" +
			"signup.policy = \"invitation\". The desktop app has no field for a code: people sign up with\n" +
			"`keybase signup` in a terminal, and find their account in the app.\n\n" +
			"The commands talk to the running server; if none runs, they work on its stored data.",
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.inviteNewCmd(), a.inviteListCmd(), a.inviteRevokeCmd())
	return cmd
}

// control runs a method on the running server, or without one on its data.
func (a app) control(cmd *cobra.Command, s *settings, method string, args, result any) error {
	cfg, err := s.load(cmd, a)
	if err != nil {
		return err
	}
	err = adminapi.Call(cmd.Context(), cfg.Data.Dir, method, args, result)
	if !errors.Is(err, adminapi.ErrNoServer) {
		return err
	}
	err = a.offline(cmd.Context(), cfg, method, args, result)
	if errors.Is(err, keyfile.ErrNoKey) {
		return orServeFirst(fmt.Errorf("%s: %w", cfg.Data.Dir, ops.ErrNotStarted))
	}
	if err == nil {
		fmt.Fprintf(a.stderr, "No server runs on %s; this was done on its stored data.\n", cfg.Data.Dir)
	}
	return err
}

func (a app) inviteNewCmd() *cobra.Command {
	var s settings
	var args adminapi.NewInvitation
	var expires string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make an invitation and print its code",
		Long: "Make an invitation and print its code, alone, on standard output. It is stored as a hash\n" +
			"and cannot be shown again. Whoever has it can sign up, as often as --uses says, with\n" +
			"`keybase signup --invite-code CODE`, or when the client asks for a code.",
		Example: "  keystead invite new --note \"the choir\" --uses 20 --expires 60d",
		Args:    exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lifetime, err := parseLifetime(expires)
			if err != nil {
				return usageError{err}
			}
			args.LifetimeSeconds = int64(lifetime / time.Second)
			var made adminapi.MadeInvitation
			if err := a.control(cmd, &s, adminapi.InviteNew, args, &made); err != nil {
				return err
			}
			until := "does not expire"
			if made.Expires != 0 {
				until = "expires on " + minute(made.Expires)
			}
			fmt.Fprintf(a.stderr, "Invitation %s is good for %s and %s.\n", made.ID, plural(args.Uses, "sign-up"), until)
			switch made.Policy {
			case accounts.SignupOpen:
				fmt.Fprintln(a.stderr, "Nobody needs it: signup.policy is \"open\".")
			case accounts.SignupClosed:
				fmt.Fprintln(a.stderr, "Nobody can use it now: signup.policy is \"closed\".")
			}
			_, err = fmt.Fprintln(a.stdout, made.Code)
			return err
		},
	}
	s.folderFlags(cmd)
	cmd.Flags().StringVar(&args.Note, "note", "", "`TEXT` for your own list, such as who it is for")
	cmd.Flags().IntVar(&args.Uses, "uses", 1, "how many accounts can be made with it")
	cmd.Flags().StringVar(&expires, "expires", spellDays(inviteLifetime), "`TIME` until it expires, such as 36h or 60d; 0 for never")
	return cmd
}

func (a app) inviteListCmd() *cobra.Command {
	var s settings
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the invitations and who used them",
		Args:  exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list adminapi.InvitationList
			if err := a.control(cmd, &s, adminapi.InviteList, nil, &list); err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(a.stdout)
				e.SetIndent("", "  ")
				return e.Encode(list)
			}
			return writeInvitations(a.stdout, list)
		},
	}
	s.folderFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a app) inviteRevokeCmd() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "End an invitation, by its id or its code",
		Long: "End an invitation, by the id that `keystead invite list` shows or by its code. Accounts\n" +
			"that were made with it stay.",
		Args: exactly(1, "the ID or the code of an invitation"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out adminapi.RevokedInvitation
			if err := a.control(cmd, &s, adminapi.InviteRevoke, adminapi.RevokeInvitation{Invitation: args[0]}, &out); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.stdout, "revoked: %s, used for %s\n", out.ID, plural(out.Used, "sign-up"))
			return err
		},
	}
	s.folderFlags(cmd)
	return cmd
}

func (a app) reloadCmd() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running server take renewed certificates now",
		Long: "Have the running server look at its certificate files now, as a hang-up signal does, and\n" +
			"say for each door which certificate is in use. Connections that are open stay. The\n" +
			"server looks by itself twice a minute, too. Other settings need a restart.\n\n" +
			"Exits 1 if a pair on disk cannot be used; the one in use stays then.",
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd, a)
			if err != nil {
				return err
			}
			var out adminapi.Reloaded
			if err := adminapi.Call(cmd.Context(), cfg.Data.Dir, adminapi.Reload, nil, &out); err != nil {
				return err
			}
			return writeReloaded(a.stdout, out)
		},
	}
	s.folderFlags(cmd)
	return cmd
}

func writeReloaded(w io.Writer, out adminapi.Reloaded) error {
	if len(out.Doors) == 0 {
		_, err := fmt.Fprintln(w, "no door has a certificate; nothing to do")
		return err
	}
	var failed bool
	for _, d := range out.Doors {
		what := "unchanged"
		switch {
		case d.Error != "":
			what, failed = "not taken: "+d.Error, true
		case d.Taken:
			what = "taken"
		}
		fmt.Fprintf(w, "%s: %s (in use until %s)\n", d.Door, what, minute(d.Until))
	}
	if failed {
		return errSaid
	}
	return nil
}

func writeInvitations(w io.Writer, list adminapi.InvitationList) error {
	if len(list.Invitations) == 0 {
		_, err := fmt.Fprintf(w, "no invitations (signup.policy is %q)\n", list.Policy)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tUSED\tEXPIRES\tNOTE\tBY")
	for _, i := range list.Invitations {
		until := "never"
		if i.Expires != 0 {
			until = minute(i.Expires)
		}
		var by []string
		for _, g := range i.Guests {
			by = append(by, g.Name+" ("+minute(g.Time)+")")
		}
		if more := i.Used - len(i.Guests); more > 0 {
			by = append(by, fmt.Sprintf("and %d more", more))
		}
		fmt.Fprintf(t, "%s\t%s\t%d of %d\t%s\t%s\t%s\n", i.ID, i.State, i.Used, i.Uses, until, i.Note, strings.Join(by, ", "))
	}
	return t.Flush()
}

func minute(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04 UTC") }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// parseLifetime is time.ParseDuration with days.
func parseLifetime(s string) (time.Duration, error) {
	bad := fmt.Errorf("--expires %q is not a time; write one such as 36h or 60d, or 0 for never", s)
	if days, found := strings.CutSuffix(s, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, bad
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 0 && d < time.Second {
		return 0, bad
	}
	return d, nil
}

func spellDays(d time.Duration) string { return strconv.Itoa(int(d/(24*time.Hour))) + "d" }
