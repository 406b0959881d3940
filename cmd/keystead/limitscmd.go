package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/chatlog/push"
	"github.com/keystead/keystead/cmd/keystead/adminapi"
	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/courier"
	"github.com/keystead/keystead/cmd/keystead/node"
	"github.com/keystead/keystead/cmd/keystead/ops"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/cmd/keystead/ops/redact"
	"github.com/keystead/keystead/cmd/keystead/postman"
	"github.com/keystead/keystead/cmd/keystead/tlsfile"
	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
	"github.com/keystead/keystead/compat/rest"
	"github.com/keystead/keystead/compat/rpc"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/autoreset"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/fetch"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/limits"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/pictures"
	"github.com/keystead/keystead/engine/reports"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/kbfsblocks/tlf"
	"github.com/keystead/keystead/merklehot/archive"
	"github.com/keystead/keystead/merklehot/audit"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/consent"
	"github.com/keystead/keystead/merklehot/directory"
	"github.com/keystead/keystead/merklehot/home"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/implicit"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/kvstore"
	"github.com/keystead/keystead/merklehot/proofs"
	"github.com/keystead/keystead/merklehot/pvl"
	"github.com/keystead/keystead/merklehot/rooter"
	"github.com/keystead/keystead/merklehot/roots"
	"github.com/keystead/keystead/merklehot/showcase"
	"github.com/keystead/keystead/merklehot/sigchain"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
	"github.com/keystead/keystead/merklehot/tree"
	"github.com/keystead/keystead/merklehot/vouches"
)

// limitRoom is a package with its limits.
type limitRoom struct {
	where string // its folder
	what  string
	rows  []limits.Row
}

// limitRooms lists all packages that have limits, the doors first.
func limitRooms() []limitRoom {
	var signed []limits.Row
	for _, r := range kbsig.LimitRows() {
		signed = append(signed, limits.Row(r))
	}
	var openPGP []limits.Row
	for _, r := range pgp.LimitRows() {
		openPGP = append(openPGP, limits.Row(r))
	}
	return []limitRoom{
		{"compat/rest", "The REST door", rest.LimitRows()},
		{"compat/rpc", "The RPC door", rpc.LimitRows()},
		{"compat/auth", "Logging in", auth.LimitRows()},
		{"compat/kbsig", "What clients sign", signed},
		{"compat/kbsig/pgp", "PGP keys and signatures", openPGP},
		{"merklehot/sigchain", "Chains", sigchain.LimitRows()},
		{"merklehot/identity", "Posting to chains", identity.LimitRows()},
		{"merklehot/proofs", "Proofs of other places", proofs.LimitRows()},
		{"merklehot/pvl", "Their programs", pvl.LimitRows()},
		{"merklehot/rooter", "Networks for tests", rooter.LimitRows()},
		{"merklehot/directory", "People", directory.LimitRows()},
		{"merklehot/consent", "Who may come near", consent.LimitRows()},
		{"merklehot/vouches", "The web of trust", vouches.LimitRows()},
		{"merklehot/teamchain", "Chains of teams", teamchain.LimitRows()},
		{"merklehot/teams", "Posting to them", teams.LimitRows()},
		{"merklehot/showcase", "What teams show", showcase.LimitRows()},
		{"merklehot/kvstore", "Entries of teams", kvstore.LimitRows()},
		{"merklehot/implicit", "Names of implicit teams", implicit.LimitRows()},
		{"merklehot/joining", "Ways into teams", joining.LimitRows()},
		{"merklehot/chores", "What members are asked to do for teams", chores.LimitRows()},
		{"merklehot/keyboxes", "Encrypted keys and wallets", keyboxes.LimitRows()},
		{"merklehot/kvstore", "Key-value stores of teams", kvstore.LimitRows()},
		{"merklehot/showcase", "What teams show", showcase.LimitRows()},
		{"merklehot/home", "Home pages", home.LimitRows()},
		{"kbfsblocks/tlf", "Folders", tlf.LimitRows()},
		{"engine/people", "What people show of themselves", people.LimitRows()},
		{"engine/pictures", "Pictures", pictures.LimitRows()},
		{"engine/reports", "Reports to the operator", reports.LimitRows()},
		{"merklehot/tree", "The Merkle tree", tree.LimitRows()},
		{"merklehot/roots", "Its roots", roots.LimitRows()},
		{"merklehot/archive", "The archive", archive.LimitRows()},
		{"merklehot/audit", "The audit", audit.LimitRows()},
		{"chatlog/gregor", "Push messages", gregor.LimitRows()},
		{"chatlog/push", "Waking devices", push.LimitRows()},
		{"cmd/keystead/courier", "Push services", courier.LimitRows()},
		{"engine/accounts", "Accounts", accounts.LimitRows()},
		{"engine/jobs", "Background work", jobs.LimitRows()},
		{"engine/mail", "Messages to people", mail.LimitRows()},
		{"engine/autoreset", "Resets that wait", autoreset.LimitRows()},
		{"engine/keys", "Keys of records", keys.LimitRows()},
		{"engine/events", "News on its way", events.LimitRows()},
		{"engine/store", "The store", store.LimitRows()},
		{"engine/fetch", "What the server fetches", fetch.LimitRows()},
		{"engine/limits", "Rate limits themselves", limits.LimitRows()},
		{"cmd/keystead/node", "The process", node.LimitRows()},
		{"cmd/keystead/config", "The configuration", config.LimitRows()},
		{"cmd/keystead/adminapi", "The operator's socket", adminapi.LimitRows()},
		{"cmd/keystead/ops", "The operator's verbs", ops.LimitRows()},
		{"cmd/keystead/ops/keyfile", "The signing key", keyfile.LimitRows()},
		{"cmd/keystead/ops/redact", "The log", redact.LimitRows()},
		{"cmd/keystead/postman", "Carrying messages away", postman.LimitRows()},
		{"cmd/keystead/tlsfile", "Certificates", tlsfile.LimitRows()},
	}
}

func (a app) limitsCmd() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "limits",
		Short: "Print every limit with its name, figure and unit",
		Long: "Print every limit of every door and room: its name in the code, its figure, its unit and\n" +
			"what it bounds. The rate limits come first, as they are configured; they are set in the\n" +
			"section [limits] of the configuration. The others are not settings.",
		Example: "  keystead limits\n  keystead limits --config /etc/keystead.toml | grep login",
		Args:    exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd, a)
			if err != nil {
				return err
			}
			table, err := limits.With(limits.Table(), cfg.Limits.Rates)
			if err != nil {
				return err
			}
			return printLimits(a.stdout, table, cfg)
		},
	}
	s.folderFlags(cmd)
	return cmd
}

// printLimits writes all limits in columns.
func printLimits(out io.Writer, table []limits.Limit, cfg config.Config) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	exempt := "nobody"
	switch {
	case cfg.Devel:
		exempt = "everybody, because devel is set"
	case len(cfg.Limits.Exempt) > 0:
		exempt = strings.Join(cfg.Limits.Exempt, ", ")
	}
	fmt.Fprintf(w, "Rate limits (exempt: %s)\n", exempt)
	for _, l := range table {
		fmt.Fprintf(w, "  %s\t%s\t\t%s\n", l.Name, l.Rate, l.What)
	}
	for _, room := range limitRooms() {
		fmt.Fprintf(w, "\n%s (%s)\n", room.what, room.where)
		for _, r := range room.rows {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", r.Name, r.Value, unitText(r.Unit), r.What)
		}
	}
	return w.Flush()
}

// unitText leaves out the unit that a duration carries itself.
func unitText(unit string) string {
	if unit == "time" {
		return ""
	}
	return unit
}

// limitsPage is the page of the documentation.
func limitsPage() string {
	var b strings.Builder
	b.WriteString("# Limits\n\nWritten from the code by `make docs`; do not edit. `keystead limits` prints the same of a\n" +
		"configured server.\n\nA limit has a name, a figure and a unit. Whoever meets one is told so: REST answers status 602\n" +
		"with a sentence for people, connections are closed, and metrics count it by name.\n\n" +
		"## Rate limits\n\nOne address is an IPv4 address or an IPv6 /64; a prefix is an IPv4 /24 or an IPv6 /48. Addresses in\n" +
		"`limits.exempt` (this machine, unless configured otherwise) are not held to these. `limits.rates`\nchanges single figures.\n\n" +
		"| Name | Counted by | Rate | Counts |\n|---|---|---|---|\n")
	for _, l := range limits.Table() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", l.Name, l.Scope, l.Rate, l.What)
	}
	for _, room := range limitRooms() {
		fmt.Fprintf(&b, "\n## %s\n\nIn `%s`.\n\n| Name | Figure | Unit | Bounds |\n|---|---:|---|---|\n", room.what, room.where)
		for _, r := range room.rows {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Name, r.Value, unitText(r.Unit), r.What)
		}
	}
	return b.String()
}
