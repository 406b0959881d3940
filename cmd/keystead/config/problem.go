package config

import (
	"fmt"
	"strings"
)

// Problem is one thing about a configuration that the operator should know. Warning
// means that the server starts all the same.
type Problem struct {
	Line, Col int // 1-based position in the file; 0 when it did not come from a line
	Field     string
	Warning   bool
	Text      string // what is wrong and what to change, one line
}

// String is the problem as one line, without the name of the file.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", p.Line, p.Col)
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is a list of them in the order of the file.
type Problems []Problem

// Errors is the part of the list that keeps the server from starting.
func (ps Problems) Errors() Problems { return ps.part(false) }

// Warnings is the part of the list that does not.
func (ps Problems) Warnings() Problems { return ps.part(true) }

func (ps Problems) part(warning bool) Problems {
	var out Problems
	for _, p := range ps {
		if p.Warning == warning {
			out = append(out, p)
		}
	}
	return out
}

// Err is nil when nothing keeps the server from starting, else an error with a
// line for each mistake.
func (ps Problems) Err() error {
	errs := ps.Errors()
	if len(errs) == 0 {
		return nil
	}
	lines := make([]string, len(errs))
	for i, p := range errs {
		lines[i] = p.String()
	}
	return fmt.Errorf("configuration: %s", strings.Join(lines, "\n"))
}
