// Package client is Keystead's own Keybase client: it signs, posts and verifies
// against a server over HTTP the way the stock client v6.3.0 does, and it is
// what server tests, the load generator and the crash harness drive a server with.
//
// It owns no truth of the server and shares no code with it: it imports nothing
// of this repository, so that a mistake in the server's packages cannot hide
// here. The protocol was read from the stock client, cited as client: path:Symbol.
//
// Server is the transport (one per server, safe for many goroutines). Verifier
// holds what a client remembers for ever: roots, chains, link ids; it is safe for
// many goroutines too. User is a verified view of somebody. Account acts: it has
// secret keys, builds links and posts them; one goroutine at a time.
//
// Everything a server says is checked when it arrives. A lie is reported as a
// *Violation that names the broken Rule; rules.go lists all of them and the lie
// tables of the tests break each one. A refusal by the server is a
// *StatusError; everything else is a plain error of transport or of the caller.
// Time and randomness are fields of Server; nothing here reads them elsewhere.
//
// # Where this client is stricter than the stock client
//
// The stock client tolerates the following. This one reports it, because a
// server that does it is wrong even though no stock client would notice:
//
//   - a link that does not import makes it drop the whole reply without an error
//     (client: go/libkb/sig_chain.go:LoadServerBody); here it is an error at once;
//   - it checks signatures of delegating, revoking and last links only
//     (client: go/libkb/sig_chain.go:verifySubchain); here every link of every
//     incarnation is checked, and historical incarnations must play without error;
//   - a Merkle path that simply ends early counts as "not in the tree"
//     (client: go/libkb/merkle_client.go:VerifyPath); here absence must be proven:
//     no child of the last node may be a prefix of the id, and a node may not
//     offer two children for one id;
//   - it ignores the prev hash, type and tag of a root payload, the signature id
//     in a leaf, and any signature of a root but the first that it knows;
//   - the root a path is rooted in may be older than the one asked for; here it
//     must be exactly that one;
//   - fields of v2 outer links that the server sends twice (seq type, ignore
//     flag) are compared with themselves (client:
//     go/libkb/chain_link_parse_2.go:importLinkFromServerV2Unstubbed); here they
//     are compared with the signed inner link;
//   - per-user-key generations may have gaps, revoked keys and signatures may be
//     unknown, device ids may repeat, subkeys may hang on dead parents;
//   - duplicate keys in signed JSON are legal there; here they are an error,
//     because two parsers can read two different links;
//   - a link of an unknown v1 type is displayed as "generic";
//   - its memory of roots is one root; here every root seen, and every older root
//     that a signed skip table names, is remembered: one seqno, one hash, for ever.
//
// # What it does not do
//
// It makes no links that PGP signs, though it verifies them. Leaves of version 1, PGP-signed roots and the whitelists of broken links of the original
// service do not exist on a new server and are violations here. Remote proofs and
// chat belong to other packages.
package client
