package sigchain

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
)

// Limits of what people say about themselves and each other.
const (
	// serviceNameMax bounds the name of a service, in characters; services by
	// configuration are named after their domain.
	serviceNameMax = 128
	// remoteNameMax bounds a name at a service, in characters.
	remoteNameMax = 128
	// hostNameMax bounds a web site or a domain, in characters.
	hostNameMax = 253
	// walletNameMax bounds the name of a wallet account, in bytes.
	walletNameMax = 128
)

// ServiceSection is body.service: who the user is elsewhere. Either a name at a
// service, or a web site or domain under a protocol.
// client: go/libkb/id_table.go:ParseServiceBlock, go/libkb/kbsig.go:ServiceProof
type ServiceSection struct {
	Name     string // "twitter", or the domain of a service by configuration
	Username string
	Protocol string // "http:", "https:" or "dns"; empty for a name at a service
	Host     string // in the letters that the user typed
}

// Social reports a name at a service: a later one there takes its place.
func (s *ServiceSection) Social() bool { return s.Protocol == "" }

// Generic reports a service that clients know by configuration only.
func (s *ServiceSection) Generic() bool {
	return s.Social() && !slices.Contains(builtInServices, s.Name)
}

// Key is under what clients list it: of the same key, the last counts.
// client: go/libkb/remote_proof_links.go:RemoteProofLinks.active
func (s *ServiceSection) Key() string {
	if s.Social() {
		return s.Name
	}
	return strings.ToLower(strings.TrimSuffix(s.Protocol, ":") + "://" + s.Host)
}

// builtInServices are those that clients have code for.
// client: go/libkb/constants.go:RemoteServiceTypes
var builtInServices = []string{"twitter", "facebook", "github", "reddit", "coinbase", "hackernews", "rooter"}

// notServices mean something else in front of a name.
// client: go/libkb/assertion.go:ParseAssertionURLKeyValue
var notServices = []string{
	"keybase", "uid", "username", "web", "http", "https", "dns", "pgp", "fingerprint",
	"email", "phone", "team", "tid", "generic_social", "generic_web_site",
}

// Shapes of names. client: go/libkb/util.go:IsValidHostname,
// go/externals/proof_service_generic_social.go:validateRemoteUsername
var (
	serviceName = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)
	remoteName  = regexp.MustCompile(`^[a-zA-Z0-9_.+-]+$`)
	hostLabel   = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?$`)
)

// HostOK reports whether clients take it for the name of a web site or domain.
func HostOK(host string) bool {
	labels := strings.Split(host, ".")
	if len(host) > hostNameMax || len(labels) < 2 || len(labels[len(labels)-1]) < 2 {
		return false
	}
	for _, l := range labels {
		if !hostLabel.MatchString(l) {
			return false
		}
	}
	return true
}

// client: go/libkb/id_table.go:ParseWebServiceBinding
func (l *Link) readService(body *kbsig.JSONSection) error {
	s := body.Object("service")
	v := &ServiceSection{}
	switch {
	case !s.Has("protocol"):
		v.Name, v.Username = s.String("name"), s.String("username")
		if s.Has("form") {
			s.Const("form", "mastodon") // client: go/externals/proof_service_generic_social.go:ToServiceJSON
		}
	case s.Has("domain"):
		s.Const("protocol", "dns")
		v.Protocol, v.Host = "dns", s.String("domain")
	default:
		v.Protocol, v.Host = s.String("protocol"), s.String("hostname")
		if v.Protocol != "http:" && v.Protocol != "https:" {
			s.Fail("protocol that is neither http: nor https:")
		}
	}
	readEntropy(&s)
	s.End()
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	switch {
	case !v.Social() && !HostOK(v.Host):
		return refuse(KindInput, "host name of %d characters that is none", len(v.Host))
	case !v.Social():
	case len(v.Name) > serviceNameMax || !serviceName.MatchString(v.Name) || slices.Contains(notServices, v.Name):
		return refuse(KindInput, "service name of %d characters that is none", len(v.Name))
	case len(v.Username) > remoteNameMax || !remoteName.MatchString(v.Username):
		return refuse(KindInput, "name of %d characters at %s that cannot be one", len(v.Username), v.Name)
	}
	l.Service = v
	return l.readSuperseded(body)
}

// CurrencySection is body.cryptocurrency. client: go/libkb/kbsig.go:CryptocurrencySig
type CurrencySection struct {
	Kind    Currency
	Address string
}

// client: go/libkb/id_table.go:ParseCryptocurrencyChainLink
func (l *Link) readCurrency(body *kbsig.JSONSection) error {
	s := body.Object("cryptocurrency")
	v := &CurrencySection{Kind: Currency(s.String("type")), Address: s.String("address")}
	readEntropy(&s)
	s.End()
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	kind, err := CurrencyOf(v.Address)
	if err != nil {
		return refuse(KindInput, "%w", err)
	}
	if kind != v.Kind {
		return refuse(KindInput, "%s address said to be of another kind", kind)
	}
	l.Currency = v
	return l.readSuperseded(body)
}

// WalletSection is body.wallet: a Stellar account, and the key it is named after.
// client: go/libkb/kbsig.go:StellarProof
type WalletSection struct {
	Address string
	Name    string
	KID     kbsig.KID
}

// client: go/libkb/id_table.go:ParseWalletStellarChainLink
func (l *Link) readWallet(body *kbsig.JSONSection) error {
	s, k := body.Object("wallet"), body.Object("wallet_key")
	v := &WalletSection{Address: s.String("address")}
	s.Const("network", "stellar")
	readEntropy(&s)
	if s.Has("name") {
		v.Name = s.String("name")
	}
	s.End()
	v.KID = kbsig.Parsed(&k, "kid", kbsig.ParseKID)
	rev := k.Value("reverse_sig")
	k.End()
	if rev == nil || rev.Kind != kbsig.JSONString {
		k.Fail("reverse_sig is not a string")
	}
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	kid, err := StellarKey(v.Address)
	if err != nil {
		return refuse(KindInput, "wallet: %w", err)
	}
	switch {
	case kid != v.KID:
		return refuse(KindMismatch, "wallet of another key than its account's")
	case len(v.Name) > walletNameMax:
		return refuse(KindInput, "wallet name of %d bytes", len(v.Name))
	}
	if err := kbsig.CheckSigningKey(kid); err != nil {
		return refuse(KindInput, "wallet key: %w", err)
	}
	l.Wallet = v
	return l.checkReverseSig(rev, kid)
}

// ExpansionID stands in a link for a statement that is sent beside it: its HMAC.
// client: go/libkb/id_table.go:EmbedExpansionObj
type ExpansionID [32]byte

// ParseExpansionID parses 64 lower-case hex characters.
func ParseExpansionID(s string) (id ExpansionID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) || hex.EncodeToString(b) != s {
		return id, fmt.Errorf("expansion id: %w", kbsig.ErrBadID)
	}
	return ExpansionID(b), nil
}

func (id ExpansionID) String() string { return hex.EncodeToString(id[:]) }

// client: go/libkb/id_table.go:ParseWotVouch
func (l *Link) readVouch(body *kbsig.JSONSection) error {
	if err := l.readExpansion(body, "wot_vouch"); err != nil {
		return err
	}
	return l.readSuperseded(body)
}

// client: go/libkb/id_table.go:ParseWotReact
func (l *Link) readReaction(body *kbsig.JSONSection) error { return l.readExpansion(body, "wot_react") }

func (l *Link) readExpansion(body *kbsig.JSONSection, name string) error {
	id := kbsig.Parsed(body, name, ParseExpansionID)
	if err := body.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	l.Expansion = &id
	return nil
}

// readSuperseded reads the revoke section of a statement that takes others back. It
// takes signatures only: keys are revoked by links of their own.
// client: go/libkb/chain_link.go:GetRevocations
func (l *Link) readSuperseded(body *kbsig.JSONSection) error {
	if !body.Has("revoke") {
		return nil
	}
	s := body.Object("revoke")
	r := &RevokeSection{SigIDs: readTargets(&s, "sig_id", "sig_ids", kbsig.ParseSigID)}
	s.End()
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if len(r.SigIDs) == 0 {
		return refuse(KindInput, "revoke of nothing")
	}
	l.Revoke = r
	return nil
}

// readRename reads a link about a device that is known already: its new name.
// client: go/libkb/id_table.go:ParseDeviceChainLink, go/libkb/device.go:Merge
func (l *Link) readRename(body *kbsig.JSONSection) error {
	s := body.Object("device")
	d := &DeviceSection{ID: kbsig.Parsed(&s, "id", kbsig.ParseDeviceID)}
	d.KID = kbsig.Parsed(&s, "kid", kbsig.ParseKID)
	d.Status = int(s.Int("status", DeviceActive, DeviceActive))
	d.Name = s.String("name")
	d.Type = kbsig.Parsed(&s, "type", parseDeviceType)
	s.End()
	if err := s.Err(); err != nil {
		return refuse(KindInput, "%w", err)
	}
	if !DeviceNameOK(d.Name) {
		return refuse(KindDeviceName, "device name of %d bytes", len(d.Name))
	}
	l.Device = d
	return nil
}

// readEntropy reads the random bytes that hide a withheld inner link from guessing.
// client: go/libkb/kbsig.go:LinkEntropy
func readEntropy(s *kbsig.JSONSection) {
	if e, err := base64.StdEncoding.Strict().DecodeString(s.String("entropy")); err != nil || len(e) != entropyBytes {
		s.Fail("entropy is not %d bytes", entropyBytes)
	}
}
