package fetch

import (
	"errors"
	"fmt"
	"net"
)

// Kind says why nothing was fetched.
type Kind int

// Kinds of errors.
const (
	BadURL      Kind = 1 + iota // not an address of a page
	Refused                     // it leads where this server does not go
	NoName                      // the DNS knows no such name, or no such record
	NameTrouble                 // the DNS gave no answer
	Unreachable                 // nobody answers there, or not in HTTP
	Timeout                     // it took too long
	TooLarge                    // more came than is read
	Status                      // an HTTP status that is no page; Code has it
	Busy                        // too much is being fetched, or from that host
)

func (k Kind) String() string {
	return [...]string{"none", "bad address", "refused", "no such name", "name look-up failed", "unreachable", "timeout", "too large", "HTTP status", "busy"}[k]
}

// Error is why nothing was fetched.
type Error struct {
	Kind Kind
	Code int // of Status
	err  error
}

func (e *Error) Error() string { return fmt.Sprintf("fetch: %s: %v", e.Kind, e.err) }

func (e *Error) Unwrap() error { return e.err }

// KindOf is the kind of an error of this package, 0 for others.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// NotFound is the error of a page that is not there, for those who answer in the place
// of a server.
func NotFound() *Error {
	return &Error{Kind: Status, Code: 404, err: errors.New("the answer is HTTP 404")}
}

func fault(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, err: fmt.Errorf(format, args...)}
}

// nameFault tells a name that is not there from a DNS that does not answer.
func nameFault(err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return &Error{Kind: NoName, err: err}
	}
	return &Error{Kind: NameTrouble, err: err}
}

// CodeOf is the HTTP status of an error of kind Status, 0 for others.
func CodeOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}
