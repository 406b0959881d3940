// Package config is the one configuration file of the server: the struct, the
// defaults, the check, and the printed reference, which are all the same text.
//
// The file is TOML. Every field carries its own prose in a `doc` tag; Print writes
// a complete file from the defaults, and parsing that file gives the defaults back
// (a test holds this). A setting comes from the default, then the file, then a
// command-line flag; there is no fourth source. Mistakes are Problems: one line
// each, with the position and with what to change.
//
// The package imports the TOML parser, and engine/limits to check rates. It reads no file, no clock and no
// environment by itself: callers hand in bytes and a getenv function.
package config

import (
	"net"
	"path/filepath"
	"strings"
	"time"
)

// Config is everything an operator can set. The zero value is not useful; start
// from Default.
type Config struct {
	Devel bool `toml:"devel" doc:"Open the hooks for the client's own tests, and print KEYBASE_RUN_MODE=devel among what clients are told. A server serves clients of every run mode with or without it. Anybody may use those hooks: never set this on a server that holds real accounts."`

	Data    Data    `toml:"data" doc:"Where everything is kept."`
	HTTP    HTTP    `toml:"http" doc:"The REST door: what clients call KEYBASE_SERVER_URI."`
	RPC     RPC     `toml:"rpc" doc:"The RPC door (framed msgpack: push messages and chat): what clients call KEYBASE_PUSH_SERVER_URI."`
	Ops     Ops     `toml:"ops" doc:"The operator's listener: /healthz and /metrics."`
	Signup  Signup  `toml:"signup" doc:"Who may make an account."`
	Reset   Reset   `toml:"reset" doc:"Resets of accounts whose owner has none of the devices any more: they wait, so that whoever has a device can cancel them."`
	Mail    Mail    `toml:"mail" doc:"The mail server by which this one writes to people: verification of addresses, resets, reminders of names. Without one nobody can verify an address here, and nothing that needs a mail works; the log and the counter keystead_messages_total say so. In devel mode nothing is sent, and mail stands in the log."`
	SMS     SMS     `toml:"sms" doc:"How text messages reach telephones. Without it nobody can verify a telephone number here. In devel mode nothing is sent, and they stand in the log."`
	Proofs  Proofs  `toml:"proofs" doc:"How this server looks at what people publish elsewhere to prove who they are: web sites, domains, names in networks."`
	Merkle  Merkle  `toml:"merkle" doc:"The tree of signed roots."`
	Limits  Limits  `toml:"limits" doc:"Who is held to the rate limits and to the limits by address, and to which rates. The command keystead limits prints all limits with their figures."`
	Clients Clients `toml:"clients" doc:"What clients are told to offer."`
	Reports Reports `toml:"reports" doc:"What people send to whoever runs the server: the logs of a client that does not work, and complaints about others."`
	Log     Log     `toml:"log" doc:"The log on standard error. Sessions, tokens, passphrase material and signatures are hidden at every level."`
}

// Data is the section about the data folder.
type Data struct {
	Dir       string `toml:"dir" doc:"The data folder: the store, the signing key (keys/merkle.pem), endpoints.json, and, while a server runs, control.sock for the commands that talk to it. Made at the first start. Empty means $XDG_DATA_HOME/keystead, or ~/.local/share/keystead; not a folder that depends on where the command is run (only an account without a home folder gets ./keystead-data), because another folder is another server with another key."`
	HighWater string `toml:"high_water" doc:"The high-water record: a small file that remembers the newest Merkle root outside of the data folder, so that an older or second copy of the folder is refused at the start. Keep it on the same machine, not in the folder's backups. Empty means the folder's path with .highwater behind it."`
	Archive   string `toml:"archive" doc:"The folder of the archive: plain text files, one a day, with every root and every link of users and teams, from which the trees can be rebuilt without the store. On another disk it survives this one. It shows what only members may read of their teams: keep it like the store. Empty means archive/ in the data folder."`
}

// HTTP is the section about the REST door.
type HTTP struct {
	Listen    string `toml:"listen" doc:"host:port to listen on. Without a certificate the door speaks plain HTTP; on an address that others can reach, set one or put a proxy with TLS in front."`
	PublicURL string `toml:"public_url" doc:"What clients are told to use, for instance \"https://keys.example.org\": scheme and host, a port if it is not the usual one, no path and no slash at the end (a client takes a path as a replacement of its own prefix). Empty means the address listened on, with https:// if the door has a certificate and http:// if not."`
	TLSCert   string `toml:"tls_cert" doc:"A PEM file with the door's certificate and those that lead to its root. Clients trust what their system trusts, or what their own configuration names for this host. Looked at again twice a minute and on a hang-up signal: a renewed certificate needs no restart. Empty means no TLS."`
	TLSKey    string `toml:"tls_key" doc:"A PEM file with the certificate's private key, without a passphrase and closed to other accounts."`
}

// RPC is the section about the framed-msgpack door.
type RPC struct {
	Listen    string `toml:"listen" doc:"host:port to listen on. Without a certificate the door speaks plain frames; on an address that others can reach, set one or put a TLS proxy in front."`
	PublicURI string `toml:"public_uri" doc:"What clients are told to use, for instance \"fmprpc+tls://keys.example.org:9911\": the scheme fmprpc or fmprpc+tls, a host and a port. Empty means the address listened on, with fmprpc+tls:// if the door has a certificate and fmprpc:// if not."`
	TLSCert   string `toml:"tls_cert" doc:"As in [http], and it may be the same file. Clients trust only the root that their own configuration names for this host, whatever their system trusts: see keystead client-env --help."`
	TLSKey    string `toml:"tls_key" doc:"As in [http]."`
}

// Ops is the section about the operator's listener.
type Ops struct {
	Listen string `toml:"listen" doc:"host:port for health and metrics, plain HTTP and without authentication: keep it on this machine or in a private network. Empty turns it off, and with it the health command."`
}

// Signup is the section about new accounts.
type Signup struct {
	Policy string `toml:"policy" doc:"Who may make an account: \"open\", everybody who reaches the REST door; \"invitation\", who has a code from keystead invite new (clients ask for it on the command line only, not in the desktop app); \"closed\", nobody. Those who have an account keep it under every policy."`
}

// Reset is the section about resets that wait.
type Reset struct {
	Delay          time.Duration `toml:"delay" doc:"How long a reset waits. From \"0s\" to \"2160h\"."`
	DelayOneDevice time.Duration `toml:"delay_one_device" doc:"How long it waits where the account has one device or none, on which nobody might see it."`
	VerifyWithin   time.Duration `toml:"verify_within" doc:"How long somebody who does not know the password has to open the link in the first mail. From \"1m\" to \"720h\"."`
}

// Mail is the section about the way out for mail.
type Mail struct {
	Host         string `toml:"host" doc:"The SMTP server's name. Empty means that there is none."`
	Port         int    `toml:"port" doc:"Its port: 587 for starttls, 465 for tls, 25 for none, as a rule."`
	TLS          string `toml:"tls" doc:"\"starttls\": begin in plain and refuse to go on without TLS; \"tls\": TLS from the first byte; \"none\": never, which is for a mail server on this machine only."`
	From         string `toml:"from" doc:"The sender's address, with or without a name: \"keys@example.org\" or \"Our keys <keys@example.org>\". Needed with host."`
	User         string `toml:"user" doc:"Who logs in to the mail server. Empty means that nobody does."`
	PasswordFile string `toml:"password_file" doc:"A file whose first line is the password of user, closed to other accounts. Read before each mail: a new password needs no restart."`
}

// SMS is the section about the way out for text messages.
type SMS struct {
	Webhook    string `toml:"webhook" doc:"A URL to which each text message is posted as {\"to\":\"+15551234567\",\"text\":\"...\"}; an answer of 2xx takes it, 4xx refuses it for good, anything else is tried again. Write https://, or http:// for this machine only. Empty means that there is none."`
	SecretFile string `toml:"secret_file" doc:"A file whose first line goes along as the bearer token of the Authorization header. Empty means none."`
}

// Merkle is the section about the tree of signed roots.
type Merkle struct {
	Heartbeat time.Duration `toml:"heartbeat" doc:"Sign a new root after this long even if nothing changed, so that clients see the tree's clock move (they judge the age of their ephemeral keys by it). From \"1m\" to \"24h\"; \"0s\" turns it off."`
	GapMax    time.Duration `toml:"gap_max" doc:"How much later than the newest root the machine's clock may be when the server starts. A root with a wrong time can never be taken back, and nobody whose clock is right could post before that time has come, so a start by a clock that has leapt is refused. Raise it for one start if the server really stood still for so long. At least \"24h\"."`
}

// Proofs is the section about looking at other services.
type Proofs struct {
	Allow    []string `toml:"allow" doc:"Ranges of addresses that are looked at although they are not public, such as [\"10.1.0.0/16\"] for web sites inside of an organisation. Whoever has an account can make this server ask there. With devel set, this machine is among them."`
	Resolver string   `toml:"resolver" doc:"host:port of the DNS server that is asked for names and text records; on the way to it answers can be forged, so keep it near. Empty means the machine's own."`
	Services []string `toml:"services" doc:"Paths of files, each describing in JSON one service at which people can prove a name: the fields of the configuration that services publish for Keybase (version, domain, display_name, description, username, brand_color, prefill_url, profile_url, check_url, check_path, avatar_path), and group, priority and logo_key for how it is shown. Clients learn of a change with the next Merkle root."`
}

// Limits is the section about rate limits. Figures that are no rates are not settings.
type Limits struct {
	Exempt         []string `toml:"exempt" doc:"Ranges of addresses to which no rate limit and no limit by address applies. With devel set these limits apply to nobody. If a proxy on this machine stands before the doors, name it in trusted_proxies, too: without that everybody comes from this machine and is exempt."`
	TrustedProxies []string `toml:"trusted_proxies" doc:"Ranges of addresses of the proxies that stand before the REST door. What they say in X-Forwarded-For is believed, from the right up to the first address that is not such a proxy; from anybody else the header is ignored."`
	Rates          []string `toml:"rates" doc:"Rate limits that differ from the usual figures, each as \"signup-by-address = 100 per 1h, burst 200\" or \"signup-by-address = off\"."`
}

// Clients is the section about what clients offer.
type Clients struct {
	Features []string `toml:"features" doc:"Names of switches of clients to turn on for everybody, for instance \"journeycard\". Clients ask for those that they know."`
	Bots     []string `toml:"bots" doc:"Bots to show to everybody who looks for one, the first first, each as \"username | short name | what it does\"."`
}

// Reports is the section about what people send to the operator.
type Reports struct {
	Accept bool   `toml:"accept" doc:"Whether to take them. Logs and complaints hold what people wrote; they are for the operator alone."`
	Dir    string `toml:"dir" doc:"The folder that they are kept in, a folder for each, at most 1 GiB of logs, of which the oldest make room. Empty means reports/ in the data folder."`
}

// Log is the section about logging.
type Log struct {
	Level  string `toml:"level" doc:"The least level that is written: \"debug\", \"info\", \"warn\" or \"error\"."`
	Format string `toml:"format" doc:"\"text\" for people or \"json\" for collectors; one record a line in both."`
}

// Bounds of settings.
const (
	fileBytesMax = 1 << 20 // of a configuration file
	heartbeatMin = time.Minute
	heartbeatMax = 24 * time.Hour
	gapMaxMin    = 24 * time.Hour

	resetDelayMax   = 90 * 24 * time.Hour
	verifyWithinMin = time.Minute
	verifyWithinMax = 30 * 24 * time.Hour

	pathBytesMax = 4096 // of a path or an address
	botBytesMax  = 2000 // of a featured bot
	botsMax      = 1000
	featureMax   = 64 // bytes of the name of a client's switch
	featuresMax  = 100
	servicesMax  = 256 // files about services
)

// Default is the configuration of a server that was told nothing: it listens on
// this machine only, on the addresses that clients in devel run mode try first.
// client: go/libkb/constants.go:DevelServerURI
func Default() Config {
	return Config{
		HTTP:    HTTP{Listen: "127.0.0.1:3000"},
		RPC:     RPC{Listen: "127.0.0.1:9911"},
		Ops:     Ops{Listen: "127.0.0.1:3001"},
		Signup:  Signup{Policy: "open"},
		Reset:   Reset{Delay: 7 * 24 * time.Hour, DelayOneDevice: 5 * 24 * time.Hour, VerifyWithin: 3 * 24 * time.Hour},
		Mail:    Mail{Port: 587, TLS: "starttls"},
		Proofs:  Proofs{Allow: []string{}, Services: []string{}},
		Merkle:  Merkle{Heartbeat: time.Hour, GapMax: 90 * 24 * time.Hour},
		Limits:  Limits{Exempt: []string{"127.0.0.0/8", "::1/128"}, TrustedProxies: []string{}, Rates: []string{}},
		Clients: Clients{Features: []string{}, Bots: []string{}},
		Reports: Reports{Accept: true},
		Log:     Log{Level: "info", Format: "text"},
	}
}

// Resolve fills what depends on the machine: the data folder when none is set.
// Without a home folder (a bare service account) it is ./keystead-data.
func (c Config) Resolve(getenv func(string) string) Config {
	if c.Data.Dir != "" {
		return c
	}
	switch xdg, home := getenv("XDG_DATA_HOME"), getenv("HOME"); {
	case filepath.IsAbs(xdg):
		c.Data.Dir = filepath.Join(xdg, "keystead")
	case filepath.IsAbs(home):
		c.Data.Dir = filepath.Join(home, ".local", "share", "keystead")
	case getenv("LOCALAPPDATA") != "":
		c.Data.Dir = filepath.Join(getenv("LOCALAPPDATA"), "keystead")
	default:
		c.Data.Dir = "keystead-data"
	}
	return c
}

// HighWaterPath is where the high-water record lies.
func (c Config) HighWaterPath() string {
	if c.Data.HighWater != "" {
		return c.Data.HighWater
	}
	return filepath.Clean(c.Data.Dir) + ".highwater"
}

// ArchivePath is the folder of the archive.
func (c Config) ArchivePath() string {
	if c.Data.Archive != "" {
		return c.Data.Archive
	}
	return filepath.Join(c.Data.Dir, "archive")
}

// ReportsPath is the folder of what people send to the operator.
func (c Config) ReportsPath() string {
	if c.Reports.Dir != "" {
		return c.Reports.Dir
	}
	return filepath.Join(c.Data.Dir, "reports")
}

// Bot is a bot that clients show to everybody.
type Bot struct{ Username, Alias, Description string }

// FeaturedBots are the bots of the setting; those that Check refuses are left out.
func (c Config) FeaturedBots() []Bot {
	var out []Bot
	for _, line := range c.Clients.Bots {
		if b, ok := parseBot(line); ok {
			out = append(out, b)
		}
	}
	return out
}

func parseBot(line string) (Bot, bool) {
	p := strings.Split(line, "|")
	if len(p) != 3 || len(line) > botBytesMax {
		return Bot{}, false
	}
	b := Bot{strings.ToLower(strings.TrimSpace(p[0])), strings.TrimSpace(p[1]), strings.TrimSpace(p[2])}
	return b, b.Username != "" && b.Alias != "" && !strings.ContainsAny(b.Username, " \t")
}

// ServerURI is what clients put into KEYBASE_SERVER_URI; bound is the address that
// the REST door really listens on.
func (c Config) ServerURI(bound string) string {
	if c.HTTP.PublicURL != "" {
		return c.HTTP.PublicURL
	}
	if c.HTTP.TLSCert != "" {
		return "https://" + Dialable(bound)
	}
	return "http://" + Dialable(bound)
}

// PushURI is what clients put into KEYBASE_PUSH_SERVER_URI; bound is the address
// that the RPC door really listens on.
func (c Config) PushURI(bound string) string {
	if c.RPC.PublicURI != "" {
		return c.RPC.PublicURI
	}
	if c.RPC.TLSCert != "" {
		return "fmprpc+tls://" + Dialable(bound)
	}
	return "fmprpc://" + Dialable(bound)
}

// Dialable turns a listening address into one that can be called from this
// machine: "every address" becomes the loopback. What is not host:port is returned as it is.
func Dialable(bound string) string {
	host, port, err := net.SplitHostPort(bound)
	if err != nil {
		return bound
	}
	if host == "" {
		return net.JoinHostPort("127.0.0.1", port)
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); ip != nil && ip.IsUnspecified() {
		if ip.To4() == nil {
			return net.JoinHostPort("::1", port)
		}
		return net.JoinHostPort("127.0.0.1", port)
	}
	return bound
}
