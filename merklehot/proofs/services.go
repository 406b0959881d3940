package proofs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/pvl"
)

// Limits of names.
const (
	// hostnameBytesMax bounds a host or domain that is proven.
	hostnameBytesMax = 253
	// serviceBytesMax bounds a service's name in a link.
	serviceBytesMax = 253
)

// Type is the number of a kind of proof.
// client: go/protocol/keybase1/prove_common.go:ProofType
type Type int

// Kinds of proofs.
const (
	TypeTwitter       Type = 2
	TypeGitHub        Type = 3
	TypeReddit        Type = 4
	TypeHackerNews    Type = 6
	TypeFacebook      Type = 8
	TypeGenericSocial Type = 9
	TypeWebSite       Type = 1000
	TypeDNS           Type = 1001
	TypeRooter        Type = 100001
)

// Names of services that are no social networks.
const (
	serviceDNS   = "dns"
	serviceHTTP  = "http"
	serviceHTTPS = "https"
)

// Errors of names.
var (
	// ErrUnknownService says that this server cannot check proofs of a service.
	ErrUnknownService = errors.New("this server does not know that service")
	// ErrBadName says that nobody can have that name at a service.
	ErrBadName = errors.New("that is not a name that one can have there")
)

// service is one place whose proofs can be checked.
type service struct {
	name    string
	typ     Type
	program string         // in the kit; empty for generic ones, which have config
	names   *regexp.Regexp // that people have there
	exact   bool           // names that differ by case are different
	config  *Config
	// text is what people are told to publish, meta what the client wants beside it.
	text func(t telling) (text string, meta map[string]any)
	// human is where people see the proof, if the place is known by the name alone.
	human func(name string) string
}

// site reports a proof of a web site or a domain, not of a name in a network: people
// may have many of them at a time. client: go/libkb/id_table.go:WebProofChainLink.LastWriterWins
func (s *service) site() bool { return s.typ == TypeWebSite || s.typ == TypeDNS }

// fixed are the services that stock clients have built in.
// client: go/externals/proof_checkers.go:getStaticProofServices
func fixed(devel bool) []*service {
	out := []*service{
		{name: serviceDNS, typ: TypeDNS, program: pvl.TypeDNS, text: domainText, human: func(n string) string { return "dns://" + n }},
		{name: serviceHTTP, typ: TypeWebSite, program: pvl.TypeWeb, text: siteText, human: func(n string) string { return "http://" + n + webFiles[0] }},
		{name: serviceHTTPS, typ: TypeWebSite, program: pvl.TypeWeb, text: siteText, human: func(n string) string { return "https://" + n + webFiles[0] }},
		{name: "github", typ: TypeGitHub, program: "github", names: regexp.MustCompile(`^(?i:[a-z0-9][a-z0-9-]{0,38})$`), text: signatureText,
			human: func(n string) string { return "https://gist.github.com/" + n }},
		{name: "reddit", typ: TypeReddit, program: "reddit", names: regexp.MustCompile(`^(?i:[a-z0-9_-]{3,20})$`), text: redditText,
			human: func(n string) string { return "https://www.reddit.com/user/" + n }},
		{name: "hackernews", typ: TypeHackerNews, program: "hackernews", names: regexp.MustCompile(`^(?i:[a-z0-9_-]{2,15})$`), exact: true, text: hackerNewsText,
			human: func(n string) string { return "https://news.ycombinator.com/user?id=" + n }},
		{name: "twitter", typ: TypeTwitter, program: "twitter", names: regexp.MustCompile(`^(?i:[a-z0-9_]{1,20})$`), text: shortText,
			human: func(n string) string { return "https://twitter.com/" + n }},
		{name: "facebook", typ: TypeFacebook, program: "facebook", names: regexp.MustCompile(`^(?i:[a-z0-9.]{1,50})$`), text: mediumText,
			human: func(n string) string { return "https://www.facebook.com/" + n }},
	}
	if devel {
		out = append(out, &service{name: "rooter", typ: TypeRooter, program: "rooter", names: regexp.MustCompile(`^(?i:[a-z0-9_]{1,20})$`), text: mediumText,
			human: func(n string) string { return "https://rooter.example/" + n }})
	}
	return out
}

// webFiles are where a web site's proof may lie.
var webFiles = []string{"/.well-known/keybase.txt", "/keybase.txt"}

var hostLabel = regexp.MustCompile(`^(?i:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])$`)

// hostname reports whether clients take a name for one of a host: labels, of which the
// last has two characters or more and is not a number.
// client: go/libkb/util.go:IsValidHostname, go/pvl/helpers.go:validateDomain
func hostname(s string) bool {
	labels := strings.Split(s, ".")
	last := labels[len(labels)-1]
	if len(s) > hostnameBytesMax || len(labels) < 2 || len(last) < 2 || strings.Trim(last, "0123456789") == "" {
		return false
	}
	for _, l := range labels {
		if !hostLabel.MatchString(l) {
			return false
		}
	}
	return true
}

// check says whether somebody may have a name at the service.
func (s *service) check(name string) error {
	ok := false
	switch {
	case s.site():
		ok = hostname(name)
	case s.config != nil:
		ok = s.config.nameOK(name)
	default:
		ok = s.names.MatchString(name)
	}
	if !ok {
		return ErrBadName
	}
	return nil
}

// Normal is the form in which names at services are compared. Names of one service
// that differ by case are taken for one: nobody shall look like somebody else.
func Normal(name string) string { return strings.ToLower(name) }

// telling is what a proof's text is made of.
type telling struct {
	user    kbsig.Username
	service *service
	name    string
	sig     kbsig.SigIDBase
	packet  []byte
}

// home is where the name of a user of the canonical host leads. Every link names that
// host, whichever server keeps it.
func (t telling) home() string { return "https://keybase.io/" + string(t.user) }

// domainText: the record. client: go/libkb/services.go:BaseCheckProofTextShort
func domainText(t telling) (string, map[string]any) {
	return "keybase-site-verification=" + t.sig.Medium(), nil
}

// shortText holds the short id and no other word as long.
func shortText(t telling) (string, map[string]any) {
	return fmt.Sprintf("Verifying myself: I am %s on Keybase. %s", t.user, t.sig.Short()), nil
}

// mediumText holds the medium id and no other word as long.
func mediumText(t telling) (string, map[string]any) {
	return fmt.Sprintf("Verifying myself: I am %s on Keybase. %s", t.user, t.sig.Medium()), nil
}

// signatureText holds the signature on a line of its own, and no other line of base64
// as long. client: go/libkb/services.go:BaseCheckProofTextFull
func signatureText(t telling) (string, map[string]any) {
	return fmt.Sprintf("### Keybase proof\n\nI hereby claim:\n\n  * I am %s on %s.\n  * I am %s (%s) on Keybase.\n\nTo prove it, here is the statement, signed by one of my keys:\n\n```\n%s\n```\n",
		t.name, t.service.name, t.user, t.home(), base64.StdEncoding.EncodeToString(t.packet)), nil
}

func siteText(t telling) (string, map[string]any) {
	rule := strings.Repeat("=", 66)
	return fmt.Sprintf("%s\n%s\n\nI hereby claim:\n\n  * I am an admin of %s://%s\n  * I am %s on Keybase.\n\nTo prove it, here is the statement, signed by one of my keys:\n\n%s\n\n%s\n",
		rule, t.home(), t.service.name, t.name, t.user, base64.StdEncoding.EncodeToString(t.packet), rule), nil
}

// redditText: the title names the proof; the text is for people.
// client: go/externals/proof_service_reddit.go:FormatProofText
func redditText(t telling) (string, map[string]any) {
	title := fmt.Sprintf("My Keybase proof [reddit:%s = keybase:%s] (%s)", t.name, t.user, t.sig.Medium())
	text, _ := signatureText(t)
	return text, map[string]any{"title": title}
}

// hackerNewsText has an address that ends with the medium id.
// client: go/libkb/services.go:BaseCheckProofForURL
func hackerNewsText(t telling) (string, map[string]any) {
	return fmt.Sprintf("[ my Keybase account: %s; my proof: %s/sigs/%s ]", t.home(), t.home(), t.sig.Medium()), nil
}
