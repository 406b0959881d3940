// Package sigchain plays and validates the chains of users: it decides whether a
// posted link may be appended, and says what a chain means.
//
// It owns the meaning of a chain: which keys and devices a user has, which may
// sign, who is followed. It promises that a chain it has accepted link by link
// loads in every stock client, for clients verify each link anew and for ever,
// and one wrongly accepted link makes an account useless. Where clients are lax
// it is strict; it never takes more than the strictest client takes, and it takes
// whatever the stock client v6.3.0 sends.
//
// Three steps, from pure to stateful:
//
//   - Parse reads one posted link by itself: packet, signatures, shape. It needs
//     no state and costs the most, so doors do it before a transaction.
//   - State.Apply judges one link against the chain so far and the Env (roots,
//     clock, keys of others). A State is never changed: Apply returns another.
//   - CheckBatch judges what one request posts together, including the boxes that
//     have to come with it, by applying link after link.
//
// Records hold links as received; Replay plays a chain again from records alone.
// The pure part imports compat/kbsig and the standard library; storage is beside it
// in its own files. Protocol: docs of the client in go/libkb/chain_link.go,
// chain_link_v2.go, sig_chain.go, keyfamily.go and id_table.go.
package sigchain
