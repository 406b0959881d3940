package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keystead/keystead/cmd/keystead/config"
)

// settings are the flags that stand for fields of the configuration. A flag that
// was given wins over the file; the file wins over the defaults.
type settings struct {
	file                 string
	data, http, rpc, ops string
	logLevel, logFormat  string
	devel                bool
	withDoors            bool

	places config.Places // where the file sets what
}

// folderFlags adds the flags that say which server is meant.
func (s *settings) folderFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.file, "config", "", "configuration `FILE` (see: keystead config print)")
	s.dataFlag(cmd)
}

func (s *settings) dataFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.data, "data", "", "data `DIR` (default $XDG_DATA_HOME/keystead or ~/.local/share/keystead)")
}

// doorFlags adds the flags that only a starting server needs.
func (s *settings) doorFlags(cmd *cobra.Command) {
	d := config.Default()
	s.withDoors = true
	cmd.Flags().StringVar(&s.http, "http", d.HTTP.Listen, "`HOST:PORT` of the REST door")
	cmd.Flags().StringVar(&s.rpc, "rpc", d.RPC.Listen, "`HOST:PORT` of the RPC door")
	cmd.Flags().StringVar(&s.ops, "ops", d.Ops.Listen, "`HOST:PORT` of health and metrics; empty turns them off")
	cmd.Flags().BoolVar(&s.devel, "devel", d.Devel, "serve clients in devel run mode, with test hooks open")
	cmd.Flags().StringVar(&s.logLevel, "log-level", d.Log.Level, "least `LEVEL` that is logged: debug, info, warn, error")
	cmd.Flags().StringVar(&s.logFormat, "log-format", d.Log.Format, "`FORMAT` of the log: text or json")
}

// flagOf are the flags that stand for a field, by the field's name.
var flagOf = map[string]string{
	"data.dir": "data", "http.listen": "http", "rpc.listen": "rpc", "ops.listen": "ops",
	"devel": "devel", "log.level": "log-level", "log.format": "log-format",
}

// load puts defaults, file and flags together for a command that talks about a server.
// A mistake is an error with one line for each.
func (s *settings) load(cmd *cobra.Command, a app) (config.Config, error) {
	c, problems, err := s.gather(cmd, a)
	if err != nil {
		return c, err
	}
	if errs := problems.Errors(); len(errs) > 0 {
		s.report(a.stderr, errs)
		return c, errSaid
	}
	return c, nil
}

// loadToServe is load for a server that shall start: the machine is looked at, too.
// Problems are those of both, warnings included.
func (s *settings) loadToServe(cmd *cobra.Command, a app) (config.Config, config.Problems, error) {
	c, problems, err := s.gather(cmd, a)
	if err != nil || problems.Err() != nil || a.preflight == nil {
		return c, problems, err
	}
	return c, s.places.Sort(append(problems, s.named(cmd, a.preflight(c, time.Now()))...)), nil
}

// gather puts the three sources together and checks the outcome. The error is one of
// the command line, or of the reading of the file.
func (s *settings) gather(cmd *cobra.Command, a app) (c config.Config, problems config.Problems, err error) {
	c = config.Default()
	if s.file != "" {
		text, err := os.ReadFile(s.file)
		if err != nil {
			return c, nil, fmt.Errorf("read the configuration: %w", err)
		}
		c, problems, s.places = config.Read(text)
	}
	if cmd.Flags().Changed("data") {
		if s.data == "" {
			return c, nil, usageError{fmt.Errorf("--data is empty; write the data folder")}
		}
		c.Data.Dir = s.data
	}
	if s.withDoors {
		s.overrideDoors(cmd, &c)
	}
	// A value that came by a flag is called by the flag's name and has no place in the
	// file.
	problems = append(problems, s.named(cmd, c.Check())...)
	problems = append(problems, environment(c, a)...)
	problems = s.places.Sort(problems)
	if problems.Err() != nil {
		return c, problems, nil
	}
	c = c.Resolve(a.getenv)
	for _, path := range []*string{
		&c.Data.Dir, &c.Data.HighWater, &c.Data.Archive, &c.HTTP.TLSCert, &c.HTTP.TLSKey, &c.RPC.TLSCert, &c.RPC.TLSKey,
	} {
		if *path == "" {
			continue
		}
		full, err := filepath.Abs(*path)
		if err != nil {
			return c, nil, fmt.Errorf("find %s: %w", *path, err)
		}
		*path = full
	}
	return c, problems, nil
}

// named calls fields that were set by a flag by the name of the flag.
func (s *settings) named(cmd *cobra.Command, problems config.Problems) config.Problems {
	for i, p := range problems {
		if flag := flagOf[p.Field]; flag != "" && cmd.Flags().Changed(flag) {
			problems[i].Field = "--" + flag
		}
	}
	return problems
}

// report writes a line for each problem, with the file's name where it has a place.
func (s *settings) report(w io.Writer, problems config.Problems) {
	for _, p := range problems {
		if p.Line > 0 {
			fmt.Fprintf(w, "%s:%s\n", s.file, p)
		} else {
			fmt.Fprintf(w, "%s\n", p)
		}
	}
}

// environment looks at the variables: settings do not come from there, and a server
// that ignored silently what somebody set there would run otherwise than they think.
func environment(c config.Config, a app) (problems config.Problems) {
	if a.environ != nil {
		for _, entry := range a.environ() {
			name, _, _ := strings.Cut(entry, "=")
			rest, ours := strings.CutPrefix(name, "KEYSTEAD_")
			if instead := settingLike(rest); ours && instead != "" {
				problems = append(problems, config.Problem{Field: name, Text: "settings do not come from the environment; unset it and write " + instead})
			}
		}
		slices.SortFunc(problems, func(p, q config.Problem) int { return strings.Compare(p.Field, q.Field) })
	}
	if c.Data.Dir != "" {
		return problems
	}
	xdg, home := a.getenv("XDG_DATA_HOME"), a.getenv("HOME")
	if xdg != "" && !filepath.IsAbs(xdg) {
		problems = append(problems, config.Problem{Field: "XDG_DATA_HOME", Warning: true, Text: fmt.Sprintf("%.80q is not a whole path, and is ignored; write one, or set data.dir", xdg)})
	} else if xdg == "" && !filepath.IsAbs(home) && a.getenv("LOCALAPPDATA") == "" {
		problems = append(problems, config.Problem{Field: "data.dir", Warning: true, Text: "this account has no home folder (HOME), so that the data folder depends on where the server is started; set data.dir"})
	}
	return problems
}

// settingLike is what to write instead of a variable that looks as if it were meant
// for a setting, or nothing. KEYSTEAD_DATA, KEYSTEAD_DATA_DIR, KEYSTEAD_DATADIR,
// KEYSTEAD_PUBLIC_URL and the like do.
func settingLike(variable string) string {
	bare := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", ".", "", "-", "").Replace(s))
	}
	wanted := bare(variable)
	switch wanted {
	case "config", "configfile", "configpath":
		return "--config FILE"
	case "port", "address", "addr", "bind":
		wanted = "httplisten"
	}
	for _, field := range config.Fields() {
		section, last, _ := strings.Cut(field, ".")
		flag := flagOf[field]
		if wanted != bare(field) && wanted != bare(section) && wanted != bare(last) && (flag == "" || wanted != bare(flag)) || wanted == "" {
			continue
		}
		if flag != "" {
			return "--" + flag + ", or " + field + " in the configuration file"
		}
		return field + " in the configuration file"
	}
	return ""
}

func (s *settings) overrideDoors(cmd *cobra.Command, c *config.Config) {
	for flag, to := range map[string]struct {
		field *string
		value string
	}{
		"http":       {&c.HTTP.Listen, s.http},
		"rpc":        {&c.RPC.Listen, s.rpc},
		"ops":        {&c.Ops.Listen, s.ops},
		"log-level":  {&c.Log.Level, s.logLevel},
		"log-format": {&c.Log.Format, s.logFormat},
	} {
		if cmd.Flags().Changed(flag) {
			*to.field = to.value
		}
	}
	if cmd.Flags().Changed("devel") {
		c.Devel = s.devel
	}
}
