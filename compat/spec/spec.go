// Package spec is the list of client symbols that comments of this repository may
// cite, and the tests that keep the list honest.
//
// A comment that states a fact of the stock client names its source:
//
//	// client: go/libkb/merkle_client.go:VerifyPath
//	// client: go/libkb/kbsig.go:RevokeKeysProof, RevokeSigsProof, go/libkb/chain_link.go
//
// which is a file below the root of github.com/keybase/client, then a symbol, never a
// line number. A name without a file belongs to the file before it, a file without a
// folder to the folder before it. cited.txt has one line for each, sorted: a
// reference that is not there, or a line that nothing cites, fails the test, and
// `make spec` writes the list anew. Where a checkout of the client is at hand
// (KEYSTEAD_CLIENT_SRC), the test also resolves every line in it; the client's
// release that the list was resolved in is ClientRelease.
//
// The package has no code that a server runs. Its tests also keep what this house
// calls tidy: short files, package comments, no rooms without a subject.
package spec

// ClientRelease is the release of the stock client that cited.txt is resolved in.
const ClientRelease = "v6.3.0"
