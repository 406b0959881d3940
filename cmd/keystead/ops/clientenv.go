package ops

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Formats of ClientEnv, in the order in which help shows them.
const (
	FormatSh         = "sh"          // export lines for sh, bash, zsh: eval "$(...)"
	FormatFish       = "fish"        // set lines for fish: ... | source
	FormatUnset      = "unset"       // takes the export lines back, for sh
	FormatFishUnset  = "fish-unset"  // takes the set lines back, for fish
	FormatConfig     = "config"      // a script that writes the client's own config file
	FormatConfigUndo = "config-undo" // a script that takes that back
	FormatJSON       = "json"        // the same facts for programs
)

// Formats lists them all.
func Formats() []string {
	return []string{FormatSh, FormatFish, FormatUnset, FormatFishUnset, FormatConfig, FormatConfigUndo, FormatJSON}
}

// variable is one thing that a client must be told. key is its place in the
// client's config file, empty when it has none that counts here.
type variable struct{ env, key, value string }

// variables lists what makes a stock client talk to the server of e and believe
// its roots. The push address must be set along with the server: a client with only
// the latter shows its token to its vendor's push host. The run mode has no key,
// because the client chooses its config file by the run mode.
// client: go/libkb/env.go:GetServerURI, go/libkb/env.go:GetGregorURI, go/libkb/env.go:GetMerkleKIDs, go/libkb/env.go:GetRunMode
func variables(e Endpoints) []variable {
	vs := []variable{
		{"KEYBASE_SERVER_URI", "server", e.ServerURI},
		{"KEYBASE_PUSH_SERVER_URI", "push.server_uri", e.PushURI},
		{"KEYBASE_MERKLE_KIDS", "keys.merkle", e.MerkleKID},
	}
	if e.Devel {
		vs = append(vs, variable{"KEYBASE_RUN_MODE", "", "devel"})
	}
	return vs
}

// NeedsRoots says whether the push door of e speaks TLS. Clients then refuse it unless
// their own configuration names a root for its host; what their system trusts counts
// for the REST door only, and only if no root is named for that.
// client: go/service/gregor.go:gregorHandler.connectTLS, go/libkb/client.go:genClientConfigForInternalAPI
func NeedsRoots(e Endpoints) bool { return strings.HasPrefix(e.PushURI, "fmprpc+tls://") }

// ClientEnv is the text that points a stock client at the server of e, or, for the
// undo formats, away from it. roots, which may be nil, are what the client shall trust
// for the doors that speak TLS; only FormatConfig and FormatJSON can carry them.
func ClientEnv(e Endpoints, format string, roots *Roots) (string, error) {
	if err := e.check(); err != nil {
		return "", fmt.Errorf("endpoints: %w", err)
	}
	if roots != nil && format != FormatConfig && format != FormatJSON {
		return "", fmt.Errorf("roots go into the client's configuration file only; use the format %s", FormatConfig)
	}
	set := lines(e, func(v variable) string { return "export " + v.env + "=" + QuoteSh(v.value) })
	unset := lines(e, func(v variable) string { return "unset " + v.env })
	switch format {
	case FormatSh:
		return set, nil
	case FormatFish:
		return lines(e, func(v variable) string { return "set -gx " + v.env + " " + quoteFish(v.value) }), nil
	case FormatUnset:
		return unset, nil
	case FormatFishUnset:
		return lines(e, func(v variable) string { return "set -e " + v.env }), nil
	case FormatConfig:
		return configScript(e, set, setLine, bundled(e, roots)), nil
	case FormatConfigUndo:
		var gone []variable
		if NeedsRoots(e) {
			gone = []variable{{key: "bundled_ca"}}
		}
		return configScript(e, unset, clearLine, gone), nil
	case FormatJSON:
		text, err := json.MarshalIndent(struct {
			Endpoints
			Roots map[string]string `json:"bundled_ca,omitempty"`
		}{e, rootsByHost(e, roots)}, "", "  ")
		if err != nil {
			return "", fmt.Errorf("endpoints: %w", err)
		}
		return string(text) + "\n", nil
	}
	return "", fmt.Errorf("format %q is unknown; use one of: %s", format, strings.Join(Formats(), ", "))
}

func lines(e Endpoints, line func(variable) string) string {
	var b strings.Builder
	for _, v := range variables(e) {
		b.WriteString(line(v) + "\n")
	}
	return b.String()
}

// configScript is a sequence of client commands. A client's service edits its own
// config file and reads addresses only when it starts, so the last line restarts
// it. The first lines matter where no service runs yet: the first command starts
// one, and it shall not start against another server.
// client: go/client/cmd_config.go:CmdConfigSet, go/client/cmd_ctl_restart.go:CmdCtlRestart
func configScript(e Endpoints, first string, line func(command string, v variable) string, more []variable) string {
	client := "keybase"
	if e.Devel {
		client += " --run-mode devel"
	}
	var b strings.Builder
	b.WriteString(first)
	for _, v := range append(variables(e), more...) {
		if v.key != "" {
			b.WriteString(line(client+" config set ", v) + "\n")
		}
	}
	b.WriteString(client + " ctl restart\n")
	return b.String()
}

// setLine writes one value; the Merkle KIDs are a list and the roots an object, which
// the client takes as JSON with -o.
func setLine(command string, v variable) string {
	switch v.key {
	case "keys.merkle":
		return command + "-o " + v.key + " " + QuoteSh(`["`+v.value+`"]`)
	case "bundled_ca":
		return command + "-o " + v.key + " " + QuoteSh(v.value)
	}
	return command + "-s " + v.key + " " + QuoteSh(v.value)
}

func clearLine(command string, v variable) string { return command + "-c " + v.key }

// QuoteSh spells one word for any POSIX shell.
func QuoteSh(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quoteFish spells one word for fish, where a backslash counts in single quotes.
func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
