// Package pvl checks remote proofs by the very scripts that clients run: the proof
// verification language of the stock client, and this server's programs in it.
//
// A program is data: it goes into every Merkle root by its hash and is run by all
// clients, and here it is run by the server. So what the server calls proven is what
// clients will find proven, as far as both see the same pages. Kit says the programs of
// the services; Run runs one, with the pages that a Source fetches.
//
// The language is taken as the strictest client takes it: registers are set once,
// patterns are bounded by ^ and $, a script fetches at most once. Of its instructions
// those that read HTML are left out: no program here needs them. The package is pure
// but for the Source; it owns no keys.
// client: go/pvl/interp.go, go/pvl/parse.go
package pvl

import (
	"context"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
)

// Program is what a kit says about all services.
// client: go/pvl/parse.go:pvlT
type Program struct {
	Version  int                 `json:"pvl_version"`
	Revision int                 `json:"revision"`
	Services map[string][]Script `json:"services"` // by the name of the proof type
}

// Script is a list of instructions; a proof holds if one script of its service ends.
type Script []Step

// Step is one instruction: exactly one field is set.
// client: go/pvl/parse.go:instructionT
type Step struct {
	AssertRegex   *AssertRegex   `json:"assert_regex_match,omitempty"`
	AssertBase64  *AssertBase64  `json:"assert_find_base64,omitempty"`
	AssertCompare *AssertCompare `json:"assert_compare,omitempty"`
	Whitespace    *Whitespace    `json:"whitespace_normalize,omitempty"`
	Capture       *Capture       `json:"regex_capture,omitempty"`
	Replace       *Replace       `json:"replace_all,omitempty"`
	Fetch         *Fetch         `json:"fetch,omitempty"`
	SelectJSON    *SelectJSON    `json:"selector_json,omitempty"`
	Fill          *Fill          `json:"fill,omitempty"`
}

// The instructions. From, Into and the like name registers; patterns and texts may
// quote registers as %{name}, in patterns as literals.
type (
	// AssertRegex wants a register to match, or with Negate not to.
	AssertRegex struct {
		Pattern string   `json:"pattern"`
		Fold    bool     `json:"case_insensitive,omitempty"`
		Lines   bool     `json:"multiline,omitempty"`
		From    string   `json:"from"`
		Negate  bool     `json:"negate,omitempty"`
		Error   *Because `json:"error,omitempty"`
	}
	// AssertBase64 wants the proof's signature as a block of base64 in a register.
	AssertBase64 struct {
		Needle   string   `json:"needle"` // "sig"
		Haystack string   `json:"haystack"`
		Error    *Because `json:"error,omitempty"`
	}
	// AssertCompare wants two registers to be the same: "exact" or "cicmp", which
	// ignores case.
	AssertCompare struct {
		Cmp   string   `json:"cmp"`
		A     string   `json:"a"`
		B     string   `json:"b"`
		Error *Because `json:"error,omitempty"`
	}
	// Whitespace makes every run of white space one space, and trims.
	Whitespace struct {
		From string `json:"from"`
		Into string `json:"into"`
	}
	// Capture puts the groups of a match into registers.
	Capture struct {
		Pattern string   `json:"pattern"`
		Fold    bool     `json:"case_insensitive,omitempty"`
		Lines   bool     `json:"multiline,omitempty"`
		From    string   `json:"from"`
		Into    []string `json:"into"`
		Error   *Because `json:"error,omitempty"`
	}
	// Replace replaces a text everywhere in a register.
	Replace struct {
		Old  string `json:"old"`
		New  string `json:"new"`
		From string `json:"from"`
		Into string `json:"into"`
	}
	// Fetch fetches the page whose address a register holds: "string" into a
	// register, or "json" for SelectJSON.
	Fetch struct {
		Kind  string   `json:"kind"`
		From  string   `json:"from"`
		Into  string   `json:"into,omitempty"`
		Error *Because `json:"error,omitempty"`
	}
	// SelectJSON puts what a path selects, joined by spaces, into a register.
	SelectJSON struct {
		Selectors []Selector `json:"selectors"`
		Into      string     `json:"into"`
		Error     *Because   `json:"error,omitempty"`
	}
	// Fill puts a text into a register.
	Fill struct {
		With string `json:"with"`
		Into string `json:"into"`
	}
)

// Because replaces the status and the text of a failure.
// client: go/pvl/parse.go:errorT
type Because [2]string

// Status says how a check ended. client: go/protocol/keybase1/prove_common.go:ProofStatus
type Status int

// Statuses: soft ones below 200 may pass by themselves, hard ones below 300 end a proof
// if they stay, and those from 300 on are final.
const (
	StatusNone           Status = 0
	StatusOK             Status = 1
	StatusBase           Status = 100
	StatusUnreachable    Status = 101
	StatusDenied         Status = 103
	StatusParse          Status = 106
	StatusDNS            Status = 107
	StatusTooOften       Status = 129
	StatusHTTP500        Status = 150
	StatusTimeout        Status = 160
	StatusInternal       Status = 170
	StatusUnchecked      Status = 171
	StatusNotFound       Status = 201
	StatusContent        Status = 202
	StatusBadUsername    Status = 203
	StatusTextNotFound   Status = 205
	StatusContentMissing Status = 207
	StatusTitleNotFound  Status = 208
	StatusHTTP300        Status = 230
	StatusHTTP400        Status = 240
	StatusHTTPOther      Status = 260
	StatusBadURL         Status = 304
	StatusUnknownType    Status = 305
	StatusNoHint         Status = 306
	StatusInvalid        Status = 308
)

// statusNames are the statuses that programs name.
var statusNames = map[string]Status{
	"NOT_FOUND": StatusNotFound, "CONTENT_FAILURE": StatusContent, "BAD_USERNAME": StatusBadUsername,
	"TEXT_NOT_FOUND": StatusTextNotFound, "CONTENT_MISSING": StatusContentMissing,
	"TITLE_NOT_FOUND": StatusTitleNotFound, "BAD_API_URL": StatusBadURL,
}

// Soft reports a failure that says nothing about the proof.
func (s Status) Soft() bool { return s >= StatusBase && s < 200 }

// Failure is why a proof does not hold.
type Failure struct {
	Status Status
	Text   string
}

func (f *Failure) Error() string { return fmt.Sprintf("proof status %d: %s", f.Status, f.Text) }

func fail(s Status, format string, args ...any) *Failure {
	return &Failure{s, fmt.Sprintf(format, args...)}
}

// Source fetches what scripts want. Errors of engine/fetch become statuses.
type Source interface {
	// Page is the body of a page.
	Page(ctx context.Context, address string) ([]byte, error)
	// TXT is the text records of a name.
	TXT(ctx context.Context, name string) ([]string, error)
}

// Proof is what a script knows of the proof that it checks.
// client: go/pvl/interp.go:setupRegs
type Proof struct {
	Username kbsig.Username // whose chain it stands in
	Packet   []byte         // its signature
	SigID    kbsig.SigIDBase
	Remote   string // the name at the service; not of web sites and domains
	Hostname string // of web sites and domains
	Protocol string // of web sites: "http" or "https"
	Hint     string // where the server says the proof is
}
