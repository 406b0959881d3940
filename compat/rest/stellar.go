package rest

// There is no wallet; clients then show none.
// client: go/stellar/remote/remote.go:ShouldCreate

// stellarShouldCreate: GET stellar/shouldcreate.
func stellarShouldCreate(*call) (any, error) {
	return struct {
		ShouldCreate       bool `json:"shouldcreate"`
		HasWallet          bool `json:"haswallet"`
		AcceptedDisclaimer bool `json:"accepteddisclaimer"`
	}{}, nil
}

// stellarConfig: GET stellar/config.
// client: go/stellar/remote/serverconfig.go:FetchServerConfig
func stellarConfig(*call) (any, error) {
	return struct {
		Revision   int            `json:"revision"`
		Currencies map[string]any `json:"currencies"`
	}{1, map[string]any{}}, nil
}

// stellarAccounts: GET stellar/all_details_plus_payments: a list, without accounts.
// client: go/stellar/remote/remote.go:AllDetailsPlusPayments
func stellarAccounts(*call) (any, error) {
	return struct {
		Res []any `json:"res"`
	}{[]any{}}, nil
}
