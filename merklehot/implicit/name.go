package implicit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
)

// Limits of display names.
const (
	// nameBytesMax bounds a display name as asked for.
	nameBytesMax = 32 << 10
	// partsMax bounds the people in it.
	partsMax = 1000
	// partBytesMax bounds how one of them is named.
	partBytesMax = 320
)

// ErrBadName says that a text is no display name.
var ErrBadName = errors.New("no name of an implicit team")

// emailService is the service whose names stand in brackets.
const emailService = "email"

// Person is one of those whom a display name names: a user, or somebody who is known
// by a name at a service only.
type Person struct {
	User    kbsig.Username // empty: not a user yet
	Service string         // lower case
	Name    string         // lower case
}

// String spells a person as it stands in a display name.
// client: go/protocol/keybase1/extras.go:SocialAssertion.String
func (p Person) String() string {
	switch {
	case p.User != "":
		return string(p.User)
	case p.Service == emailService:
		return "[" + p.Name + "]@" + emailService
	}
	return p.Name + "@" + p.Service
}

// Name is a display name: who writes and who reads, each in the order of their
// spellings, nobody twice, and no reader among the writers.
type Name struct {
	Public           bool
	Writers, Readers []Person
}

// ParseName reads a display name without the suffix of a conflict. Case, order and
// repetition count for nothing. The error wraps ErrBadName.
// client: go/libkb/assertion.go:ParseImplicitTeamDisplayName
func ParseName(s string, public bool) (Name, error) {
	if len(s) > nameBytesMax {
		return Name{}, fmt.Errorf("%d bytes: %w", len(s), ErrBadName)
	}
	writers, readers, both := strings.Cut(strings.ToLower(s), "#")
	n := Name{Public: public}
	var err error
	if n.Writers, err = parsePeople(writers); err != nil {
		return Name{}, err
	}
	if both {
		if n.Readers, err = parsePeople(readers); err != nil {
			return Name{}, err
		}
	}
	if len(n.Writers)+len(n.Readers) > partsMax {
		return Name{}, fmt.Errorf("%d people: %w", len(n.Writers)+len(n.Readers), ErrBadName)
	}
	return n.Normal(), nil
}

func parsePeople(s string) ([]Person, error) {
	parts := strings.Split(s, ",")
	if len(parts) > partsMax {
		return nil, fmt.Errorf("%d people: %w", len(parts), ErrBadName)
	}
	out := make([]Person, 0, len(parts))
	for _, part := range parts {
		p, err := parsePerson(part)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// parsePerson reads a user name, name@service, [address]@email or service:name.
// client: go/libkb/assertion.go:parseToKVPair
func parsePerson(s string) (Person, error) {
	bad := fmt.Errorf("%.40q names nobody: %w", s, ErrBadName)
	if len(s) > partBytesMax {
		return Person{}, bad
	}
	name, service := s, ""
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		name, service = s[:at], s[at+1:]
	} else if colon := strings.IndexByte(s, ':'); colon >= 0 {
		name, service = strings.TrimPrefix(s[colon+1:], "//"), s[:colon]
	}
	if service == "" || service == "keybase" {
		u, err := kbsig.ParseUsername(name)
		if err != nil || strings.ContainsAny(s, "@:") && service == "" {
			return Person{}, bad
		}
		return Person{User: u}, nil
	}
	bracketed := len(name) > 2 && name[0] == '[' && name[len(name)-1] == ']'
	if bracketed {
		name = name[1 : len(name)-1]
	}
	if bracketed != (service == emailService) || !spelled(service, ".-") {
		return Person{}, bad
	}
	signs := "-_."
	if service == emailService {
		signs = "-_.@+"
	}
	if !spelled(name, signs+"0123456789") {
		return Person{}, bad
	}
	return Person{Service: service, Name: name}, nil
}

// spelled says whether a text is made of small letters and these other signs.
func spelled(s, signs string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && !strings.ContainsRune(signs, r)
	})
}

// Normal is n in order and without repetition; who writes is no reader besides.
func (n Name) Normal() Name {
	sorted := func(list []Person, seen map[Person]bool) []Person {
		var out []Person
		for _, p := range list {
			if !seen[p] {
				seen[p] = true
				out = append(out, p)
			}
		}
		slices.SortFunc(out, func(a, b Person) int { return cmp.Compare(a.String(), b.String()) })
		return out
	}
	seen := make(map[Person]bool, len(n.Writers)+len(n.Readers))
	n.Writers = sorted(n.Writers, seen)
	n.Readers = sorted(n.Readers, seen)
	return n
}

// String spells the name as clients do.
// client: go/kbfs/tlf/utils.go:NormalizeNamesInTLF
func (n Name) String() string {
	list := func(people []Person) string {
		parts := make([]string, len(people))
		for i, p := range people {
			parts[i] = p.String()
		}
		return strings.Join(parts, ",")
	}
	s := list(n.Writers)
	if len(n.Readers) > 0 {
		s += "#" + list(n.Readers)
	}
	return s
}

// Resolved says whether everybody in the name is a user.
func (n Name) Resolved() bool {
	user := func(p Person) bool { return p.User == "" }
	return !slices.ContainsFunc(n.Writers, user) && !slices.ContainsFunc(n.Readers, user)
}

// With replaces people by users: find tells who somebody is by now, or an empty name.
func (n Name) With(find func(service, name string) (kbsig.Username, error)) (Name, error) {
	out := Name{Public: n.Public}
	for _, side := range []struct {
		from []Person
		to   *[]Person
	}{{n.Writers, &out.Writers}, {n.Readers, &out.Readers}} {
		for _, p := range side.from {
			if p.User == "" {
				u, err := find(p.Service, p.Name)
				if err != nil {
					return Name{}, err
				}
				if u != "" {
					p = Person{User: u}
				}
			}
			*side.to = append(*side.to, p)
		}
	}
	return out.Normal(), nil
}
