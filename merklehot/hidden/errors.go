package hidden

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
)

// Kind is why a hidden link or a ratchet is refused. Doors turn it into a status by
// Kinds.
type Kind int

// Kinds of refusal.
const (
	KindInput      Kind = iota + 1 // a shape that cannot be read
	KindSignature                  // the signer's signature, or the new key's
	KindMismatch                   // parts of one post disagree with each other
	KindPublic                     // a public team
	KindOldSeqno                   // not the next link of the hidden chain
	KindOrder                      // not on the end of the visible chain
	KindGeneration                 // not the generation after the newest of both chains
	KindNoRatchet                  // a visible link that does not commit to the hidden chain
	KindRatchet                    // a ratchet that nothing, or no link, explains
	KindCorrupt                    // stored bytes that do not decode
)

// KindInfo is a row of the table from kinds to the statuses stock clients know. Those
// that clients answer by loading the team again and retrying are marked.
type KindInfo struct {
	Kind    Kind
	Code    int // client: go/protocol/keybase1/constants.go:StatusCode
	Name    string
	Retried bool // client: go/teams/teams.go:RetryIfPossible
}

// Kinds is the table.
var Kinds = []KindInfo{
	{KindInput, 100, "INPUT_ERROR", false},
	{KindSignature, 1002, "SIG_CANNOT_VERIFY", false},
	{KindMismatch, 100, "INPUT_ERROR", false},
	{KindPublic, 1016, "SIG_CREATION_DISALLOWED", false},
	{KindOldSeqno, 1010, "SIG_OLD_SEQNO", true},
	{KindOrder, 1022, "SIG_BAD_TOTAL_ORDER", true},
	{KindGeneration, 2634, "TEAM_BAD_GENERATION", true},
	{KindNoRatchet, 1021, "SIG_MISSING_RATCHET", true},
	{KindRatchet, 100, "INPUT_ERROR", false},
	{KindCorrupt, 218, "GENERIC", false},
}

// Error is a refusal. Its text is for people.
type Error struct {
	Kind Kind
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of a refusal; 0 for other errors.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

func refuse(k Kind, format string, args ...any) error {
	return &Error{k, fmt.Errorf(format, args...)}
}

func refuseParse(err error) error {
	if errors.Is(err, kbsig.ErrSignature) {
		return refuse(KindSignature, "%w", err)
	}
	return refuse(KindInput, "%w", err)
}
