package people

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// ServiceFullName is the service under which the words of full names are found. It is
// no name of a service that anybody could have a proof at.
const ServiceFullName = "full name"

// ServiceWallet is the service under which the addresses of wallets lead to their
// owners. Nobody finds people by it.
const ServiceWallet = "stellar wallet"

const (
	// queryBytesMax bounds what is searched for.
	queryBytesMax = 256
	// searchWordsMax bounds the words of a search, and those of a full name that are
	// found.
	searchWordsMax = 8
	// wordBytesMax is what is kept of a word.
	wordBytesMax = 64
	// searchScanMax bounds the entries, and the names, that one search looks at.
	searchScanMax = 400
	// FoundMax bounds the people that one search finds.
	FoundMax = 100
)

// Words are the words of a text by which people are found: lower case, and at most
// searchWordsMax of them, each once.
func Words(text string) []string {
	var out []string
	for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	}) {
		if w = cutWord(w); !slices.Contains(out, w) {
			if out = append(out, w); len(out) == searchWordsMax {
				break
			}
		}
	}
	return out
}

// cutWord keeps the beginning of a word, whole characters only.
func cutWord(w string) string {
	if len(w) > wordBytesMax {
		w = strings.ToValidUTF8(w[:wordBytesMax], "")
	}
	return w
}

// reindex makes the entries of a user under a service those of the words after.
func reindex(tx *store.Tx, u kbsig.UID, service string, before, after []string) {
	for _, w := range before {
		if !slices.Contains(after, w) {
			tx.Delete(keys.Search(service, w, u))
		}
	}
	for _, w := range after {
		if !slices.Contains(before, w) {
			tx.Set(keys.Search(service, w, u), nil)
		}
	}
}

// SetProof makes a user found, or no longer, by a name at another service that a proof
// stands for. Service and name hold no zero byte.
func SetProof(tx *store.Tx, u kbsig.UID, service, name string, stands bool) {
	k := keys.Search(service, cutWord(strings.ToLower(name)), u)
	if stands {
		tx.Set(k, []byte(name))
	} else {
		tx.Delete(k)
	}
}

// Query is a search.
type Query struct {
	Text string
	// Service is where the names are that are searched for; empty: here.
	Service string
	Wanted  int
	// Prefer says of somebody that they come first among equals.
	Prefer func(kbsig.UID) (bool, error)
}

// Found is somebody who was found.
type Found struct {
	Account *accounts.Account
	// Name is the name at the service that was searched, or empty.
	Name string
	// Score is above 0, and 1 where a name is exactly the one that was searched for.
	Score     float64
	Preferred bool
}

// Search finds people, best first. Here that is by the beginning of their name, or of
// words of their full name: all words of the query must occur.
func Search(r store.Reader, q Query) ([]Found, error) {
	text := strings.ToLower(strings.TrimSpace(q.Text))
	words := Words(text)
	if text == "" || len(text) > queryBytesMax || strings.ContainsRune(text, 0) || len(q.Service) > wordBytesMax || strings.ContainsRune(q.Service, 0) {
		return nil, nil
	}
	candidates := map[kbsig.UID]string{}
	var err error
	if q.Service == "" {
		err = hereCandidates(r, text, words, candidates)
	} else {
		err = serviceCandidates(r, q.Service, text, candidates)
	}
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	out := make([]Found, 0, len(candidates))
	for u, name := range candidates {
		acct, err := accounts.Get(r, u)
		if err != nil && !errors.Is(err, accounts.ErrNoUser) {
			return nil, err
		}
		if err != nil || acct.Status == accounts.StatusDeleted {
			continue
		}
		f := Found{Account: acct, Name: name}
		if q.Service == "" {
			f.Score = scoreHere(acct, text, words)
		} else {
			f.Score = score(strings.ToLower(name), text)
		}
		if f.Score == 0 {
			continue
		}
		if q.Prefer != nil {
			if f.Preferred, err = q.Prefer(u); err != nil {
				return nil, err
			}
		}
		if f.Preferred {
			f.Score *= 1.5
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Found) int {
		if c := cmp.Compare(b.Score, a.Score); c != 0 {
			return c
		}
		return strings.Compare(string(a.Account.Name), string(b.Account.Name))
	})
	return out[:min(len(out), max(q.Wanted, 0), FoundMax)], nil
}

// hereCandidates are those whose name begins with the text, and those whose full name
// has a word that begins with the longest word of the text.
func hereCandidates(r store.Reader, text string, words []string, out map[kbsig.UID]string) error {
	lo := keys.Name(kbsig.Username(text))
	seen := 0
	err := r.Scan(lo, keys.End(lo), func(_, v []byte) error {
		u, err := store.Decode[kbsig.UID](v)
		if err != nil {
			return err
		}
		out[u] = ""
		if seen++; seen >= searchScanMax {
			return store.ErrStop
		}
		return nil
	})
	if err != nil || len(words) == 0 {
		return err
	}
	longest := slices.MaxFunc(words, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	return entries(r, ServiceFullName, longest, func(u kbsig.UID, _ []byte) { out[u] = "" })
}

func serviceCandidates(r store.Reader, service, text string, out map[kbsig.UID]string) error {
	return entries(r, service, cutWord(text), func(u kbsig.UID, name []byte) {
		if _, ok := out[u]; !ok {
			out[u] = string(name)
		}
	})
}

// entries calls fn for the first searchScanMax entries that begin with start.
func entries(r store.Reader, service, start string, fn func(kbsig.UID, []byte)) error {
	lo := keys.SearchFrom(service, start)
	seen := 0
	return r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		_, _, u, ok := keys.SearchOf(k)
		if !ok {
			return fmt.Errorf("malformed search entry %x", k)
		}
		fn(u, v)
		if seen++; seen >= searchScanMax {
			return store.ErrStop
		}
		return nil
	})
}

// scoreHere is how well somebody fits: as well as the name does, or as the full name
// does if every word occurs.
func scoreHere(acct *accounts.Account, text string, words []string) float64 {
	best := score(string(acct.Name), text)
	own := Words(acct.FullName)
	for _, w := range words {
		if !slices.ContainsFunc(own, func(o string) bool { return strings.HasPrefix(o, w) }) {
			return best
		}
	}
	if len(words) > 0 {
		full := strings.ToLower(acct.FullName)
		// Clients weigh a full name less than a name, too.
		// client: go/service/usersearch.go:fieldsAndScores
		const fullName = 0.7
		best = max(best, fullName*max(score(full, text), 0.25/float64(1+len(full))))
	}
	return best
}

// score is how well a name fits, on the scale that clients use for their own contacts,
// among which they sort what is found. client: go/service/usersearch.go:scoreString
func score(name, text string) float64 {
	if name == text {
		return 1
	}
	at := strings.Index(name, text)
	if at < 0 {
		return 0
	}
	return 0.5 / float64(1+at) / float64(1+len(name))
}

// ByProof finds those who have proven a name at a service, exactly.
func ByProof(r store.Reader, service, name string) ([]kbsig.UID, error) {
	if strings.ContainsRune(service+name, 0) {
		return nil, nil
	}
	var out []kbsig.UID
	lo := keys.SearchExactly(service, cutWord(strings.ToLower(name)))
	err := r.Scan(lo, keys.End(lo), func(k, v []byte) error {
		_, _, u, ok := keys.SearchOf(k)
		if !ok {
			return fmt.Errorf("malformed search entry %x", k)
		}
		if strings.EqualFold(string(v), name) {
			out = append(out, u)
		}
		if len(out) >= FoundMax {
			return store.ErrStop
		}
		return nil
	})
	return out, err
}
