package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/autoreset"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/hash"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/chores"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/implicit"
	"github.com/keystead/keystead/merklehot/joining"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/kvstore"
	"github.com/keystead/keystead/merklehot/rooter"
	"github.com/keystead/keystead/merklehot/showcase"
)

// family is a kind of record: what its keys are made of, and, where no later pass
// looks at the value, what the value must be.
type family struct {
	name string
	// key is any key of the family; its first byte, or two, are the family's.
	key []byte
	// parts are the pieces behind these, a letter each; see partSizes. Empty
	// where fits decides.
	parts string
	fits  func(k []byte) bool
	value func(k, v []byte) error
}

// partSizes are the lengths of pieces of keys, in bytes.
var partSizes = map[byte]int{
	'u': 16, // user id; always the first piece
	'd': 16, // device id
	'k': 35, // key id
	'n': 8,  // number from 1 on
	'h': 32, // SHA-256
	't': 19, // short hash of a token
	'i': 16, // random id
	'T': 16, // team id
	'U': 16, // user id that is not the first piece
	's': 1,  // side of a vouch
	'f': 20, // fingerprint, backwards
}

var zero struct {
	uid    kbsig.UID
	team   kbsig.TeamID
	device kbsig.DeviceID
	kid    kbsig.KID
}

// families is the keyspace as the audit knows it. A test holds it against the map in
// engine/keys.
var families = []family{
	{name: "store fact", key: keys.Meta("x"), fits: func(k []byte) bool { return printable(k[1:]) }},
	{name: "account", key: keys.Account(zero.uid), parts: "u"},
	{name: "name", key: keys.Name("x"), fits: isName},
	{name: "address", key: keys.Mail("x"), fits: isMail},
	{name: "list of addresses", key: keys.Contact(zero.uid), parts: "u", value: decodes[accounts.Contact]},
	{name: "claim of a mail address", key: keys.MailClaims([32]byte{}), parts: "h"},
	{name: "owner of a telephone number", key: keys.PhoneOwner("x"), fits: func(k []byte) bool { return mail.NumberOK(string(k[1:])) }},
	{name: "device record", key: keys.Device(zero.uid, zero.device), parts: "ud", value: deviceRecord},
	{name: "active device", key: keys.ActiveDevice(zero.uid, zero.device), parts: "ud"},
	{name: "session", key: keys.Session([32]byte{}), parts: "h", value: decodes[accounts.Session]},
	{name: "session index entry", key: keys.UserSession(zero.uid, [32]byte{}), parts: "uh"},
	{name: "lockdown mode", key: keys.Lockdown(zero.uid), parts: "u", value: decodes[accounts.Lockdown]},
	{name: "token", key: keys.NIST([19]byte{}), parts: "t", value: decodes[accounts.Accepted]},
	{name: "invitation", key: keys.Invitation([32]byte{}), parts: "h", value: invitation},
	{name: "link", key: keys.Link(zero.uid, 1), parts: "un"},
	{name: "chain state", key: keys.Chain(zero.uid), parts: "u"},
	{name: "key index entry", key: keys.KIDOwner(zero.kid), parts: "k"},
	{name: "signature index entry", key: keys.SigID(kbsig.SigIDBase{}), parts: "h"},
	{name: "follow", key: keys.Follow(zero.uid, zero.uid), parts: "uu"},
	{name: "follower", key: keys.Follower(zero.uid, zero.uid), parts: "uu"},
	{name: "reset", key: keys.Reset(zero.uid, 1), parts: "un"},
	{name: "waiting reset", key: keys.Autoreset(zero.uid), parts: "u", value: decodes[autoreset.Reset]},
	{name: "lease", key: keys.Lease(zero.uid, [16]byte{}), parts: "ui", value: decodes[identity.Lease]},
	{name: "vouch", key: keys.Vouch(zero.uid, keys.VouchFor, zero.uid), parts: "usu"},
	{name: "PGP index entry", key: keys.PGPFinger([20]byte{}, zero.kid, zero.uid), parts: "fku"},
	{name: "secret key", key: keys.PrivateKey(zero.uid, zero.kid), parts: "uk", value: secretKey},
	{name: "favourite", key: keys.Favorite(zero.uid, 1, "x"), fits: isFavorite, value: decodes[favorite]},
	{name: "per-user-key box", key: keys.PUKBox(zero.uid, 1, zero.kid), parts: "unk"},
	{name: "per-user-key prev", key: keys.PUKPrev(zero.uid, 1), parts: "un"},
	{name: "device ephemeral key", key: keys.DeviceEK(zero.uid, zero.device), parts: "ud"},
	{name: "user ephemeral key", key: keys.UserEK(zero.uid, 1), parts: "un"},
	{name: "user ephemeral key box", key: keys.UserEKBox(zero.uid, 1, zero.device), parts: "und"},
	{name: "job", key: keys.Job([16]byte{}, "x"), fits: isJob, value: jobs.CheckShape},
	{name: "place of a job", key: keys.DueJob([16]byte{}, 1, "x"), fits: isDueJob},
	{name: "proof", key: keys.Proof(zero.uid, kbsig.SigIDBase{}), parts: "uh"},
	{name: "proven name", key: keys.ProofOwner([32]byte{}, zero.uid), fits: isProvenName},
	{name: "kit", key: keys.Kit([32]byte{}), parts: "h", value: kitRecord},
	{name: "post in a network for tests", key: keys.Post([32]byte{}, [16]byte{}), parts: "hi", value: rooter.CheckShape},
	{name: "message", key: keys.Gregor(zero.uid, []byte{1}), fits: isMessage},
	{name: "sum of messages", key: keys.GregorSum(zero.uid), parts: "u"},
	{name: "place of a message", key: keys.GregorPlace(zero.uid, 'o', [8]byte{}, 1), fits: isPlace},
	{name: "push token", key: keys.PushToken(zero.uid, zero.device), parts: "ud", value: decodes[pushToken]},
	{name: "outbox entry", key: keys.Event(1), parts: "n", value: decodes[events.Record]},
	{name: "outbox place", key: keys.EventCursor("x"), fits: isConsumer},
	{name: "picture", key: keys.Picture(zero.uid, [16]byte{}, 40), fits: isPicture},
	{name: "home page", key: keys.Home(zero.uid), parts: "u", value: decodes[people.Home]},
	{name: "announcement", key: keys.Announcement(1), parts: "n", value: decodes[people.Announcement]},
	{name: "block", key: keys.Block(zero.uid, zero.uid), parts: "uu", value: decodes[people.Block]},
	{name: "bot token", key: keys.BotToken([32]byte{}), parts: "h", value: decodes[kbsig.UID]},
	{name: "wallet", key: keys.Wallet(zero.uid), parts: "u", value: decodes[keyboxes.Wallet]},
	{name: "search entry", key: keys.Search("s", "w", zero.uid), fits: isSearch},
	{name: "link of a team", key: keys.TeamLink(zero.team, 1), parts: "Tn"},
	{name: "state of a team", key: keys.TeamChain(zero.team), parts: "T"},
	{name: "row of a team's state", key: keys.TeamRow(zero.team, []byte{1}), fits: isTeamRow},
	{name: "name of a subteam", key: keys.Subteam(zero.team, "x"), fits: isSubteam},
	{name: "membership", key: keys.Membership(zero.uid, zero.team), parts: "uT"},
	{name: "team-key box", key: keys.TeamBox(zero.team, zero.uid), parts: "TU", value: decodes[keyboxes.TeamBox]},
	{name: "team-key prev", key: keys.TeamPrev(zero.team, 1), parts: "Tn"},
	{name: "masks of a team", key: keys.TeamMasks(zero.team, 1), parts: "Tn", value: keyboxes.CheckTeamMasks},
	{name: "version of roles", key: keys.RoleMap(zero.uid), parts: "u", value: decodes[int64]},
	{name: "lease over a member", key: keys.TeamLease(zero.uid, zero.team), parts: "uT"},
	{name: "adopted keys of a folder", key: keys.TeamTLFKeys(zero.team, 1), parts: "Tn"},
	{name: "facts of a team", key: keys.TeamFacts(zero.team), parts: "T"},
	{name: "display name", key: keys.ImplicitName([32]byte{}), parts: "h", value: decodes[implicit.Place]},
	{name: "name of an implicit team", key: keys.ImplicitTeam(zero.team), parts: "T", value: decodes[implicit.Called]},
	{name: "way to an invite", key: keys.InviteLead([32]byte{}, zero.team, kbsig.InviteID{}), parts: "hTi"},
	{name: "outsider", key: keys.Outsider(zero.team, zero.uid), parts: "TU", value: decodes[joining.Outsider]},
	{name: "team outside", key: keys.OutsiderTeam(zero.uid, zero.team), parts: "uT"},
	{name: "acceptance", key: keys.Acceptance(zero.team, zero.uid, kbsig.InviteID{}), parts: "TUi", value: decodes[joining.Acceptance]},
	{name: "door of a team", key: keys.TeamDoor(zero.team), parts: "T", value: decodes[joining.Door]},
	{name: "chore", key: keys.Chore(zero.team, 'r'), fits: isChore, value: chores.CheckShape},
	{name: "team ephemeral key", key: keys.TeamEK(zero.team, 1), parts: "Tn", value: decodes[keyboxes.TeamEK]},
	{name: "team ephemeral key box", key: keys.TeamEKBox(zero.team, 1, zero.uid), parts: "TnU", value: decodes[keyboxes.TeamEKBox]},
	{name: "key for a bot", key: keys.BotKey(zero.team, zero.uid, 1, false, 1), fits: isBotKey, value: decodes[keyboxes.BotKey]},
	{name: "pseudonym", key: keys.Pseudonym([32]byte{}), parts: "h", value: decodes[keyboxes.Pseudonym]},
	{name: "entry of a key-value store", key: keys.Entry(zero.team, "n", "k"), fits: isEntry, value: decodes[kvstore.Entry]},
	{name: "what a team shows", key: keys.Shown(zero.team), parts: "T", value: decodes[showcase.Shown]},
	{name: "team that a user shows", key: keys.ShownMember(zero.uid, zero.team), parts: "uT"},
	{name: "team to be found", key: keys.PublicTeam(zero.team), parts: "T"},
	{name: "team of a folder", key: keys.TeamOfTLF("x"), fits: func(k []byte) bool { return printable(k[2:]) }},
	{name: "root", key: keys.Root(1), parts: "n"},
	{name: "root index entry", key: keys.RootHash(kbsig.HashMeta{}), parts: "h"},
	{name: "list of changes", key: keys.Changes(1), parts: "n"},
	{name: "leaf value", key: keys.Leaf(keys.TreeMain, zero.uid[:], 1), fits: isLeaf},
	{name: "hidden link", key: keys.HiddenLink(kbsig.TeamID{}, 1), parts: "Tn"},
	{name: "hidden chain state", key: keys.HiddenChain(kbsig.TeamID{}), parts: "T"},
	{name: "ratchet", key: keys.TeamRatchet(kbsig.TeamID{}, kbsig.Ratchet{}), parts: "Th"},
	{name: "blind leaf", key: keys.BlindLeaf([16]byte{}, 1), fits: isBlindLeaf},
	{name: "blind page", key: keys.BlindPage(0, [16]byte{}, 1), fits: isBlindPage},
	{name: "blind root", key: keys.BlindRoot(1), parts: "n"},
	{name: "tree record", key: keys.Node(keys.TreeMain, 0, zero.uid[:], 1), fits: isNode},
}

// userAt is where the user stands in keys of families whose parts do not say so: in
// front, or as the id of a leaf of the main tree.
var userAt = map[byte]int{
	keys.Favorite(zero.uid, 1, "x")[0]:          1,
	keys.Gregor(zero.uid, []byte{1})[0]:         1,
	keys.GregorPlaces(zero.uid)[0]:              1,
	keys.PGPFingers(nil)[0]:                     56,
	keys.Picture(zero.uid, [16]byte{}, 1)[0]:    1,
	keys.ProofOwner([32]byte{}, zero.uid)[0]:    33,
	keys.Leaf(keys.TreeMain, zero.uid[:], 1)[0]: 2,
}

// prefix is a family's prefix as an index: its byte, or, in the rooms of teams, where
// it is two, 256 and the second.
type prefix = uint16

// prefixes is how many prefixes there may be.
const prefixes = 512

// prefixOf reads the prefix of a key, and how long it is in bytes.
func prefixOf(k []byte) (p prefix, length int) {
	if k[0] == '0' && len(k) > 1 {
		return 256 + prefix(k[1]), 2
	}
	return prefix(k[0]), 1
}

// keyspace is the pass over all keys: each must be of a known family and well formed,
// and, where it names a user, there must be such an account.
func (a *auditor) keyspace() error {
	byPrefix := make(map[prefix]*family, len(families))
	for i := range families {
		p, _ := prefixOf(families[i].key)
		byPrefix[p] = &families[i]
	}
	var lastFamily prefix // and user that were looked up last
	var lastUser kbsig.UID
	return a.r.Scan(nil, nil, func(k, v []byte) error {
		if err := a.pause(); err != nil {
			return err
		}
		if len(k) == 0 {
			a.problem("key %s: of no known family", keyText(k))
			return nil
		}
		p, _ := prefixOf(k)
		f := byPrefix[p]
		if f == nil {
			a.problem("key %s: of no known family", keyText(k))
			return nil
		}
		a.keys.stored[p]++
		if !f.wellFormed(k) {
			a.problem("key %s: malformed key of a %s", keyText(k), f.name)
			return nil
		}
		if u, ok := f.user(k); ok && (u != lastUser || p != lastFamily) {
			lastUser, lastFamily = u, p
			known, err := store.Has(a.r, keys.Account(u))
			if err != nil {
				return err
			}
			if !known {
				a.problem("%s of %s: there is no such account", f.name, u)
			}
		}
		if f.value == nil {
			return nil
		}
		if err := f.value(k, v); err != nil {
			a.problem("%s under %s: %v", f.name, keyText(k), err)
		}
		return nil
	})
}

// keyText shows a key in hex, its family byte as it is.
func keyText(k []byte) string {
	const shown = 64
	if len(k) == 0 {
		return "of no bytes"
	}
	more := ""
	if len(k) > shown {
		k, more = k[:shown], "..."
	}
	return fmt.Sprintf("%q/%s%s", k[0], hex.EncodeToString(k[1:]), more)
}

// user is the user whose record it is, if it is a user's.
func (f *family) user(k []byte) (u kbsig.UID, ok bool) {
	p, n := prefixOf(k)
	at := 0
	if n == 1 {
		at = userAt[byte(p)]
	}
	if f.parts != "" && f.parts[0] == 'u' {
		at = n
	}
	if at == 0 {
		return u, false
	}
	// A leaf may be a team's, which the pass over teams looks at.
	u = kbsig.UID(k[at : at+len(u)])
	return u, partOK('u', u[:]) || !partOK('T', u[:])
}

func (f *family) wellFormed(k []byte) bool {
	if f.parts == "" {
		return f.fits(k)
	}
	_, n := prefixOf(k)
	rest := k[n:]
	for _, p := range []byte(f.parts) {
		n := partSizes[p]
		if len(rest) < n || !partOK(p, rest[:n]) {
			return false
		}
		rest = rest[n:]
	}
	return len(rest) == 0
}

// partOK checks one piece of a key, of the right length.
func partOK(part byte, b []byte) bool {
	var err error
	switch part {
	case 'u', 'U':
		_, err = kbsig.ParseUID(hex.EncodeToString(b))
	case 'T':
		_, err = kbsig.ParseTeamID(hex.EncodeToString(b))
	case 'd':
		_, err = kbsig.ParseDeviceID(hex.EncodeToString(b))
	case 'k':
		_, err = kbsig.KIDFromBytes(b)
	case 's':
		return b[0] == byte(keys.VouchFor) || b[0] == byte(keys.VouchBy)
	case 'n':
		return b[0] < 0x80 && number(b) > 0
	}
	return err == nil
}

// number reads a number of 8 bytes out of a key.
func number(b []byte) (n int64) {
	for _, c := range b[:8] {
		n = n<<8 | int64(c)
	}
	return n
}

func printable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(b) > 0
}

func isName(k []byte) bool {
	n, err := kbsig.ParseUsername(string(k[1:]))
	return err == nil && string(n) == string(k[1:])
}

func isMail(k []byte) bool { return len(k) > 1 && accounts.NormalMail(string(k[1:])) == string(k[1:]) }

func isFavorite(k []byte) bool {
	_, _, ok := keys.FavoriteOf(k)
	return ok && partOK('u', k[1:17])
}

func isTeamRow(k []byte) bool {
	t, _, ok := keys.TeamRowOf(k)
	return ok && partOK('T', t[:])
}

func isBotKey(k []byte) bool {
	g, ok := keys.BotKeyOf(k)
	return ok && g > 0 && partOK('T', k[2:18]) && partOK('U', k[18:34])
}

func isEntry(k []byte) bool {
	t, namespace, name, ok := keys.EntryOf(k)
	return ok && partOK('T', t[:]) && namespace != "" && name != ""
}

func isSubteam(k []byte) bool {
	t, part, ok := keys.SubteamOf(k)
	return ok && partOK('T', t[:]) && part == strings.ToLower(part)
}

func isChore(k []byte) bool {
	t, _, ok := keys.ChoreOf(k)
	return ok && partOK('T', t[:])
}

func isProvenName(k []byte) bool {
	_, u, ok := keys.ProofOwnerOf(k)
	return ok && partOK('u', u[:])
}

// kitRecord: a kit is kept under its own hash.
func kitRecord(k, v []byte) error {
	if h := hash.Sum512(v); string(h[:32]) != string(k[1:]) {
		return errors.New("the document has another hash")
	}
	return nil
}

func isMessage(k []byte) bool {
	_, _, ok := keys.GregorOf(k)
	return ok && partOK('u', k[1:17])
}

func isPlace(k []byte) bool {
	u, _, _, ctime, ok := keys.GregorPlaceOf(k)
	return ok && ctime > 0 && partOK('u', u[:])
}

// pushToken is the form of a token's record, whose owner is a room above.
type pushToken struct {
	Way   string `codec:"w"`
	Token string `codec:"t"`
}

// favorite is the form of a favourite folder's record, whose owner is a room above.
type favorite struct {
	Ignored bool  `codec:"i"`
	Since   int64 `codec:"t"`
}

func isConsumer(k []byte) bool {
	name, ok := keys.EventCursorOf(k)
	return ok && (name == "" || printable([]byte(name)))
}
func isJob(k []byte) bool { _, _, ok := keys.JobOf(k); return ok }

func isDueJob(k []byte) bool { _, _, _, ok := keys.DueJobOf(k); return ok }

func isPicture(k []byte) bool {
	_, _, size, ok := keys.PictureOf(k)
	return ok && size > 0 && (partOK('u', k[1:17]) || partOK('T', k[1:17]))
}

func isSearch(k []byte) bool {
	_, word, _, ok := keys.SearchOf(k)
	return ok && word != "" && partOK('u', k[len(k)-16:])
}

// isLeaf takes leaves of users and teams of the main tree only: the legacy tree is empty,
// since every user's id is the hash of the name.
func isLeaf(k []byte) bool {
	t, id, n, ok := keys.LeafOf(k)
	return ok && t == keys.TreeMain && len(id) == idBytes && (partOK('u', id) || partOK('T', id)) && n > 0
}

func isNode(k []byte) bool {
	t, depth, _, n, ok := keys.NodeOf(k)
	return ok && t == keys.TreeMain && depth < 2*idBytes && n > 0
}

func isBlindLeaf(k []byte) bool {
	_, n, ok := keys.BlindLeafOf(k)
	return ok && n > 0
}

func isBlindPage(k []byte) bool {
	_, _, n, ok := keys.BlindPageOf(k)
	return ok && n > 0
}

func decodes[T any](_, v []byte) error {
	_, err := store.Decode[T](v)
	return err
}

func deviceRecord(k, v []byte) error {
	d, err := store.Decode[accounts.Device](v)
	if err == nil && string(d.ID[:]) != string(k[17:]) {
		err = fmt.Errorf("the record is about device %s", d.ID)
	}
	return err
}

func invitation(_, v []byte) error {
	inv, err := store.Decode[accounts.Invitation](v)
	if err == nil && len(inv.Used) > inv.Uses {
		err = fmt.Errorf("used %d times, but good for %d", len(inv.Used), inv.Uses)
	}
	return err
}

func secretKey(k, v []byte) error {
	p, err := store.Decode[keyboxes.PrivateKey](v)
	if err == nil && string(p.KID[:]) != string(k[17:]) {
		err = fmt.Errorf("the record is about key %s", p.KID)
	}
	return err
}
