package vouches

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// Limits of what is said beside a link.
const (
	// expansionBytesMax bounds an expansion as text.
	expansionBytesMax = 16 << 10
	// expansionKeyBytes is the length of the key of its HMAC.
	expansionKeyBytes = 16
	// proofsMax bounds the proofs by which a voucher knows somebody.
	proofsMax = 100
)

// Expansion is what a link stands for with its HMAC.
type Expansion struct {
	ID sigchain.ExpansionID
	// Text is the whole of it as clients get it: {"<id>":{"key":…,"obj":…}}.
	Text []byte
	obj  []byte
}

// ParseExpansion reads what was sent as "expansions" beside one link, and checks it as
// clients will. They write what is inside anew before they compute the HMAC, so it is
// kept as they write it.
// client: go/libkb/id_table.go:ExtractExpansionObj, EmbedExpansionObj
func ParseExpansion(raw []byte) (*Expansion, error) {
	if len(raw) > expansionBytesMax {
		return nil, refuse("an expansion of %d bytes", len(raw))
	}
	var in map[string]struct {
		Key string `json:"key"`
		Obj any    `json:"obj"`
	}
	if err := json.Unmarshal(raw, &in); err != nil || len(in) != 1 {
		return nil, refuse("expansions that are not one by its id")
	}
	for name, x := range in {
		e := &Expansion{}
		var err error
		if e.ID, err = sigchain.ParseExpansionID(name); err != nil {
			return nil, refuse("%w", err)
		}
		key, err := hex.DecodeString(x.Key)
		if err != nil || len(key) != expansionKeyBytes || hex.EncodeToString(key) != x.Key {
			return nil, refuse("an expansion whose key is not %d bytes of hex", expansionKeyBytes)
		}
		if !plain(x.Obj) {
			return nil, refuse("an expansion with control characters")
		}
		if e.obj, err = json.Marshal(x.Obj); err != nil {
			return nil, refuse("an expansion that is no JSON")
		}
		mac := hmac.New(sha256.New, key)
		mac.Write(e.obj)
		if !hmac.Equal(mac.Sum(nil), e.ID[:]) {
			return nil, refuse("an expansion that is not what its id stands for")
		}
		e.Text, err = json.Marshal(map[string]any{name: map[string]any{"key": x.Key, "obj": json.RawMessage(e.obj)}})
		return e, err
	}
	return nil, nil
}

func refuse(format string, args ...any) error {
	return sigchain.Refuse(sigchain.KindInput, format, args...)
}

// plain reports text without control characters other than those of lines and tabs:
// releases of the JSON encoder have spelled the others differently, so that two clients
// would not compute the same HMAC.
func plain(v any) bool {
	switch v := v.(type) {
	case string:
		return !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' })
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !plain(e) })
	case map[string]any:
		for name, e := range v {
			if !plain(name) || !plain(e) {
				return false
			}
		}
	}
	return true
}

// About says whom a vouch is about.
type About struct {
	UID         kbsig.UID
	Username    kbsig.Username
	Eldest      kbsig.KID
	EldestSeqno kbsig.Seqno
}

// knownVia are the ways to know somebody.
// client: go/protocol/keybase1/extras.go:UsernameVerificationTypeMap
var knownVia = []string{"in_person", "proofs", "video", "audio", "other_chat", "familiar", "other"}

// knownProofs are the proof types that clients can show in a vouch; another one makes
// the whole list unreadable. client: go/libkb/util.go:NewWotProofUI
var knownProofs = []int{2, 3, 4, 5, 6, 8, 9, 1000, 1001, 100001}

// Vouch reads the expansion of a wot.vouch. client: go/libkb/wot.go:vouchExpansion
func (e *Expansion) Vouch() (About, error) {
	var in struct {
		User struct {
			Eldest struct {
				KID   string
				Seqno int64
			}
			UID      string
			Username string
		} `json:"user"`
		Confidence struct {
			Via    string `json:"username_verified_via"`
			Proofs []struct {
				Type     int    `json:"proof_type"`
				Name     string `json:"name"`
				Username string `json:"username"`
				Protocol string `json:"protocol"`
				Hostname string `json:"hostname"`
				Domain   string `json:"domain"`
			} `json:"proofs"`
			Other string `json:"other"`
		} `json:"confidence"`
		Text string `json:"vouch_text"`
	}
	var a About
	if err := json.Unmarshal(e.obj, &in); err != nil {
		return a, refuse("a vouch that clients cannot read")
	}
	if !slices.Contains(knownVia, in.Confidence.Via) {
		return a, refuse("a vouch that does not say how its subject is known")
	}
	if len(in.Confidence.Proofs) > proofsMax {
		return a, refuse("a vouch with %d proofs", len(in.Confidence.Proofs))
	}
	for _, p := range in.Confidence.Proofs {
		if !slices.Contains(knownProofs, p.Type) {
			return a, refuse("a vouch with a proof of an unknown type, %d", p.Type)
		}
	}
	var err error
	fail := func(e error) {
		if err == nil && e != nil {
			err = refuse("a vouch for nobody: %w", e)
		}
	}
	var e1, e2, e3 error
	a.UID, e1 = kbsig.ParseUID(in.User.UID)
	a.Username, e2 = kbsig.ParseUsername(in.User.Username)
	a.Eldest, e3 = kbsig.ParseKID(in.User.Eldest.KID)
	fail(e1)
	fail(e2)
	fail(e3)
	if string(a.Username) != in.User.Username {
		fail(fmt.Errorf("user name that is not lower-case"))
	}
	a.EldestSeqno = kbsig.Seqno(in.User.Eldest.Seqno)
	return a, err
}

// Reaction reads the expansion of a wot.react: the vouch's signature and whether it is
// accepted. client: go/libkb/wot.go:reactionExpansion
func (e *Expansion) Reaction() (vouch kbsig.SigIDBase, accepts bool, err error) {
	var in struct {
		SigID    string `json:"sig_id"`
		Reaction string `json:"reaction"`
	}
	if err := json.Unmarshal(e.obj, &in); err != nil {
		return vouch, false, refuse("a reaction that clients cannot read")
	}
	if vouch, err = kbsig.ParseSigID(in.SigID); err != nil {
		return vouch, false, refuse("a reaction to nothing: %w", err)
	}
	switch in.Reaction {
	case "accept":
		return vouch, true, nil
	case "reject":
		return vouch, false, nil
	}
	return vouch, false, refuse("a reaction that neither accepts nor rejects")
}
