package rest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/home"
)

// Limits of looking for people whom a user knows.
const (
	// contactsPerLookupMax bounds the addresses and numbers of one look-up.
	contactsPerLookupMax = 5000
	// contactBytesMax bounds one of them as it stands in a phone's book.
	contactBytesMax = 512
	// contactsKnownMax bounds those that a token says were looked up before; the
	// oldest are forgotten, and count again.
	contactsKnownMax = 5000
	// contactsBodyMax bounds a look-up, in bytes.
	contactsBodyMax = 2 << 20
	// noticesPerPostMax bounds the notes of found contacts in one request.
	noticesPerPostMax = 200
	// noticesShownMax is how many of those a home page takes; the last ones count.
	noticesShownMax = 50
	// noticeBytesMax bounds one of them.
	noticeBytesMax = 4 << 10
	// resolvedFresh and unresolvedFresh are how long clients need not ask again.
	resolvedFresh   = 24 * time.Hour
	unresolvedFresh = time.Hour
)

// found is who an address or number leads to.
type found struct {
	Username string `json:"username"`
	UID      string `json:"uid"`
}

// search looks for the user whom a verified and public address leads to. Each search
// counts like a look-up, so that nobody learns much by trying.
func (c *call) search(normal string) (any, error) {
	err := c.update(func(tx *store.Tx) error { return accounts.Spend(tx, c.who.UID, accounts.Lookups, 1) })
	if err != nil {
		return nil, lookupError(err)
	}
	var reply struct {
		User *found `json:"user"`
	}
	acct, err := accounts.ByAddress(c.view(), normal)
	switch {
	case errors.Is(err, accounts.ErrNoUser):
	case err != nil:
		return nil, err
	case acct.Status == accounts.StatusActive:
		reply.User = &found{string(acct.Name), acct.UID.String()}
	}
	return reply, nil
}

func lookupError(err error) error {
	if errors.Is(err, accounts.ErrBudget) {
		return status.New(status.RateLimit, "RATE_LIMIT", "you have looked for too many people today; please try again tomorrow")
	}
	return err
}

// emailSearch: GET email/search.
// client: go/libkb/resolve.go:ResolverImpl.resolveServerTrustAssertion
func emailSearch(c *call) (any, error) {
	address := accounts.NormalMail(c.raw("email"))
	if !accounts.PlausibleMail(address) {
		return nil, status.InputField("email", "that does not look like an email address")
	}
	return c.search(address)
}

// phoneSearch: GET user/phone_numbers_search.
// client: go/libkb/resolve.go:ResolverImpl.resolveServerTrustAssertion
func phoneSearch(c *call) (any, error) {
	number := c.raw("phone_number")
	if !mail.NumberOK(number) {
		return nil, status.InputField("phone_number", "that is no phone number; it begins with + and the code of the country")
	}
	return c.search(number)
}

// contactKey is one address or number to look up, as sent.
type contactKey struct {
	Email string `json:"e"`
	Phone string `json:"p"`
}

// normal is the form in which it is looked up; fault says why there is none.
func (k contactKey) normal() (normal, fault string) {
	switch {
	case k.Email != "" && k.Phone != "" || k.Email == "" && k.Phone == "":
		return "", "neither an email address nor a phone number"
	case len(k.Email) > contactBytesMax || len(k.Phone) > contactBytesMax:
		return "", "too long"
	case k.Email != "":
		if normal = accounts.NormalMail(k.Email); !accounts.PlausibleMail(normal) {
			return "", "that does not look like an email address"
		}
		return normal, ""
	}
	if normal = coerceNumber(k.Phone); normal == "" {
		return "", "no phone number with the code of its country"
	}
	return normal, ""
}

// coerceNumber turns a number as people write it into the form of E.164; empty if it is
// none, or lacks the code of its country.
func coerceNumber(raw string) string {
	number := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\u00a0-\u2010\u2011\u2013().", r) {
			return -1
		}
		return r
	}, raw)
	if rest, ok := strings.CutPrefix(number, "00"); ok {
		number = "+" + rest
	}
	if !mail.NumberOK(number) {
		return ""
	}
	return number
}

// contactsLookup: POST contacts/lookup. Only verified and public addresses lead to
// somebody. client: go/contacts/lookup.go:BulkLookupContacts
func contactsLookup(c *call) (any, error) {
	ask, err := readContacts(c.content)
	if err != nil {
		return nil, err
	}
	type resolution struct {
		UID     string `json:"uid,omitempty"`
		Coerced string `json:"coerced,omitempty"`
		Err     string `json:"err,omitempty"`
	}
	reply := struct {
		Resolutions map[string]resolution `json:"resolutions"`
		Resolved    int64                 `json:"resolved_freshness_ms"`
		Unresolved  int64                 `json:"unresolved_freshness_ms"`
		Token       string                `json:"token"`
		ValidateErr string                `json:"validate_err,omitempty"`
		ValidateSC  int                   `json:"validate_err_sc,omitempty"`
	}{Resolutions: map[string]resolution{}, Resolved: resolvedFresh.Milliseconds(), Unresolved: unresolvedFresh.Milliseconds()}

	known, ok := c.s.openContactToken(c.who.UID, ask.Token)
	if !ok {
		reply.ValidateErr, reply.ValidateSC = "the token is not one of this server for this account", status.InputError
	}
	before := make(map[contactHash]bool, len(known))
	for _, h := range known {
		before[h] = true
	}
	fresh := 0
	asked := map[contactKey]string{} // their normal forms
	for _, k := range ask.Contacts {
		normal, fault := k.normal()
		if fault != "" {
			reply.Resolutions[k.String()] = resolution{Err: fault}
			continue
		}
		asked[k] = normal
		if h := hashContact(normal); !before[h] {
			before[h] = true
			known = append(known, h)
			fresh++
		}
	}
	if fresh > 0 {
		err := c.update(func(tx *store.Tx) error { return accounts.Spend(tx, c.who.UID, accounts.Lookups, fresh) })
		if err != nil {
			return nil, lookupError(err)
		}
	}
	for k, normal := range asked {
		acct, err := accounts.ByAddress(c.view(), normal)
		if errors.Is(err, accounts.ErrNoUser) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if acct.Status == accounts.StatusActive {
			found := resolution{UID: acct.UID.String()}
			if normal != k.Email+k.Phone {
				found.Coerced = normal
			}
			reply.Resolutions[k.String()] = found
		}
	}
	reply.Token = c.s.sealContactToken(c.who.UID, known)
	return reply, nil
}

// contactsAsked is what contacts/lookup takes.
type contactsAsked struct {
	Contacts []contactKey
	Token    string
}

// readContacts reads the body of a look-up piece by piece: an address book is a list of
// more and smaller objects than other bodies may hold.
func readContacts(body []byte) (ask contactsAsked, err error) {
	malformed := status.Input("the body is not the JSON that contacts/lookup wants")
	dec := json.NewDecoder(bytes.NewReader(body))
	expect := func(want json.Delim) bool {
		t, err := dec.Token()
		return err == nil && t == want
	}
	if !expect('{') {
		return ask, malformed
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, isName := t.(string)
		if err != nil || !isName || seen[name] || len(seen) >= argsMax {
			return ask, malformed
		}
		seen[name] = true
		switch name {
		case "contacts":
			if !expect('[') {
				return ask, malformed
			}
			for dec.More() {
				if len(ask.Contacts) >= contactsPerLookupMax {
					return ask, status.Input("at most %d contacts are looked up at a time", contactsPerLookupMax)
				}
				var k contactKey
				if err := dec.Decode(&k); err != nil {
					return ask, malformed
				}
				ask.Contacts = append(ask.Contacts, k)
			}
			if !expect(']') {
				return ask, malformed
			}
		case "token":
			err = dec.Decode(&ask.Token)
		default:
			var other json.RawMessage
			err = dec.Decode(&other)
		}
		if err != nil {
			return ask, malformed
		}
	}
	if _, end := dec.Token(); !expectEnd(dec, end) {
		return ask, malformed
	}
	return ask, nil
}

// expectEnd says whether nothing follows the bracket that was read without the error err.
func expectEnd(dec *json.Decoder, err error) bool {
	if err != nil {
		return false
	}
	_, err = dec.Token()
	return errors.Is(err, io.EOF)
}

// String is the contact's name in the answer. client: go/contacts/interface.go:MakeEmailLookupKey
func (k contactKey) String() string {
	if k.Phone != "" {
		return "p:" + k.Phone
	}
	return "e:" + k.Email
}

// contactHash stands for a contact in a token.
type contactHash [6]byte

func hashContact(normal string) (h contactHash) {
	sum := sha256.Sum256([]byte("contact " + normal))
	copy(h[:], sum[:])
	return h
}

// sealContactToken is a token that says what a user has looked up, so that it does not
// count again; the server keeps nothing. It is base64 of a MAC and the hashes.
func (s *Server) sealContactToken(u kbsig.UID, known []contactHash) string {
	known = known[max(len(known)-contactsKnownMax, 0):]
	list := make([]byte, 0, len(known)*len(contactHash{}))
	for _, h := range known {
		list = append(list, h[:]...)
	}
	return base64.StdEncoding.EncodeToString(append(s.Auth.MAC("contacts", slices.Concat(u[:], list)), list...))
}

// openContactToken reads a token; no token is a good one that knows nothing.
func (s *Server) openContactToken(u kbsig.UID, token string) (known []contactHash, ok bool) {
	if token == "" {
		return nil, true
	}
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(b) < sha256.Size || (len(b)-sha256.Size)%len(contactHash{}) != 0 {
		return nil, false
	}
	mac, list := b[:sha256.Size], b[sha256.Size:]
	if !hmac.Equal(mac, s.Auth.MAC("contacts", slices.Concat(u[:], list))) {
		return nil, false
	}
	for h := range slices.Chunk(list, len(contactHash{})) {
		known = append(known, contactHash(h))
	}
	return known, true
}

// contactsResolved: POST contacts/resolved: notes for the user's own devices, which come
// back in the home feed. client: go/contacts/resolution_notice.go:SendEncryptedContactResolutionToServer
func contactsResolved(c *call) (any, error) {
	var args struct {
		Blobs []struct {
			Blob string `json:"blob"`
		} `json:"resolved_contact_blobs"`
	}
	if err := c.body(&args); err != nil {
		return nil, err
	}
	if len(args.Blobs) > noticesPerPostMax {
		return nil, status.Input("at most %d notes of contacts are taken at a time", noticesPerPostMax)
	}
	blobs := make([]string, 0, len(args.Blobs))
	for _, b := range args.Blobs {
		raw, err := base64.StdEncoding.DecodeString(b.Blob)
		if err != nil || len(raw) == 0 || len(raw) > noticeBytesMax {
			return nil, status.Input("a note of a contact is base64 of at most %d bytes", noticeBytesMax)
		}
		blobs = append(blobs, b.Blob)
	}
	if len(blobs) == 0 {
		return none{}, nil
	}
	blobs = blobs[max(len(blobs)-noticesShownMax, 0):] // what a home page shows
	return none{}, c.update(func(tx *store.Tx) error { return home.Meet(tx, c.who.UID, blobs) })
}

// contactSettingsJSON is the shape of the settings in both directions.
// client: go/protocol/keybase1/account.go:ContactSettings
type contactSettingsJSON struct {
	Version              *int              `json:"version,omitempty"`
	AllowFolloweeDegrees int               `json:"allow_followee_degrees"`
	AllowGoodTeams       bool              `json:"allow_good_teams"`
	Enabled              bool              `json:"enabled"`
	Teams                []teamContactJSON `json:"teams"`
}

type teamContactJSON struct {
	TeamID  string `json:"team_id"`
	Enabled bool   `json:"enabled"`
}

// contactSettings: GET account/contact_settings.
// client: go/libkb/contact_settings.go:GetContactSettings
func contactSettings(c *call) (any, error) {
	contact, err := accounts.GetContact(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	s := contact.Settings
	out := contactSettingsJSON{AllowFolloweeDegrees: s.AllowFolloweeDegrees, AllowGoodTeams: s.AllowGoodTeams, Enabled: s.Enabled, Teams: []teamContactJSON{}}
	if s.Version > 0 {
		out.Version = &s.Version
	}
	for _, t := range s.Teams {
		out.Teams = append(out.Teams, teamContactJSON{t.TeamID, t.Enabled})
	}
	return struct {
		Settings contactSettingsJSON `json:"settings"`
	}{out}, nil
}

// teamIDBytes is the size of a team's id.
const teamIDBytes = 16

// setContactSettings: POST account/contact_settings.
// client: go/libkb/contact_settings.go:SetContactSettings
func setContactSettings(c *call) (any, error) {
	var args struct {
		Settings *contactSettingsJSON `json:"settings"`
	}
	if err := c.body(&args); err != nil {
		return nil, err
	}
	if args.Settings == nil {
		return nil, status.Input("the settings are missing")
	}
	s := accounts.ContactSettings{Enabled: args.Settings.Enabled, AllowFolloweeDegrees: args.Settings.AllowFolloweeDegrees, AllowGoodTeams: args.Settings.AllowGoodTeams}
	for _, t := range args.Settings.Teams {
		if b, err := hex.DecodeString(t.TeamID); err != nil || len(b) != teamIDBytes {
			return nil, status.Input("a team id in the settings is malformed")
		}
		s.Teams = append(s.Teams, accounts.TeamContact{TeamID: strings.ToLower(t.TeamID), Enabled: t.Enabled})
	}
	err := c.update(func(tx *store.Tx) error { return accounts.SetContactSettings(tx, c.who.UID, s) })
	if errors.Is(err, accounts.ErrSettings) {
		return nil, status.Input("%v", err)
	}
	return none{}, err
}
