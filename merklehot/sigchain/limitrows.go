package sigchain

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("chainLinksMax", chainLinksMax, "links", "in one chain"),
		limits.Count("keysMax", keysMax, "keys", "ever added to one chain"),
		limits.Count("pgpVersionsMax", pgpVersionsMax, "versions", "of PGP keys in one chain"),
		limits.Count("tracksMax", tracksMax, "follow statements", "not taken back"),
		limits.Count("proofsMax", proofsMax, "proofs", "not taken back"),
		limits.Count("currenciesMax", currenciesMax, "currency addresses", "not taken back"),
		limits.Count("vouchesMax", vouchesMax, "vouches, and as many reactions,", "not taken back"),
		limits.Count("serviceNameMax", serviceNameMax, "characters", "of the name of a service"),
		limits.Count("remoteNameMax", remoteNameMax, "characters", "of a name at a service"),
		limits.Count("hostNameMax", hostNameMax, "characters", "of a web site or a domain"),
		limits.Count("base58CharsMax", base58CharsMax, "characters", "of a currency address"),
		limits.Count("bech32CharsMax", bech32CharsMax, "characters", "of a bech32 address"),
		limits.Bytes("walletNameMax", walletNameMax, "of the name of a wallet"),
		limits.Bytes("settingsEmailMax", settingsEmailMax, "of a mail address in a signed statement"),
		limits.Count("resetsMax", resetsMax, "resets", "of one account; it can still be deleted"),
		limits.Count("batchLinksMax", batchLinksMax, "links", "posted together"),
		limits.Count("pukBoxesMax", pukBoxesMax, "boxes", "posted together"),
		limits.Time("rootAgeMax", rootAgeMax, "that a root may have been superseded when a link that quotes it comes"),
		limits.Time("ctimeBehindMax", ctimeBehindMax, "that a link's time may be behind the server's"),
		limits.Time("ctimeAheadMax", ctimeAheadMax, "that a link's time may be ahead of the server's"),
		limits.Count("expireInMax", expireInMax, "seconds", "of a link's own life"),
		limits.Count("seqnoMax", seqnoMax, "seqnos", "of chains and roots"),
		limits.Bytes("clientTextMax", clientTextMax, "of the client's name and version in a link"),
		limits.Count("revokeTargetsMax", revokeTargetsMax, "signatures and keys", "revoked by one link"),
		limits.Count("pukGenerationMax", pukGenerationMax, "generations", "of a per-user key"),
		limits.Count("passphraseGenerationMax", passphraseGenerationMax, "generations", "of a passphrase"),
		limits.Count("trackProofsMax", trackProofsMax, "proofs", "in one follow statement"),
		limits.Count("trackPGPKeysMax", trackPGPKeysMax, "PGP keys", "in one follow statement"),
		limits.Count("deviceNameMax", deviceNameMax, "characters", "of a device's name"),
		limits.Bytes("deviceNameBytesMax", deviceNameBytesMax, "of a device's name as sent"),
	}
}
