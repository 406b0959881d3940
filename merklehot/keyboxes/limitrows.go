package keyboxes

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("walletAccountsMax", walletAccountsMax, "accounts", "of one wallet"),
		limits.Bytes("walletPartBytesMax", walletPartBytesMax, "of each encrypted part of a wallet"),
		limits.Bytes("currencyBytesMax", currencyBytesMax, "of the name of a currency"),
	}
}
