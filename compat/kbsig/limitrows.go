package kbsig

import (
	"fmt"
	"time"
)

// LimitRow is one limit of this package as people read it.
type LimitRow struct{ Name, Value, Unit, What string }

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []LimitRow {
	hours := func(d time.Duration) string { return fmt.Sprintf("%.0fh", d.Hours()) }
	return []LimitRow{
		{"InnerBytesMax", fmt.Sprint(InnerBytesMax), "bytes", "of one signed JSON statement"},
		{"innerDepthMax", fmt.Sprint(innerDepthMax), "levels", "of nesting in one"},
		{"innerMembersMax", fmt.Sprint(innerMembersMax), "members and elements", "in one"},
		{"TeamInnerBytesMax", fmt.Sprint(TeamInnerBytesMax), "bytes", "of one link of a team"},
		{"teamInnerMembersMax", fmt.Sprint(teamInnerMembersMax), "members and elements", "in one link of a team"},
		{"PayloadBytesMax", fmt.Sprint(PayloadBytesMax), "bytes", "that one signature signs"},
		{"PacketBytesMax", fmt.Sprint(PacketBytesMax), "bytes", "of a decoded signature packet"},
		{"BoxBytesMax", fmt.Sprint(BoxBytesMax), "bytes", "of the ciphertext of an encryption packet"},
		{"SecretKeyBytesMax", fmt.Sprint(SecretKeyBytesMax), "bytes", "of a synced secret key's packet"},
		{"secretKeyGenerationMax", fmt.Sprint(secretKeyGenerationMax), "generations", "of the passphrase that it is sealed with"},
		{"outerBytesMax", fmt.Sprint(outerBytesMax), "bytes", "of an outer link"},
		{"sig3OuterBytesMax", fmt.Sprint(sig3OuterBytesMax), "bytes", "of the signed half of a hidden link"},
		{"sig3InnerBytesMax", fmt.Sprint(sig3InnerBytesMax), "bytes", "of the other half of a hidden link"},
		{"sig3ClientCharsMax", fmt.Sprint(sig3ClientCharsMax), "characters", "by which a hidden link names the client"},
		{"sig3EntropyBytesMax", fmt.Sprint(sig3EntropyBytesMax), "bytes", "of entropy in a hidden link"},
		{"BlindingKeysMax", fmt.Sprint(BlindingKeysMax), "keys", "that explain ratchets at once"},
		{"nistHeaderCharsMax", fmt.Sprint(nistHeaderCharsMax), "characters", "of a device's session token"},
		{"NISTLifetimeMax", hours(NISTLifetimeMax), "time", "that a device's session token may be good for"},
		{"NISTWebLifetimeMax", hours(NISTWebLifetimeMax), "time", "that a website's session token may be good for"},
		{"NISTAheadMax", hours(NISTAheadMax), "time", "that the clock of a token's device may run ahead"},
		{"loginProofCharsMax", fmt.Sprint(loginProofCharsMax), "characters", "of an armoured login proof"},
		{"loginExpireMax", fmt.Sprint(loginExpireMax), "seconds", "of a login proof's own life"},
		{"ekCharsMax", fmt.Sprint(ekCharsMax), "characters", "of an armoured ephemeral key statement"},
		{"ekGenerationMax", fmt.Sprint(ekGenerationMax), "generations", "of an ephemeral key"},
		{"usernameMax", fmt.Sprint(usernameMax), "characters", "of a username"},
		{"teamPartMax", fmt.Sprint(teamPartMax), "characters", "of each part of a team's name"},
		{"teamNameBytesMax", fmt.Sprint(teamNameBytesMax), "bytes", "of a team's whole name"},
		{"TeamBoxesMax", fmt.Sprint(TeamBoxesMax), "recipients", "of one team's key in one request"},
		{"KeysetCharsMax", fmt.Sprint(KeysetCharsMax), "characters", "of old keys of a folder that a team adopts"},
		{"TeamGenerationMax", fmt.Sprint(TeamGenerationMax), "generations", "of a team's key"},
		{"teamSeqnoMax", fmt.Sprint(teamSeqnoMax), "links", "of the chain that a recipient's key stands in"},
		{"TeamApplications", fmt.Sprint(TeamApplications), "is the highest number", "of an application that has keys of a team"},
	}
}
