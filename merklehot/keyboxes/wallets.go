package keyboxes

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/keybase/go-codec/codec"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

const (
	// walletAccountsMax bounds the accounts of one wallet.
	walletAccountsMax = 50
	// walletPartBytesMax bounds each encrypted part of a wallet, as base64.
	walletPartBytesMax = 64 << 10
	// currencyBytesMax bounds the name of a currency.
	currencyBytesMax = 16
	// accountIDBytes is the length of a Stellar account id in base32.
	accountIDBytes = 56
)

// Why a wallet is refused.
var (
	ErrWalletInput      = errors.New("this is not an encrypted wallet")
	ErrWalletRevision   = errors.New("the wallet has been changed meanwhile")
	ErrWalletPrev       = errors.New("the wallet does not follow from the one before")
	ErrWalletKey        = errors.New("the wallet is not encrypted for the newest per-user key")
	ErrWalletPrimary    = errors.New("the wallet has another primary account than the chain says")
	ErrWalletDisclaimer = errors.New("the disclaimer has not been accepted")
	ErrNoWallet         = errors.New("there is no wallet")
	ErrNoWalletAccount  = errors.New("there is no such account in the wallet")
)

// Modes of a wallet's accounts. client: go/protocol/stellar1/common.go:AccountMode
const (
	WalletUser   = 1
	WalletMobile = 2 // its secrets are for mobile devices only
)

// Wallet is a user's wallet: what only the user's devices can read, and what the server
// must know to keep its versions in order. client: go/stellar/bundle/boxer.go:BundleEncoded
type Wallet struct {
	// Disclaimer is when the user accepted it, in Unix seconds; 0: not.
	Disclaimer int64 `codec:"d,omitempty"`

	Revision  int64  `codec:"r,omitempty"` // 0: there is no wallet yet
	Encrypted string `codec:"e,omitempty"` // base64
	Visible   string `codec:"v,omitempty"` // base64
	Version   int    `codec:"n,omitempty"`
	// Hash is that of Encrypted, which the next revision names.
	Hash     []byte          `codec:"h,omitempty"`
	Accounts []WalletAccount `codec:"a,omitempty"`

	// Currencies are those in which the user wants amounts shown, by account.
	Currencies map[string]string `codec:"c,omitempty"`
}

// WalletAccount is one account of a wallet.
type WalletAccount struct {
	ID       string `codec:"i"`
	Mode     int    `codec:"m"`
	Primary  bool   `codec:"p,omitempty"`
	Revision int64  `codec:"r"`
	Hash     []byte `codec:"h"`
	Bundle   string `codec:"b"` // base64
}

// WalletPost is a new revision of a wallet.
type WalletPost struct {
	Encrypted, Visible string
	Version            int
	Bundles            map[string]string // those that changed, by account
	// Mobile says whether the device that posts may have the secrets of mobile-only
	// accounts; it is asked if one of those is changed, or becomes one.
	Mobile func(tx *store.Tx) error
}

// visibleWallet is the part of a wallet that the server reads.
// client: go/protocol/stellar1/bundle.go:BundleVisibleV2
type visibleWallet struct {
	Revision int64  `codec:"revision"`
	Prev     []byte `codec:"prev"`
	Accounts []struct {
		ID       string `codec:"accountID"`
		Mode     int    `codec:"mode"`
		Primary  bool   `codec:"isPrimary"`
		Revision int64  `codec:"acctBundleRevision"`
		Hash     []byte `codec:"encAcctBundleHash"`
	} `codec:"accounts"`
}

// boxedWallet is an encrypted part. client: go/protocol/stellar1/bundle.go:EncryptedBundle
type boxedWallet struct {
	Version    int    `codec:"v"`
	Box        []byte `codec:"e"`
	Nonce      []byte `codec:"n"`
	Generation int64  `codec:"gen"`
}

var walletHandle = &codec.MsgpackHandle{WriteExt: true}

// walletVersion is the form of wallets that clients write, and the only one that they
// read. client: go/stellar/bundle/boxer.go:BoxAndEncode
const walletVersion = 2

// unpack reads base64 of msgpack, all of it.
func unpack(s string, into any) ([]byte, error) {
	if s == "" || len(s) > walletPartBytesMax {
		return nil, ErrWalletInput
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, ErrWalletInput
	}
	dec := codec.NewDecoderBytes(b, walletHandle)
	if err := dec.Decode(into); err != nil || dec.NumBytesRead() != len(b) {
		return nil, ErrWalletInput
	}
	return b, nil
}

// LoadWallet loads a user's wallet; of somebody without one the revision is 0.
func LoadWallet(r store.Reader, u kbsig.UID) (*Wallet, error) {
	w, err := store.Load[Wallet](r, keys.Wallet(u))
	if errors.Is(err, store.ErrNotFound) {
		return &Wallet{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wallet of %s: %w", u, err)
	}
	return &w, nil
}

// AcceptDisclaimer notes that the user did.
func AcceptDisclaimer(tx *store.Tx, u kbsig.UID) error {
	w, err := LoadWallet(tx, u)
	if err != nil || w.Disclaimer != 0 {
		return err
	}
	w.Disclaimer = tx.Now().Unix()
	store.Save(tx, keys.Wallet(u), w)
	return nil
}

// PutWallet stores the next revision of a wallet. generation is the newest of the
// per-user key, primary the account of which the user's chain speaks.
func PutWallet(tx *store.Tx, u kbsig.UID, generation int64, primary string, p WalletPost) error {
	w, err := LoadWallet(tx, u)
	if err != nil {
		return err
	}
	// First of all: who may not have the secrets learns nothing of their versions.
	if touches, err := w.touchesMobile(p); err != nil {
		return err
	} else if touches && p.Mobile != nil {
		if err := p.Mobile(tx); err != nil {
			return err
		}
	}
	if err := w.advance(generation, primary, p); err != nil {
		return err
	}
	store.Save(tx, keys.Wallet(u), w)
	return nil
}

// advance makes the wallet the posted revision, if it may follow.
func (w *Wallet) advance(generation int64, primary string, p WalletPost) error {
	if w.Disclaimer == 0 {
		return ErrWalletDisclaimer
	}
	var visible visibleWallet
	if _, err := unpack(p.Visible, &visible); err != nil {
		return err
	}
	hash, err := checkBox(p.Encrypted, generation)
	if err != nil {
		return err
	}
	switch {
	case visible.Revision != w.Revision+1:
		return ErrWalletRevision
	case string(visible.Prev) != string(w.Hash):
		return ErrWalletPrev
	case len(visible.Accounts) == 0, len(visible.Accounts) > walletAccountsMax, p.Version != walletVersion:
		return ErrWalletInput
	}
	accounts, used, primaries := make([]WalletAccount, 0, len(visible.Accounts)), 0, 0
	for _, v := range visible.Accounts {
		next := WalletAccount{ID: v.ID, Mode: v.Mode, Primary: v.Primary, Revision: v.Revision, Hash: v.Hash}
		bundle, changed := p.Bundles[v.ID]
		if err := next.follow(w.account(v.ID), bundle, changed, generation); err != nil {
			return err
		}
		if changed {
			used++
		}
		if v.Primary {
			if primaries++; v.ID != primary {
				return ErrWalletPrimary
			}
		}
		for _, a := range accounts {
			if a.ID == v.ID {
				return ErrWalletInput
			}
		}
		accounts = append(accounts, next)
	}
	if used != len(p.Bundles) {
		return ErrNoWalletAccount
	}
	if primaries != 1 {
		return ErrWalletPrimary
	}
	// New accounts are shown in the currency of the primary one.
	for _, a := range accounts {
		if usual := w.Currencies[w.primary()]; w.account(a.ID) == nil && usual != "" {
			w.Currencies[a.ID] = usual
		}
	}
	w.Revision, w.Encrypted, w.Visible, w.Version = visible.Revision, p.Encrypted, p.Visible, p.Version
	w.Hash, w.Accounts = hash, accounts
	return nil
}

// touchesMobile reports whether a post changes a mobile-only account, or makes one, or
// makes one an account for all devices.
func (w *Wallet) touchesMobile(p WalletPost) (bool, error) {
	var visible visibleWallet
	if _, err := unpack(p.Visible, &visible); err != nil {
		return false, err
	}
	for _, v := range visible.Accounts {
		old := w.account(v.ID)
		_, changed := p.Bundles[v.ID]
		switch {
		case old == nil && v.Mode == WalletMobile,
			old != nil && old.Mode != v.Mode,
			old != nil && old.Mode == WalletMobile && changed:
			return true, nil
		}
	}
	return false, nil
}

// follow decides whether an account may stand after old, which is nil if it is new, and
// takes its secrets from the new bundle or from the old one.
func (a *WalletAccount) follow(old *WalletAccount, bundle string, changed bool, generation int64) error {
	if !plausibleAccount(a.ID) || a.Mode != WalletUser && a.Mode != WalletMobile {
		return ErrWalletInput
	}
	if !changed {
		if old == nil {
			return ErrNoWalletAccount
		}
		if a.Revision != old.Revision || string(a.Hash) != string(old.Hash) || a.Mode != old.Mode {
			return ErrWalletRevision
		}
		a.Bundle = old.Bundle
		return nil
	}
	hash, err := checkBox(bundle, generation)
	if err != nil {
		return err
	}
	if string(hash) != string(a.Hash) {
		return ErrWalletInput
	}
	if old != nil && a.Revision != old.Revision+1 || old == nil && a.Revision != 1 {
		return ErrWalletRevision
	}
	a.Bundle = bundle
	return nil
}

// checkBox checks the outside of an encrypted part and returns its hash.
func checkBox(s string, generation int64) ([]byte, error) {
	var box boxedWallet
	raw, err := unpack(s, &box)
	if err != nil {
		return nil, err
	}
	const nonceBytes = 24
	if len(box.Nonce) != nonceBytes || len(box.Box) == 0 {
		return nil, ErrWalletInput
	}
	if box.Generation != generation {
		return nil, ErrWalletKey
	}
	h := sha256.Sum256(raw)
	return h[:], nil
}

func plausibleAccount(id string) bool {
	return len(id) == accountIDBytes && id[0] == 'G' && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

func (w *Wallet) primary() string {
	for _, a := range w.Accounts {
		if a.Primary {
			return a.ID
		}
	}
	return ""
}

func (w *Wallet) account(id string) *WalletAccount {
	for i := range w.Accounts {
		if w.Accounts[i].ID == id {
			return &w.Accounts[i]
		}
	}
	return nil
}

// Account is one account of a wallet; the error says whether wallet or account is
// missing.
func (w *Wallet) Account(id string) (*WalletAccount, error) {
	if w.Revision == 0 {
		return nil, ErrNoWallet
	}
	if a := w.account(id); a != nil {
		return a, nil
	}
	return nil, ErrNoWalletAccount
}

// SetCurrency notes in which currency the user wants an account's amounts shown.
func SetCurrency(tx *store.Tx, u kbsig.UID, account, currency string) error {
	w, err := LoadWallet(tx, u)
	if err != nil {
		return err
	}
	if _, err := w.Account(account); err != nil {
		return err
	}
	if currency == "" || len(currency) > currencyBytesMax {
		return ErrWalletInput
	}
	if w.Currencies == nil {
		w.Currencies = map[string]string{}
	}
	w.Currencies[account] = currency
	store.Save(tx, keys.Wallet(u), w)
	return nil
}
