package kbsig

import (
	"errors"
	"fmt"
)

// TeamApplications is the highest number of an application.
// client: go/protocol/keybase1/teams.go:TeamApplication
const TeamApplications = 7

// AppChat is the application that ephemeral keys are for.
const AppChat = 2

// ErrBotKey reports a statement about a bot's key that is not taken.
var ErrBotKey = errors.New("statement about a bot's key refused")

// BotKey is a statement, signed by a team's key, about a key that the team's members made
// for a restricted bot. client: go/protocol/keybase1/teambot.go:TeambotKeyMetadata,
// go/protocol/keybase1/ephemeral.go:TeambotEkMetadata
type BotKey struct {
	Signer      KID
	KID         KID
	Bot         UID
	Generation  int64
	Application int   // AppChat for ephemeral ones
	Sealed      int64 // generation of the bot's per-user key, or user ephemeral key
	HashMeta    HashMeta
	CtimeMs     int64
	Statement   string // the armoured packet as received
}

// OpenBotKey decodes and verifies a statement about a bot's key of an application, or
// about an ephemeral one. client: go/teambot/member_keyer.go:MemberKeyer.prepareNewTeambotKey,
// go/ephemeral/teambot_ek.go:prepareNewTeambotEK
func OpenBotKey(armored string, ephemeral bool) (*BotKey, error) {
	if len(armored) > ekCharsMax {
		return nil, fmt.Errorf("statement of %d characters: %w", len(armored), ErrBotKey)
	}
	sig, err := OpenSignature(armored)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBotKey, err)
	}
	doc, err := ParseSignedJSON(sig.Payload, false)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBotKey, err)
	}
	out := &BotKey{Signer: sig.KID, Statement: armored, Application: AppChat}
	root := doc.Root()
	out.KID = Parsed(&root, "teambot_dh_public", ParseKID)
	out.Generation = root.Int("generation", 1, ekGenerationMax)
	out.Bot = Parsed(&root, "uid", ParseUID)
	if ephemeral {
		out.Sealed = root.Int("user_ek_generation", 1, ekGenerationMax)
		out.HashMeta = Parsed(&root, "hash_meta", ParseHashMeta)
		out.CtimeMs = root.Int("ctime", 1, ekTimeMaxMs)
	} else {
		out.Sealed = root.Int("puk_generation", 1, ekGenerationMax)
		out.Application = int(root.Int("application", 1, TeamApplications))
	}
	root.End()
	if err := root.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBotKey, err)
	}
	if err := CheckEncryptionKey(out.KID); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBotKey, err)
	}
	return out, nil
}
