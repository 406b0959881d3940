package rest

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("connectionsMax", connectionsMax, "connections", "open at once, where nothing else is configured; beyond them one that waits makes room"),
		limits.Count("connectionsPerAddressMax", connectionsPerAddressMax, "connections", "open at once of one address (IPv4 address, IPv6 /64); more are closed at once"),
		limits.Bytes("repliesBytesMax", repliesBytesMax, "of replies above 64 KiB that wait to be written, over all connections"),
		limits.Bytes("bodiesBytesMax", bodiesBytesMax, "of bodies above 4 KiB, over all connections"),
		limits.Bytes("headerBytesMax", headerBytesMax, "of a request line with its headers"),
		limits.Bytes("headerKeptMax", headerKeptMax, "of both, up to which a connection is kept for another request"),
		limits.Count("secretKeysMax", secretKeysMax, "secret keys", "sealed anew with a new passphrase"),
		limits.Bytes("passphraseBodyMax", passphraseBodyMax, "of a change of the passphrase, with those keys"),
		limits.Bytes("keyAddBodyMax", keyAddBodyMax, "of a PGP key's form"),
		limits.Bytes("bodyBytesMax", bodyBytesMax, "of a body, unless its route names another limit"),
		limits.Bytes("keyMultiBodyMax", keyMultiBodyMax, "of a body of key/multi, sig/multi and user/user_ek"),
		limits.Time("headerTimeout", headerTimeout, "for a TLS handshake, and from a request's first byte to the end of its headers"),
		limits.Time("bodyTimeout", bodyTimeout, "from there to the end of the body"),
		limits.Time("writeTimeout", writeTimeout, "for a reply to leave"),
		limits.Time("idleTimeout", idleTimeout, "without a request, after one"),
		limits.Time("requestTimeout", requestTimeout, "for a request to get its place in the commit queue"),
		limits.Count("argsMax", argsMax, "arguments", "in a form or a query"),
		limits.Bytes("argBytesMax", argBytesMax, "of an argument that names no other limit"),
		limits.Count("jsonDepthMax", jsonDepthMax, "levels", "of nesting in a JSON body"),
		limits.Count("jsonValuesFree", jsonValuesFree, "values", "in any JSON body; beyond them each needs 16 bytes of it"),
		limits.Count("jsonContainersFree", jsonContainersFree, "arrays and objects", "in any JSON body; beyond them each needs 48 bytes of it"),
		limits.Bytes("mailBytesMax", mailBytesMax, "of a mail address"),
		limits.Count("lookupNamesMax", lookupNamesMax, "names", "in one look-up"),
		limits.Count("usersPerQuestionMax", usersPerQuestionMax, "users", "in one question"),
		limits.Count("picturesMax", picturesMax, "pictures", "in one question"),
		limits.Count("featuresMax", featuresMax, "features", "in one question"),
		limits.Bytes("platformMax", platformMax, "of the name of a device's platform"),
		limits.Count("tailsWholeMax", tailsWholeMax, "links", "at the end of a chain that are never shortened"),
		limits.Count("repairedHalvesMax", repairedHalvesMax, "server halves", "in the report of a repaired device"),
		limits.Bytes("kexMessageBytesMax", kexMessageBytesMax, "of one message between two devices of which one is being added"),
		limits.Count("kexMessagesMax", kexMessagesMax, "messages", "in one exchange of two devices"),
		limits.Bytes("kexSessionBytesMax", kexSessionBytesMax, "of messages in one exchange"),
		limits.Count("kexSessionsMax", kexSessionsMax, "exchanges", "kept; the one untouched longest makes room"),
		limits.Bytes("kexBytesMax", kexBytesMax, "of messages in all exchanges; the one untouched longest makes room"),
		limits.Time("kexSessionLifetime", kexSessionLifetime, "that an exchange is kept untouched"),
		limits.Time("kexPollMax", kexPollMax, "that a device waits for a message in one request"),
		limits.Count("kexReceiversWaitingMax", kexReceiversWaitingMax, "requests", "that wait for a message; more are answered at once"),
	}
}
