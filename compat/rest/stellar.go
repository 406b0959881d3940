package rest

import (
	"errors"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/identity"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/sigchain"
)

// The server keeps people's encrypted wallets, and has no connection with the Stellar
// network: all that asks for balances or payments is absent. So outside devel mode no
// client is told to make a wallet.

// mobileWait is how long a mobile device must be part of an account before it gets the
// secrets of mobile-only accounts.
const mobileWait = 7 * 24 * time.Hour

// stellarCode is the answer to what is wrong with a wallet.
// client: go/protocol/keybase1/constants.go:StatusCode
var stellarCodes = []struct {
	err  error
	code int
	name string
}{
	{keyboxes.ErrWalletInput, 3101, "STELLAR_BAD_INPUT"},
	{keyboxes.ErrWalletRevision, 3102, "STELLAR_WRONG_REVISION"},
	{keyboxes.ErrNoWallet, 3103, "STELLAR_MISSING_BUNDLE"},
	{keyboxes.ErrWalletKey, 3104, "STELLAR_BAD_PUK"},
	{keyboxes.ErrNoWalletAccount, 3105, "STELLAR_MISSING_ACCOUNT"},
	{keyboxes.ErrWalletPrev, 3106, "STELLAR_BAD_PREV"},
	{keyboxes.ErrWalletPrimary, 3107, "STELLAR_WRONG_PRIMARY"},
	{keyboxes.ErrWalletDisclaimer, 3109, "STELLAR_NEED_DISCLAIMER"},
}

// walletFault turns what is wrong with a wallet into the code that clients understand.
func walletFault(err error) error {
	for _, c := range stellarCodes {
		if errors.Is(err, c.err) {
			return status.New(c.code, c.name, c.err.Error())
		}
	}
	return err
}

// stellarShouldCreate: GET stellar/shouldcreate.
// client: go/stellar/remote/remote.go:ShouldCreate
func stellarShouldCreate(c *call) (any, error) {
	w, err := keyboxes.LoadWallet(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	accepted, has := w.Disclaimer != 0, w.Revision > 0
	return struct {
		ShouldCreate       bool `json:"shouldcreate"`
		HasWallet          bool `json:"haswallet"`
		AcceptedDisclaimer bool `json:"accepteddisclaimer"`
	}{c.s.Devel && accepted && !has, has, accepted}, nil
}

// currency is one that amounts can be shown in.
// client: go/protocol/stellar1/common.go:OutsideCurrencyDefinition
type currency struct {
	Name   string         `json:"name"`
	Symbol currencySymbol `json:"symbol"`
}

type currencySymbol struct {
	Str       string `json:"str"`
	Ambiguous bool   `json:"ambigious"` // spelled as clients do
	Postfix   bool   `json:"postfix"`
}

var currencies = map[string]currency{
	"AUD": {"Australian Dollar", currencySymbol{"$", true, false}},
	"BRL": {"Brazilian Real", currencySymbol{"R$", false, false}},
	"CAD": {"Canadian Dollar", currencySymbol{"$", true, false}},
	"CHF": {"Swiss Franc", currencySymbol{"CHF", false, true}},
	"CLP": {"Chilean Peso", currencySymbol{"$", true, false}},
	"CNY": {"Chinese Yuan", currencySymbol{"¥", true, false}},
	"COP": {"Colombian Peso", currencySymbol{"$", true, false}},
	"CZK": {"Czech Koruna", currencySymbol{"Kč", false, true}},
	"DKK": {"Danish Krone", currencySymbol{"kr", true, true}},
	"EUR": {"Euro", currencySymbol{"€", false, false}},
	"GBP": {"Pound Sterling", currencySymbol{"£", false, false}},
	"HKD": {"Hong Kong Dollar", currencySymbol{"$", true, false}},
	"HUF": {"Hungarian Forint", currencySymbol{"Ft", false, true}},
	"IDR": {"Indonesian Rupiah", currencySymbol{"Rp", false, false}},
	"ILS": {"Israeli New Shekel", currencySymbol{"₪", false, false}},
	"INR": {"Indian Rupee", currencySymbol{"₹", false, false}},
	"JPY": {"Japanese Yen", currencySymbol{"¥", true, false}},
	"KRW": {"South Korean Won", currencySymbol{"₩", false, false}},
	"MXN": {"Mexican Peso", currencySymbol{"$", true, false}},
	"MYR": {"Malaysian Ringgit", currencySymbol{"RM", false, false}},
	"NGN": {"Nigerian Naira", currencySymbol{"₦", false, false}},
	"NOK": {"Norwegian Krone", currencySymbol{"kr", true, true}},
	"NZD": {"New Zealand Dollar", currencySymbol{"$", true, false}},
	"PHP": {"Philippine Peso", currencySymbol{"₱", false, false}},
	"PLN": {"Polish Zloty", currencySymbol{"zł", false, true}},
	"RON": {"Romanian Leu", currencySymbol{"lei", false, true}},
	"SEK": {"Swedish Krona", currencySymbol{"kr", true, true}},
	"SGD": {"Singapore Dollar", currencySymbol{"$", true, false}},
	"THB": {"Thai Baht", currencySymbol{"฿", false, false}},
	"TRY": {"Turkish Lira", currencySymbol{"₺", false, false}},
	"TWD": {"New Taiwan Dollar", currencySymbol{"NT$", false, false}},
	"USD": {"US Dollar", currencySymbol{"$", false, false}},
}

// stellarConfig: GET stellar/config.
// client: go/stellar/remote/serverconfig.go:FetchServerConfig
func stellarConfig(*call) (any, error) {
	return struct {
		Revision   int                 `json:"revision"`
		Currencies map[string]currency `json:"currencies"`
	}{1, currencies}, nil
}

// stellarAccounts: GET stellar/all_details_plus_payments. What is on the ledger of
// somebody's accounts is not known here; of somebody without accounts there is nothing.
// client: go/stellar/remote/remote.go:AllDetailsPlusPayments
func stellarAccounts(c *call) (any, error) {
	w, err := keyboxes.LoadWallet(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	if w.Revision > 0 {
		return nil, status.New(3100, "STELLAR_ERROR", "this server has no connection with the Stellar network")
	}
	return struct {
		Res []any `json:"res"`
	}{[]any{}}, nil
}

// stellarInflation: GET stellar/inflation_destinations. The network pays none any more,
// so there is nothing to recommend. client: go/stellar/remote/remote.go:GetInflationDestinations
func stellarInflation(*call) (any, error) {
	return struct {
		Destinations []any `json:"destinations"`
	}{[]any{}}, nil
}

// stellarDisclaimer: GET stellar/disclaimer.
// client: go/stellar/remote/remote.go:GetAcceptedDisclaimer
func stellarDisclaimer(c *call) (any, error) {
	w, err := keyboxes.LoadWallet(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	return struct {
		Accepted bool `json:"accepted_disclaimer"`
	}{w.Disclaimer != 0}, nil
}

// stellarAccept: POST stellar/disclaimer.
// client: go/stellar/remote/remote.go:SetAcceptedDisclaimer
func stellarAccept(c *call) (any, error) {
	return none{}, c.update(func(tx *store.Tx) error { return keyboxes.AcceptDisclaimer(tx, c.who.UID) })
}

// walletParts is a wallet as clients read it.
// client: go/stellar/bundle/boxer.go:BundleEncoded
type walletParts struct {
	Encrypted string            `json:"encrypted_parent"`
	Visible   string            `json:"visible_parent"`
	Version   int               `json:"version_parent"`
	Bundles   map[string]string `json:"account_bundles"`
}

// walletJSON is a wallet as clients send it, in key/multi and stellar/acctbundle: the
// text of an account's bundle stands beside its parts, which say the same.
// client: go/stellar/remote/remote.go:Post, go/stellar/bundle/boxer.go:AcctBoxedEncoded
type walletJSON struct {
	Encrypted string `json:"encrypted_parent"`
	Visible   string `json:"visible_parent"`
	Version   int    `json:"version_parent"`
	Bundles   map[string]struct {
		Text string `json:"EncB64"`
	} `json:"account_bundles"`
}

// wallet is a wallet as it is posted.
func (c *call) wallet(w *walletJSON) keyboxes.WalletPost {
	p := keyboxes.WalletPost{
		Encrypted: w.Encrypted, Visible: w.Visible, Version: w.Version, Bundles: map[string]string{},
		Mobile: func(tx *store.Tx) error { return c.mayReadMobileOnly(tx) },
	}
	for id, b := range w.Bundles {
		p.Bundles[id] = b.Text
	}
	return p
}

// walletPut: POST stellar/acctbundle: a wallet whose primary account stays.
func walletPut(c *call) (any, error) {
	var body struct {
		Stellar *walletJSON `json:"stellar"`
	}
	if err := c.body(&body); err != nil {
		return nil, err
	}
	if body.Stellar == nil {
		return nil, status.InputField("stellar", "the argument stellar is missing")
	}
	return none{}, walletFault(c.update(func(tx *store.Tx) error {
		st, err := identity.Chain(tx, c.who.UID)
		if err != nil {
			return err
		}
		if st.Wallet == nil {
			return keyboxes.ErrNoWallet
		}
		return keyboxes.PutWallet(tx, c.who.UID, st.PUKGeneration(), st.Wallet.Address, c.wallet(body.Stellar))
	}))
}

// walletGet: GET stellar/acctbundle: the wallet, with the secrets of at most one
// account. client: go/stellar/remote/remote.go:FetchAccountBundle
func walletGet(c *call) (any, error) {
	w, err := keyboxes.LoadWallet(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	if w.Revision == 0 {
		return nil, walletFault(keyboxes.ErrNoWallet)
	}
	out := walletParts{w.Encrypted, w.Visible, w.Version, map[string]string{}}
	if c.has("account_id") {
		a, err := w.Account(c.raw("account_id"))
		if err != nil {
			return nil, walletFault(err)
		}
		if a.Mode == keyboxes.WalletMobile {
			if err := c.mayReadMobileOnly(c.view()); err != nil {
				return nil, err
			}
		}
		out.Bundles[a.ID] = a.Bundle
	}
	return out, nil
}

// mayReadMobileOnly: only mobile devices that have been part of the account for a while
// get the secrets of mobile-only accounts.
func (c *call) mayReadMobileOnly(r store.Reader) error {
	st, err := identity.Chain(r, c.who.UID)
	if err != nil {
		return err
	}
	d, ok := st.Device(c.who.DeviceID)
	if !ok || d.Type != sigchain.DeviceMobile {
		return status.New(3110, "STELLAR_DEVICE_NOT_MOBILE", "the secrets of this account are for mobile devices only")
	}
	kept, err := accounts.GetDevice(r, c.who.UID, d.ID)
	if err != nil {
		return err
	}
	if c.s.Clock().Sub(time.Unix(kept.CTime, 0)) < mobileWait {
		return status.New(3111, "STELLAR_MOBILE_ONLY_PURGATORY", "this mobile device is too new; it gets the secrets of this account after a week")
	}
	return nil
}

// stellarCurrency: GET stellar/accountcurrency; empty if none was chosen.
// client: go/stellar/remote/remote.go:GetAccountDisplayCurrency
func stellarCurrency(c *call) (any, error) {
	w, err := keyboxes.LoadWallet(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	if _, err := w.Account(c.raw("account_id")); err != nil {
		return nil, walletFault(err)
	}
	return struct {
		Preference string `json:"currency_display_preference"`
	}{w.Currencies[c.raw("account_id")]}, nil
}

// stellarSetCurrency: POST stellar/accountcurrency.
// client: go/stellar/remote/remote.go:SetAccountDefaultCurrency
func stellarSetCurrency(c *call) (any, error) {
	code := c.raw("currency")
	if _, ok := currencies[code]; !ok {
		return nil, status.New(3108, "STELLAR_UNSUPPORTED_CURRENCY", "amounts cannot be shown in that currency")
	}
	return none{}, walletFault(c.update(func(tx *store.Tx) error {
		return keyboxes.SetCurrency(tx, c.who.UID, c.raw("account_id"), code)
	}))
}

// stellarLookup: GET stellar/lookup: whose primary account it is; nobody's is no error.
// Clients check it against the chain. client: go/stellar/remote/remote.go:LookupUnverified
func stellarLookup(c *call) (any, error) {
	id, err := c.str("account_id")
	if err != nil {
		return nil, err
	}
	found, err := people.ByProof(c.view(), people.ServiceWallet, id)
	if err != nil {
		return nil, err
	}
	type row struct {
		UID         string      `json:"uid"`
		EldestSeqno kbsig.Seqno `json:"eldest_seqno"`
	}
	rows := []row{}
	for _, u := range found {
		st, err := identity.Chain(c.view(), u)
		if err != nil {
			return nil, err
		}
		if st.Wallet != nil && st.Wallet.Address == id {
			rows = append(rows, row{u.String(), st.EldestSeqno})
		}
	}
	return struct {
		Users []row `json:"users"`
	}{rows}, nil
}

// stellarTimebounds: GET stellar/timebounds: the time here, and how long a transaction
// should be good. client: go/stellar/remote/remote.go:ServerTimeboundsRecommendation
func stellarTimebounds(c *call) (any, error) {
	const good = 30 // seconds
	return struct {
		TimeNow int64 `json:"time_now"` // seconds
		Timeout int64 `json:"timeout"`
	}{c.s.Clock().Unix(), good}, nil
}
