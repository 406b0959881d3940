package identity

import (
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// putWallet stores the wallet that comes with links, and keeps the address that the
// chain names leading to its owner.
func putWallet(tx *store.Tx, before, after *sigchain.State, p *keyboxes.WalletPost) error {
	was, is := walletAddress(before), walletAddress(after)
	if was != is {
		if was != "" {
			people.SetProof(tx, after.UID, people.ServiceWallet, was, false)
		}
		if is != "" {
			people.SetProof(tx, after.UID, people.ServiceWallet, is, true)
		}
	}
	if p == nil {
		return nil
	}
	if is == "" {
		return keyboxes.ErrWalletPrimary
	}
	return keyboxes.PutWallet(tx, after.UID, after.PUKGeneration(), is, *p)
}

func walletAddress(st *sigchain.State) string {
	if st.Wallet == nil {
		return ""
	}
	return st.Wallet.Address
}
