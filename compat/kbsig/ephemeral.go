package kbsig

import (
	"errors"
	"fmt"
)

// Limits of ephemeral key statements.
const (
	// ekGenerationMax bounds a generation; one a day for a long life.
	ekGenerationMax = 1 << 30
	// ekTimeMaxMs bounds times, in milliseconds.
	ekTimeMaxMs = nistTimeMax * 1000
	// ekCharsMax bounds an armoured statement; a real one has some 700.
	ekCharsMax = 4 << 10
)

// ErrEphemeral reports a statement about an ephemeral key that is not taken.
var ErrEphemeral = errors.New("ephemeral key statement refused")

// EphemeralKey is a signed statement about one ephemeral key.
// client: go/protocol/keybase1/ephemeral.go:DeviceEkMetadata, UserEkMetadata
type EphemeralKey struct {
	Signer     KID // whose signature it is: device key, or per-user key
	KID        KID // the ephemeral Curve25519 key
	HashMeta   HashMeta
	Generation int64
	CtimeMs    int64  // of the quoted Merkle root
	Statement  string // the armoured packet as received
}

// OpenDeviceEK decodes and verifies a device's statement. Whether Signer is an
// active device, HashMeta a recent root and Generation new is the caller's part.
// client: go/ephemeral/device_ek.go:signDeviceEKStatement
func OpenDeviceEK(armored string) (*EphemeralKey, error) {
	return openEK(armored, "current_device_ek_metadata", "device_ephemeral_dh_public", true)
}

// OpenUserEK decodes and verifies a user's statement, signed by a per-user key.
// client: go/ephemeral/user_ek.go:prepareNewUserEK
func OpenUserEK(armored string) (*EphemeralKey, error) {
	return openEK(armored, "current_user_ek_metadata", "user_ephemeral_dh_public", false)
}

func openEK(armored, section, key string, device bool) (*EphemeralKey, error) {
	if len(armored) > ekCharsMax {
		return nil, fmt.Errorf("statement of %d characters: %w", len(armored), ErrEphemeral)
	}
	sig, err := OpenSignature(armored)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEphemeral, err)
	}
	doc, err := ParseSignedJSON(sig.Payload, false)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEphemeral, err)
	}
	out := &EphemeralKey{Signer: sig.KID, Statement: armored}
	root := doc.Root()
	meta := root.Object(section)
	root.End()
	out.KID = Parsed(&meta, key, ParseKID)
	out.HashMeta = Parsed(&meta, "hash_meta", ParseHashMeta)
	out.Generation = meta.Int("generation", 1, ekGenerationMax)
	out.CtimeMs = meta.Int("ctime", 1, ekTimeMaxMs)
	// Readers take the members in any order, and writers follow their own struct.
	if device && meta.Has("deviceCtime") {
		meta.Int("deviceCtime", 0, ekTimeMaxMs)
	}
	meta.End()
	if err := root.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEphemeral, err)
	}
	if err := CheckEncryptionKey(out.KID); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEphemeral, err)
	}
	return out, nil
}

// OpenTeamEK decodes and verifies a team's statement, signed by the team's key.
// client: go/ephemeral/team_ek.go:prepareNewTeamEK
func OpenTeamEK(armored string) (*EphemeralKey, error) {
	return openEK(armored, "current_team_ek_metadata", "team_ephemeral_dh_public", false)
}
