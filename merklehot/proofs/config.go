package proofs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/keystead/keystead/merklehot/pvl"
)

// Limits of the configuration of a generic service.
const (
	// configBytesMax bounds one service's configuration as text.
	configBytesMax = 64 << 10
	// selectorsMax bounds a path in what a service answers.
	selectorsMax = 16
	// nameBytesMax bounds the names that a service may give.
	nameBytesMax = 256
)

// Config describes a generic service: one that people prove a name at by following a
// link, and that answers a question for the proofs of a name in JSON.
// client: go/protocol/keybase1/prove_common.go:ParamProofServiceConfig
type Config struct {
	Version     int            `json:"version"`
	Domain      string         `json:"domain"`
	DisplayName string         `json:"display_name"`
	Description string         `json:"description"`
	Username    ConfigName     `json:"username"`
	BrandColor  string         `json:"brand_color"`
	PrefillURL  string         `json:"prefill_url"`
	ProfileURL  string         `json:"profile_url"`
	CheckURL    string         `json:"check_url"`
	CheckPath   []pvl.Selector `json:"check_path"`
	AvatarPath  []pvl.Selector `json:"avatar_path"`

	// Shown beside; not part of the configuration that clients get.
	Group    string `json:"-"`
	Priority int    `json:"-"`
	LogoKey  string `json:"-"`

	re *regexp.Regexp
}

// ConfigName says which names people have at the service.
type ConfigName struct {
	Re  string `json:"re"`
	Min int    `json:"min"`
	Max int    `json:"max"`
}

// configFile is a service's file: what clients get, and how it is shown.
type configFile struct {
	Config
	Group    string `json:"group"`
	Priority int    `json:"priority"`
	LogoKey  string `json:"logo_key"`
}

// domainName is what clients take for the name of a service in an assertion.
// client: go/libkb/assertion.go:assertionServiceRxx
var domainName = regexp.MustCompile(`^[a-z.-]+$`)

// ParseConfig reads an operator's file about one service: JSON with the fields of
// Config, and optionally group, priority and logo_key.
func ParseConfig(text []byte) (*Config, error) {
	if len(text) > configBytesMax {
		return nil, fmt.Errorf("%d bytes, more than %d", len(text), configBytesMax)
	}
	var f configFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("something follows the first object")
	}
	c := f.Config
	c.Group, c.Priority, c.LogoKey = f.Group, f.Priority, f.LogoKey
	return &c, c.prepare()
}

// prepare checks a configuration as the strictest client does, for one that a client
// skips is a service that some have and some have not.
// client: go/externals/proof_service_generic_social.go:parseAndValidate
func (c *Config) prepare() (err error) {
	switch {
	case c.Version < 1:
		return fmt.Errorf("version: write 1 or more")
	case !domainName.MatchString(c.Domain) || !strings.Contains(c.Domain, ".") || len(c.Domain) > serviceBytesMax:
		return fmt.Errorf("domain: %.80q is not a name such as \"example.org\", in lower case and without digits", c.Domain)
	case c.DisplayName == "":
		return fmt.Errorf("display_name is missing")
	case c.Username.Min < 1 || c.Username.Max < c.Username.Min || c.Username.Max > nameBytesMax:
		return fmt.Errorf("username: min and max are not from 1 to %d, in this order", nameBytesMax)
	case len(c.CheckPath) == 0 || len(c.CheckPath) > selectorsMax || len(c.AvatarPath) > selectorsMax:
		return fmt.Errorf("check_path: write 1 to %d selectors", selectorsMax)
	}
	if c.re, err = regexp.Compile(c.Username.Re); err != nil || !strings.HasPrefix(c.Username.Re, "^") || !strings.HasSuffix(c.Username.Re, "$") {
		return fmt.Errorf("username.re: not a regular expression from ^ to $")
	}
	for _, u := range []struct {
		field, url string
		has        []string
	}{
		{"prefill_url", c.PrefillURL, []string{"%{kb_username}", "%{username}", "%{sig_hash}", "%{kb_ua}"}},
		{"profile_url", c.ProfileURL, []string{"%{username}"}},
		{"check_url", c.CheckURL, []string{"%{username}"}},
	} {
		for _, h := range u.has {
			if !strings.Contains(u.url, h) {
				return fmt.Errorf("%s: %s is missing", u.field, h)
			}
		}
		p, err := url.Parse(strings.NewReplacer("%{", "", "}", "").Replace(u.url))
		if err != nil || p.Scheme != "https" && p.Scheme != "http" || p.Hostname() == "" || p.User != nil {
			return fmt.Errorf("%s: %.80q is not an address that begins with https://", u.field, u.url)
		}
	}
	return nil
}

// nameOK reports whether somebody may have a name there.
// client: go/externals/proof_service_generic_social.go:validateRemoteUsername
func (c *Config) nameOK(name string) bool {
	return len(name) >= c.Username.Min && len(name) <= c.Username.Max && c.re.MatchString(strings.ToLower(name))
}

// fill puts a name into an address, once, as clients do. Only letters that mean nothing
// in an address get there: a regular expression may allow more than its writer thought.
func (c *Config) fill(address, name string) (string, bool) {
	if strings.ContainsAny(name, "/?#%&\\ @:") {
		return "", false
	}
	return strings.Replace(address, "%{username}", name, 1), true
}
