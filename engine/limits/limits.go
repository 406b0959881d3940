// Package limits holds the named rate limits of the doors, and the small values
// with which every room tells its limits to `keystead limits`.
//
// A rate limit has a name, a scope (whose count it is) and a rate: a burst, and how
// fast it comes back. Table lists them all as data; an operator changes single rows.
// Set keeps the counts:
//
//   - An address that is exempt is never refused and costs nothing.
//   - Counts are kept in memory only; a restart forgives.
//   - Memory is bounded: each limit keeps at most KeysMax counts. One that has fully
//     recovered is not kept at all; when there is no room, the one that recovers
//     soonest is forgotten, so that a flood of new keys never frees who was worst.
//   - Take takes from all the named limits or from none. A Ticket gives back what
//     was taken, for limits that count only failures, or only successes.
//
// One address is an IPv4 address or an IPv6 /64, of which any customer has one for
// each line; a prefix is an IPv4 /24 or an IPv6 /48.
//
// The package reads no clock by itself and imports only the vocabulary.
package limits

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
)

// Bounds of a rate. Within them no sum of the arithmetic overflows.
const (
	burstMax  = 1_000_000      // events
	refillMax = 1_000_000      // events per period
	periodMax = 24 * time.Hour // for the refill
	// recoveryMax bounds the time in which an empty limit is full again.
	recoveryMax = 366 * 24 * time.Hour
	// prefixesMax bounds a list of address ranges.
	prefixesMax = 256
)

// KeysMax is how many counts one limit keeps.
const KeysMax = 32768

// Name names a rate limit.
type Name string

// The rate limits.
const (
	RequestByAddress      Name = "request-by-address"
	RequestByPrefix       Name = "request-by-prefix"
	ReadByAddress         Name = "read-by-address"
	ReadByUser            Name = "read-by-user"
	LookupByAddress       Name = "lookup-by-address"
	PathByAddress         Name = "path-by-address"
	PostByUser            Name = "post-by-user"
	ReportByAddress       Name = "report-by-address"
	KexByAddress          Name = "kex-by-address"
	CallByAddress         Name = "call-by-address"
	CallByUser            Name = "call-by-user"
	TokenByAddress        Name = "token-by-address"
	SessionByUser         Name = "session-by-user"
	LoginByNameAndAddress Name = "login-by-name-and-address"
	LoginByNameAndPrefix  Name = "login-by-name-and-prefix"
	LoginByName           Name = "login-by-name"
	LoginByAddress        Name = "login-by-address"
	LoginByPrefix         Name = "login-by-prefix"
	SearchByUser          Name = "search-by-user"
	RemindByAddress       Name = "remind-by-address"
	RemindByPrefix        Name = "remind-by-prefix"
	SignUpByAddress       Name = "signup-by-address"
	SignUpByPrefix        Name = "signup-by-prefix"
	FetchByName           Name = "fetch-by-name"
	CheckByUser           Name = "check-by-user"
)

// Scope says whose count a limit keeps.
type Scope int

// The scopes.
const (
	ByAddress Scope = iota
	ByPrefix
	ByUser
	ByName
	ByNameAndAddress
	ByNameAndPrefix
)

func (s Scope) String() string {
	return [...]string{"address", "prefix", "user", "name", "name and address", "name and prefix"}[s]
}

// Limit is one row of the table.
type Limit struct {
	Name  Name
	Scope Scope
	Rate
	// Spares is a limit of the same name and prefix: one who has left it untouched
	// is not refused by this one.
	Spares Name
	What   string // what is counted, for people
}

// Rate is how much may happen: Burst at once, and Refill again in each Per. A Burst
// of 0 turns the limit off.
type Rate struct {
	Burst, Refill int
	Per           time.Duration
}

func (r Rate) String() string {
	if r.Burst == 0 {
		return "off"
	}
	return fmt.Sprintf("%d per %s, burst %d", r.Refill, spell(r.Per), r.Burst)
}

// step is the time in which one event comes back.
func (r Rate) step() time.Duration { return r.Per / time.Duration(r.Refill) }

// check says what is wrong with a rate.
func (r Rate) check() error {
	switch {
	case r.Burst == 0:
		return nil
	case r.Burst < 0 || r.Burst > burstMax:
		return fmt.Errorf("the burst is not from 1 to %d", burstMax)
	case r.Refill < 1 || r.Refill > refillMax:
		return fmt.Errorf("the number of events is not from 1 to %d", refillMax)
	case r.Per < time.Second || r.Per > periodMax:
		return fmt.Errorf("the period is not from 1s to %s", spell(periodMax))
	case r.step() > recoveryMax/time.Duration(r.Burst):
		return fmt.Errorf("a burst of %d would take longer than a year to come back", r.Burst)
	}
	return nil
}

// Table is the rate limits with their usual figures. Stock clients stay far below:
// one asks some hundred questions when it starts and some an hour afterwards. The
// figures leave room for an office behind one address.
func Table() []Limit {
	return []Limit{
		{RequestByAddress, ByAddress, Rate{4000, 200, time.Second}, "", "requests of any kind"},
		{RequestByPrefix, ByPrefix, Rate{20000, 1000, time.Second}, "", "requests of any kind"},
		{ReadByAddress, ByAddress, Rate{3000, 100, time.Second}, "", "reads that need no login"},
		{ReadByUser, ByUser, Rate{2000, 50, time.Second}, "", "reads of one's own things"},
		{LookupByAddress, ByAddress, Rate{1000, 20, time.Second}, "", "questions for names, mail addresses and salts"},
		{PathByAddress, ByAddress, Rate{3000, 50, time.Second}, "", "Merkle paths"},
		{PostByUser, ByUser, Rate{300, 2, time.Second}, "", "writes of one user"},
		{ReportByAddress, ByAddress, Rate{60, 6, time.Minute}, "", "reports of trouble"},
		{KexByAddress, ByAddress, Rate{300, 10, time.Second}, "", "messages between two devices of which one is being added"},
		{CallByAddress, ByAddress, Rate{2000, 100, time.Second}, "", "RPC calls on connections that have not said who they are"},
		{CallByUser, ByUser, Rate{2000, 100, time.Second}, "", "RPC calls of one user"},
		{TokenByAddress, ByAddress, Rate{120, 60, time.Minute}, "", "session tokens that are not good"},
		{SessionByUser, ByUser, Rate{30, 10, time.Minute}, "", "sessions that a device asks for"},
		// LoginByName stands before the limit that it spares: it must see that one
		// as it was before the try.
		{LoginByName, ByName, Rate{50, 1, time.Minute}, LoginByNameAndPrefix, "failed logins, unless it is the first from its prefix: strangers cannot keep the owner out"},
		{LoginByNameAndAddress, ByNameAndAddress, Rate{10, 1, time.Minute}, "", "failed logins"},
		{LoginByNameAndPrefix, ByNameAndPrefix, Rate{20, 1, time.Minute}, "", "failed logins"},
		{LoginByAddress, ByAddress, Rate{60, 6, time.Minute}, "", "failed logins under any name"},
		{LoginByPrefix, ByPrefix, Rate{200, 30, time.Minute}, "", "failed logins under any name"},
		{SearchByUser, ByUser, Rate{60, 30, time.Minute}, "", "searches for people by mail address or telephone number"},
		{RemindByAddress, ByAddress, Rate{10, 10, time.Hour}, "", "requests to be mailed one's user name or help with the password"},
		{RemindByPrefix, ByPrefix, Rate{50, 50, time.Hour}, "", "requests to be mailed one's user name or help with the password"},
		{SignUpByAddress, ByAddress, Rate{20, 20, time.Hour}, "", "new accounts"},
		{SignUpByPrefix, ByPrefix, Rate{100, 100, time.Hour}, "", "new accounts"},
		{FetchByName, ByName, Rate{60, 30, time.Minute}, "", "pages and text records that this server fetches, by the name of the host"},
		{CheckByUser, ByUser, Rate{60, 30, time.Minute}, "", "checks of proofs and web sites that a user asks for"},
	}
}

// With returns the table with some rates replaced. An override is written as
//
//	NAME = off
//	NAME = EVENTS per PERIOD, burst BURST
func With(table []Limit, overrides []string) ([]Limit, error) {
	out := append([]Limit(nil), table...)
	seen := make(map[Name]bool)
	for _, text := range overrides {
		name, rate, err := parseOverride(text)
		if err != nil {
			return nil, err
		}
		i := indexOf(out, name)
		if i < 0 {
			return nil, fmt.Errorf("%.80q names no rate limit; see: keystead limits", text)
		}
		if seen[name] {
			return nil, fmt.Errorf("%q is set twice", name)
		}
		seen[name] = true
		out[i].Rate = rate
	}
	return out, nil
}

func indexOf(table []Limit, name Name) int {
	for i := range table {
		if table[i].Name == name {
			return i
		}
	}
	return -1
}

var errOverride = errors.New(`write "NAME = 20 per 1h, burst 40" or "NAME = off"`)

func parseOverride(text string) (Name, Rate, error) {
	fault := func(why error) (Name, Rate, error) {
		return "", Rate{}, fmt.Errorf("%.80q: %w", text, why)
	}
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return fault(errOverride)
	}
	n := Name(strings.TrimSpace(name))
	words := strings.Fields(strings.ReplaceAll(value, ",", " "))
	if len(words) == 1 && words[0] == "off" {
		return n, Rate{}, nil
	}
	if len(words) != 5 || words[1] != "per" || words[3] != "burst" {
		return fault(errOverride)
	}
	var r Rate
	var errs [3]error
	r.Refill, errs[0] = strconv.Atoi(words[0])
	r.Per, errs[1] = time.ParseDuration(words[2])
	r.Burst, errs[2] = strconv.Atoi(words[4])
	if errors.Join(errs[:]...) != nil || r.Burst == 0 {
		return fault(errOverride)
	}
	if err := r.check(); err != nil {
		return fault(err)
	}
	return n, r, nil
}

// Key is what a count is kept under: an address, a prefix, a user, or the digest of
// a name with where it was named from.
type Key [16]byte

// Who is whose request something is. Addr is needed; User is zero and Name empty
// when nobody is known or named. Limits of a scope that Who does not fill are not
// taken from.
type Who struct {
	Addr netip.Addr
	User kbsig.UID
	Name string
}

// key is what the limit counts under, and whether it applies at all.
func (w *Who) key(s Scope) (Key, bool) {
	switch s {
	case ByAddress:
		return prefixKey(AddressOf(w.Addr)), true
	case ByPrefix:
		return prefixKey(PrefixOf(w.Addr)), true
	case ByUser:
		return Key(w.User), !w.User.IsZero()
	case ByName:
		return nameKey(w.Name, netip.Prefix{}), w.Name != ""
	case ByNameAndAddress:
		return nameKey(w.Name, AddressOf(w.Addr)), w.Name != ""
	default:
		return nameKey(w.Name, PrefixOf(w.Addr)), w.Name != ""
	}
}

// AddressOf is what counts as one address: an IPv4 address or an IPv6 /64.
func AddressOf(a netip.Addr) netip.Prefix { return cut(a, 32, 64) }

// PrefixOf is what counts as one prefix: an IPv4 /24 or an IPv6 /48.
func PrefixOf(a netip.Addr) netip.Prefix { return cut(a, 24, 48) }

func cut(a netip.Addr, bits4, bits6 int) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := bits4
	if a.Is6() {
		bits = bits6
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // not an address: all such share one count
	}
	return p
}

func prefixKey(p netip.Prefix) Key {
	if !p.IsValid() {
		return Key{}
	}
	return p.Addr().As16()
}

// nameKey is a digest, so that names of any length cost the same.
func nameKey(name string, from netip.Prefix) (k Key) {
	at := prefixKey(from)
	b := make([]byte, 0, len(at)+2+len(name))
	b = append(b, at[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(from.Bits()+1))
	b = append(b, name...)
	sum := sha256.Sum256(b)
	copy(k[:], sum[:])
	return k
}

// ParsePrefixes reads address ranges such as "10.0.0.0/8" or "::1".
func ParsePrefixes(texts []string) ([]netip.Prefix, error) {
	if len(texts) > prefixesMax {
		return nil, fmt.Errorf("%d address ranges; at most %d", len(texts), prefixesMax)
	}
	var out []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(text); err == nil && a.Zone() == "" {
				p, err = a.Prefix(a.BitLen())
			}
		}
		if err != nil || !p.IsValid() {
			return nil, fmt.Errorf("%.80q is not a range of addresses; write one such as \"10.0.0.0/8\" or \"::1/128\"", text)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Within reports whether an address is in one of the ranges.
func Within(ranges []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// spell is Duration.String without the zero parts: "1h", not "1h0m0s".
func spell(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
