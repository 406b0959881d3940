// Package teamchain decides whether links may stand in the visible chains of teams, and
// what the chains mean. It is pure: it keeps nothing, reads no clock, and asks its Env
// for what a chain does not say by itself.
//
// It accepts exactly what the strictest stock client accepts: each reader replays the
// chain by rules of its own, and a link that one of them refuses ruins the team for
// ever. client: go/teams/chain.go, go/teams/loader2.go, go/teams/chain_parse.go
package teamchain
