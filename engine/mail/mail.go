// Package mail is what the server writes to people: mail messages, and text messages to
// telephones, as background jobs.
//
// Contract:
//   - Send and SendText belong to the caller's transaction. A message that was kept
//     leaves at least once, or is given up and counted; see engine/jobs.
//   - Two equal messages that wait at the same time are one.
//   - The queue is bounded as a whole and for each receiver. What is over the bound is
//     refused with ErrTooMuch, so that a flood neither fills the disk nor a mailbox.
//   - An address is one line without signs that could begin another header. Subject and
//     text are ours; of what others wrote they hold only what Printable lets through.
//
// Who carries messages away is a Carrier; cmd gives one. The package makes no
// connection, and reads no clock.
package mail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/store"
)

// Limits of messages.
const (
	// addressBytesMax bounds a mail address. RFC 5321 allows 254.
	addressBytesMax = 254
	// numberBytesMax bounds a telephone number: a plus and 15 digits, by E.164.
	numberBytesMax  = 16
	subjectBytesMax = 200
	textBytesMax    = 16 << 10
	// smsBytesMax bounds a text message; longer ones would be cut by the networks.
	smsBytesMax = 320
	// waitingMax bounds the messages that wait, mail and text messages each, and
	// waitingPerReceiverMax those of one receiver.
	waitingMax            = 5000
	waitingPerReceiverMax = 5
)

// The kinds of the jobs.
const (
	kindMail = "mail"
	kindText = "sms"
)

// Errors of this package.
var (
	// ErrTooMuch says that too many messages wait already.
	ErrTooMuch = errors.New("too many messages wait to be sent")
	// ErrMalformed says that a message cannot be sent to anybody.
	ErrMalformed = errors.New("malformed message")
)

// Message is a mail in plain text.
type Message struct {
	To      string `codec:"to"`      // one address
	Subject string `codec:"subject"` // one line
	Text    string `codec:"text"`    // lines ended by \n
}

// Text is a text message to a telephone.
type Text struct {
	To   string `codec:"to"` // E.164, with the plus
	Text string `codec:"text"`
}

// Carrier takes messages away. An error that jobs.GiveUp has marked is final; after any
// other the message is offered again later.
type Carrier interface {
	Mail(ctx context.Context, m Message) error
	Text(ctx context.Context, t Text) error
}

// Send keeps a mail to be sent.
func Send(tx *store.Tx, m Message) error {
	switch {
	case !AddressOK(m.To):
		return fmt.Errorf("%w: the address", ErrMalformed)
	case m.Subject == "" || len(m.Subject) > subjectBytesMax || Printable(m.Subject) != m.Subject:
		return fmt.Errorf("%w: the subject", ErrMalformed)
	case m.Text == "" || len(m.Text) > textBytesMax || !utf8.ValidString(m.Text):
		return fmt.Errorf("%w: the text", ErrMalformed)
	}
	return add(tx, kindMail, strings.ToLower(m.To), store.Encode(m))
}

// SendText keeps a text message to be sent.
func SendText(tx *store.Tx, t Text) error {
	switch {
	case !NumberOK(t.To):
		return fmt.Errorf("%w: the number", ErrMalformed)
	case t.Text == "" || len(t.Text) > smsBytesMax || Printable(t.Text) != t.Text:
		return fmt.Errorf("%w: the text", ErrMalformed)
	}
	return add(tx, kindText, t.To, store.Encode(t))
}

// Forget takes back what waits to be sent to a mail address or a telephone number.
func Forget(tx *store.Tx, receiver string) error {
	for _, kind := range []string{kindMail, kindText} {
		if err := jobs.DropAll(tx, kind, mailboxOf(strings.ToLower(receiver))); err != nil {
			return fmt.Errorf("forget the messages of a receiver: %w", err)
		}
	}
	return nil
}

// mailboxOf begins the names of the messages to one receiver.
func mailboxOf(receiver string) string {
	who := sha256.Sum256([]byte(receiver))
	return hex.EncodeToString(who[:8]) + "/"
}

// add keeps a message under a name made of its receiver and its content.
func add(tx *store.Tx, kind, receiver string, body []byte) error {
	what := sha256.Sum256(body)
	mailbox := mailboxOf(receiver)
	name := mailbox + hex.EncodeToString(what[:16])
	if n, err := jobs.Count(tx, kind, name, 1); err != nil || n > 0 {
		return err
	}
	for _, bound := range []struct {
		prefix string
		max    int
	}{{mailbox, waitingPerReceiverMax}, {"", waitingMax}} {
		n, err := jobs.Count(tx, kind, bound.prefix, bound.max)
		if err != nil {
			return err
		}
		if n >= bound.max {
			return ErrTooMuch
		}
	}
	return jobs.Add(tx, jobs.Job{Kind: kind, Key: name, Body: body})
}

// Deliver lets c carry away what Send and SendText have kept.
func Deliver(r *jobs.Runner, c Carrier) {
	r.Handle(kindMail, func(ctx context.Context, j jobs.Job) error {
		m, err := store.Decode[Message](j.Body)
		if err != nil {
			return jobs.GiveUp(err)
		}
		return c.Mail(ctx, m)
	})
	r.Handle(kindText, func(ctx context.Context, j jobs.Job) error {
		t, err := store.Decode[Text](j.Body)
		if err != nil {
			return jobs.GiveUp(err)
		}
		return c.Text(ctx, t)
	})
}

// AddressOK says whether a text is fit to stand as the one receiver of a mail.
func AddressOK(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return len(s) <= addressBytesMax && at > 0 && at < len(s)-1 && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return r <= ' ' || r == utf8.RuneError || !unicode.IsPrint(r) || strings.ContainsRune(`,;<>()[]\":`, r)
		})
}

// NumberOK says whether a text is a telephone number in the form of E.164: a plus, then
// 7 to 15 digits of which the first is no zero.
func NumberOK(s string) bool {
	if len(s) < 8 || len(s) > numberBytesMax || s[0] != '+' || s[1] == '0' {
		return false
	}
	for _, c := range s[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// Printable is a text without its ends of line and whatever else does not print, so that
// it can stand in a line of ours.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
