// Package teams keeps what users make of teams; see Post.
package teams

import (
	"errors"
	"strings"
)

// DepthMax bounds how deep subteams nest, the root not counted.
const DepthMax = 40

// Errors of questions about teams.
var (
	// ErrNoTeam reports an id or a name that no team has.
	ErrNoTeam = errors.New("no such team")
	// ErrCorrupt reports records that do not fit together.
	ErrCorrupt = errors.New("the records of a team do not fit together")
)

func lower(part string) string { return strings.ToLower(part) }
