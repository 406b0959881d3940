package main

import (
	"fmt"
	"os"
	"path/filepath"

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
}

// folderFlags adds the flags that say which server is meant.
func (s *settings) folderFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.file, "config", "", "configuration `FILE` (see: keystead config print)")
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

// load puts defaults, file and flags together and checks the outcome. Warnings are
// returned; a mistake is an error with one line for each.
func (s *settings) load(cmd *cobra.Command, getenv func(string) string) (config.Config, config.Problems, error) {
	c, fileProblems := config.Default(), config.Problems(nil)
	if s.file != "" {
		text, err := os.ReadFile(s.file)
		if err != nil {
			return config.Config{}, nil, fmt.Errorf("read the configuration: %w", err)
		}
		c, fileProblems = config.Parse(text)
		if err := fileProblems.Err(); err != nil {
			return config.Config{}, nil, fmt.Errorf("%s: %w", s.file, err)
		}
	}
	if cmd.Flags().Changed("data") {
		if s.data == "" {
			return config.Config{}, nil, usageError{fmt.Errorf("--data is empty; write the data folder")}
		}
		c.Data.Dir = s.data
	}
	if s.withDoors {
		s.overrideDoors(cmd, &c)
	}
	problems := c.Check()
	if err := problems.Err(); err != nil {
		return config.Config{}, nil, err
	}
	c = c.Resolve(getenv)
	for _, path := range []*string{&c.Data.Dir, &c.Data.HighWater} {
		if *path == "" {
			continue
		}
		full, err := filepath.Abs(*path)
		if err != nil {
			return config.Config{}, nil, fmt.Errorf("find %s: %w", *path, err)
		}
		*path = full
	}
	return c, problems.Warnings(), nil
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
