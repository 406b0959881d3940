package rest

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/mail"
)

// The mails and text messages of this door. A secret never stands behind a colon or an
// equals sign: the log of devel mode, in which people read it, hides what follows those.

// host is the server's name as people know it.
func (s *Server) host() string {
	if u, err := url.Parse(s.address()); err == nil && u.Host != "" {
		return u.Host
	}
	return "this server"
}

func (s *Server) address() string {
	if s.Address == nil {
		return ""
	}
	return s.Address()
}

// letter is a mail made of paragraphs.
func letter(to, subject string, paragraphs ...string) mail.Message {
	return mail.Message{To: strings.TrimSpace(to), Subject: mail.Printable(subject), Text: strings.Join(paragraphs, "\n\n") + "\n"}
}

// verificationLetter asks whoever reads an address to say so.
func (s *Server) verificationLetter(u kbsig.UID, name kbsig.Username, to, token string) mail.Message {
	return letter(to, "Verify your mail address for "+s.host(),
		fmt.Sprintf("The user %s of the Keybase server %s says that this is their mail address. If that is you, open this page and confirm it within a week:", name, s.host()),
		s.address()+verifyPath+u.String()+"/"+token,
		"If it is not you, do nothing: without a confirmation the address counts for nothing.")
}

// replacedLetter tells the old address that another has taken its place.
func (s *Server) replacedLetter(name kbsig.Username, to string) mail.Message {
	return letter(to, "The mail address of "+string(name)+" has changed",
		fmt.Sprintf("One of the devices of the user %s on %s has put another mail address in the place of this one.", name, s.host()),
		"If that was not you, look at the list of devices with `keybase device list`, and remove those that are not yours.")
}

// codeText is the text message that a number is verified with.
func (s *Server) codeText(to, code string) mail.Text {
	return mail.Text{To: to, Text: fmt.Sprintf("Your verification code for %s is %s. Give it to nobody.", clipped(s.host(), 80), code)}
}

// reminderLetter tells the names of the accounts that name an address as theirs.
func (s *Server) reminderLetter(to string, names []string) mail.Message {
	return letter(to, "Your user name on "+s.host(), s.reminder(names),
		"Somebody has asked for it with this mail address. If that was not you, do nothing; nobody else has been told.")
}

// reminder is the sentence that tells names.
func (s *Server) reminder(names []string) string {
	if len(names) == 1 {
		return fmt.Sprintf("Your user name on %s is %s.", clipped(s.host(), 80), names[0])
	}
	return fmt.Sprintf("Your user names on %s are %s.", clipped(s.host(), 80), strings.Join(names, ", "))
}

// passwordLetter tells what somebody who does not know the password can do. The server
// cannot set another: it does not know what the password protects.
func (s *Server) passwordLetter(to string, name kbsig.Username) mail.Message {
	return letter(to, "Your password on "+s.host(),
		fmt.Sprintf("Somebody has asked for help with the password of %s on %s. If that was not you, do nothing; nothing has changed.", name, s.host()),
		"The server does not know your password and cannot set another one. On a device on which you are logged in, and with any paper key, you can:\n\n    keybase account recover",
		"If you have lost all devices and paper keys, the account can be reset. Its user name stays, and all that was encrypted for its devices is lost:\n\n    keybase account reset")
}

// invitationLetter invites somebody who has no account. What the inviter wrote stands
// in it as one quoted line.
func (s *Server) invitationLetter(to string, from kbsig.Username, code, message string) mail.Message {
	paragraphs := []string{fmt.Sprintf("The user %s invites you to the Keybase server %s.", from, s.host())}
	if message = strings.TrimSpace(mail.Printable(message)); message != "" {
		paragraphs = append(paragraphs, "> "+clipped(message, invitationMessageMax))
	}
	paragraphs = append(paragraphs, fmt.Sprintf("With a Keybase client that uses the server %s you can sign up:\n\n    %s", s.address(), signUpCommand(code)))
	return letter(to, string(from)+" invites you to "+s.host(), paragraphs...)
}

// TeamLetter invites an address to a team, or, without one, to a conversation. What the
// inviter wrote stands in it as one quoted line.
func (s *Server) TeamLetter(to string, from kbsig.Username, team, token, message string) mail.Message {
	what := invitedTo(team)
	paragraphs := []string{fmt.Sprintf("The user %s of the Keybase server %s invites you to %s.", from, s.host(), what)}
	if message = strings.TrimSpace(mail.Printable(message)); message != "" {
		paragraphs = append(paragraphs, "> "+clipped(message, invitationMessageMax))
	}
	paragraphs = append(paragraphs,
		"If you have an account, you accept with:\n\n    keybase team accept-invite --token "+token,
		fmt.Sprintf("If not, sign up first with a Keybase client that uses the server %s. An account that has verified this mail address is let in without the command.", s.address()))
	return letter(to, fmt.Sprintf("%s invites you to %s", from, clipped(what, 100)), paragraphs...)
}

// TeamText tells a number that somebody invites it.
func (s *Server) TeamText(to string, from kbsig.Username, team string) mail.Text {
	return mail.Text{To: to, Text: fmt.Sprintf("%s invites you to %s on the Keybase server %s. Verify this number there to be let in.",
		from, clipped(invitedTo(team), 100), clipped(s.host(), 80))}
}

func invitedTo(team string) string {
	if team == "" {
		return "a conversation"
	}
	return "the team " + team
}

func signUpCommand(code string) string {
	if code == "" {
		return "keybase signup"
	}
	return "keybase signup --invite-code " + code
}

// clipped is at most n bytes of a text, cut between runes.
func clipped(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
