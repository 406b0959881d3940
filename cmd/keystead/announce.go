package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keystead/keystead/cmd/keystead/adminapi"
)

// announcementLifetime is how long an announcement is shown if nothing else is said.
const announcementLifetime = 14 * 24 * time.Hour

func (a app) announceCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "announce",
		Short: "Tell everybody something on their home pages",
		Long: "Tell everybody something on the home page of the desktop app, such as that the server will\n" +
			"be away for an evening. It is shown until it ends, is withdrawn, or its reader puts it away;\n" +
			"clients that run look for new announcements every hour.\n\n" +
			"The commands talk to the running server; if none runs, they work on its stored data.",
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.announceNewCmd(), a.announceListCmd(), a.announceWithdrawCmd())
	return cmd
}

func (a app) announceNewCmd() *cobra.Command {
	var s settings
	var args adminapi.NewAnnouncement
	var expires string
	cmd := &cobra.Command{
		Use:     "new TEXT",
		Short:   "Make an announcement and print its number",
		Long:    "Make an announcement and print its number, alone, on standard output. The text is one\nparagraph.",
		Example: "  keystead announce new \"The server moves on Sunday evening.\" --link https://example.org/move --expires 3d",
		Args:    exactly(1, "the TEXT of an announcement"),
		RunE: func(cmd *cobra.Command, argv []string) error {
			lifetime, err := parseLifetime(expires)
			if err != nil {
				return usageError{err}
			}
			args.Text, args.LifetimeSeconds = argv[0], int64(lifetime/time.Second)
			var made adminapi.ListedAnnouncement
			if err := a.control(cmd, &s, adminapi.AnnounceNew, args, &made); err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "It is shown until %s.\n", minute(made.Until))
			_, err = fmt.Fprintln(a.stdout, made.ID)
			return err
		},
	}
	s.folderFlags(cmd)
	cmd.Flags().StringVar(&args.Link, "link", "", "web `ADDRESS` that a button leads to")
	cmd.Flags().StringVar(&args.Label, "label", "", "`WORDS` on the button (default \"Read more\")")
	cmd.Flags().StringVar(&expires, "expires", spellDays(announcementLifetime), "`TIME` for which it is shown, such as 36h or 60d")
	return cmd
}

func (a app) announceListCmd() *cobra.Command {
	var s settings
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the announcements",
		Args:  exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list adminapi.AnnouncementList
			if err := a.control(cmd, &s, adminapi.AnnounceList, nil, &list); err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(a.stdout)
				e.SetIndent("", "  ")
				return e.Encode(list)
			}
			return writeAnnouncements(a.stdout, list)
		},
	}
	s.folderFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeAnnouncements(w io.Writer, list adminapi.AnnouncementList) error {
	if len(list.Announcements) == 0 {
		_, err := fmt.Fprintln(w, "no announcements")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NUMBER\tSTATE\tMADE\tUNTIL\tTEXT")
	for _, n := range list.Announcements {
		text := n.Text
		if n.Link != "" {
			text += " (" + n.Label + ": " + n.Link + ")"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", n.ID, n.State, minute(n.Made), minute(n.Until), text)
	}
	return t.Flush()
}

func (a app) announceWithdrawCmd() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "withdraw NUMBER",
		Short: "Take an announcement back",
		Args:  exactly(1, "the NUMBER of an announcement"),
		RunE: func(cmd *cobra.Command, argv []string) error {
			id, err := strconv.ParseInt(argv[0], 10, 64)
			if err != nil {
				return usageError{fmt.Errorf("%q is no number of an announcement; `keystead announce list` shows them", argv[0])}
			}
			var out adminapi.ListedAnnouncement
			if err := a.control(cmd, &s, adminapi.AnnounceWithdraw, adminapi.WithdrawAnnouncement{ID: id}, &out); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "withdrawn: announcement %d, %q\n", out.ID, out.Text)
			return err
		},
	}
	s.folderFlags(cmd)
	return cmd
}
