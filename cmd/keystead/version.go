package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// clientVersions are the stock clients that this server is made for.
const clientVersions = "6.3.0"

func (a app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which build this is and which stock clients it is made for",
		Args:  exactly(0, ""),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.stdout, "keystead %s\n%s %s/%s\nstock clients: %s\n",
				buildVersion(debug.ReadBuildInfo()), runtime.Version(), runtime.GOOS, runtime.GOARCH, clientVersions)
			return err
		},
	}
}

// buildVersion is the module version with the commit it was built from, as far as
// the toolchain wrote them into the binary.
func buildVersion(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return "(unknown build)"
	}
	version := info.Main.Version
	if version == "" {
		version = "(devel)"
	}
	var revision, changed string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				changed = ", with changes"
			}
		}
	}
	if revision != "" {
		version += " (commit " + revision + changed + ")"
	}
	return version
}
