package config

import (
	"net/mail"
	"net/url"
	"strings"
)

// mail checks the way out for mail. Values that have no use without a host are not
// looked at without one.
func (k *checker) mail(m Mail) {
	k.oneOf("mail.tls", m.TLS, "starttls", "tls", "none")
	if m.Port < 1 || m.Port > 65535 {
		k.mistake("mail.port", "%d is no port; write 1 to 65535", m.Port)
	}
	if m.Host == "" {
		if m.From != "" || m.User != "" || m.PasswordFile != "" {
			k.warn("mail.host", "is empty, so that no mail is sent whatever else stands in the section; write the name of the SMTP server")
		}
		return
	}
	if len(m.Host) > pathBytesMax || !printable(m.Host) || strings.ContainsAny(m.Host, ":/@'\"\\`$") {
		k.mistake("mail.host", "%q is no name of a host; write it without scheme and port, such as \"smtp.example.org\"", clip(m.Host))
	}
	if _, err := mail.ParseAddress(m.From); err != nil || len(m.From) > pathBytesMax {
		k.mistake("mail.from", "%q is no address of a sender; write \"keys@example.org\" or \"Our keys <keys@example.org>\"", clip(m.From))
	}
	switch {
	case m.User != "" && m.PasswordFile == "":
		k.mistake("mail.password_file", "is empty, but mail.user is set; write the path of a file with the password")
	case m.User == "" && m.PasswordFile != "":
		k.mistake("mail.user", "is empty, but mail.password_file is set; write who logs in")
	}
	if m.TLS == "none" && !loopback(m.Host+":25") {
		k.warn("mail.tls", "is \"none\" and %s is another machine: everybody between reads the mail, the codes in it too", clip(m.Host))
	}
}

// sms checks the way out for text messages.
func (k *checker) sms(s SMS) {
	if s.Webhook == "" {
		if s.SecretFile != "" {
			k.warn("sms.webhook", "is empty, so that no text message is sent; write the URL that takes them")
		}
		return
	}
	u, err := url.Parse(s.Webhook)
	switch {
	case err != nil || len(s.Webhook) > pathBytesMax || !printable(s.Webhook) || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		k.mistake("sms.webhook", "is no URL; write it as \"https://sms.example.org/send\"")
	case u.Scheme == "https":
	case u.Scheme != "http":
		k.mistake("sms.webhook", "has the scheme %q; write https://", clip(u.Scheme))
	case !loopback(u.Hostname() + ":80"):
		k.mistake("sms.webhook", "begins with http://, and %s is another machine: everybody between would read the codes; write https://", clip(u.Hostname()))
	}
}
