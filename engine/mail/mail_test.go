package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/store"
)

// box is a Carrier that keeps what it is given.
type box struct {
	mails []Message
	texts []Text
	err   error
}

func (b *box) Mail(_ context.Context, m Message) error { b.mails = append(b.mails, m); return b.err }
func (b *box) Text(_ context.Context, t Text) error    { b.texts = append(b.texts, t); return b.err }

func scene(t *testing.T) (st *store.Store, run *jobs.Runner, c *box) {
	t.Helper()
	clk := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	st, err := store.Open(store.Options{Dir: "s", FS: vfs.NewMem(), Clock: clk.Now, Rand: bytes.NewReader(make([]byte, 64))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	run, c = jobs.NewRunner(jobs.Options{Store: st, Clock: clk.Now, Logger: slog.New(slog.DiscardHandler)}), &box{}
	Deliver(run, c)
	return st, run, c
}

// TestMessagesLeaveOnce proves that what was kept is carried away whole and once, and
// that two equal messages that wait are one.
func TestMessagesLeaveOnce(t *testing.T) {
	st, run, c := scene(t)
	m := Message{To: "a@example.org", Subject: "Hello", Text: "Your code is 123456.\n"}
	for range 2 {
		if err := st.Update(t.Context(), func(tx *store.Tx) error {
			return errors.Join(Send(tx, m), SendText(tx, Text{"+15551234567", "Your code is 1"}))
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if _, err := run.RunDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.mails) != 1 || c.mails[0] != m || len(c.texts) != 1 || c.texts[0].To != "+15551234567" {
		t.Errorf("carried away: %+v and %+v", c.mails, c.texts)
	}
	refused := st.Update(t.Context(), func(tx *store.Tx) error { _ = Send(tx, m); return errors.New("refused") })
	if n, err := run.RunDue(t.Context()); n != 0 || err != nil || refused == nil {
		t.Errorf("a message of a refused transaction was sent: %d, %v", n, err)
	}
}

// TestMalformedMessages proves that nothing is kept which could begin another header,
// reach another receiver, or break a limit.
func TestMalformedMessages(t *testing.T) {
	st, run, _ := scene(t)
	good := Message{To: "a@example.org", Subject: "Hello", Text: "Hi.\n"}
	var bad []Message
	for _, to := range []string{"", "a", "a@", "@b.c", "a@b.c\r\nBcc: x@y.z", "a b@c.d", "a@b.c,d@e.f", "<a@b.c>", "a\x00@b.c", "a@b.c\u2028", strings.Repeat("a", addressBytesMax) + "@b.c"} {
		m := good
		m.To = to
		bad = append(bad, m)
	}
	for _, s := range []string{"", "two\nlines", "a\u202ebc", strings.Repeat("s", subjectBytesMax+1)} {
		m := good
		m.Subject = s
		bad = append(bad, m)
	}
	for _, s := range []string{"", "\xff", strings.Repeat("s", textBytesMax+1)} {
		m := good
		m.Text = s
		bad = append(bad, m)
	}
	for _, m := range bad {
		if err := st.Update(t.Context(), func(tx *store.Tx) error { return Send(tx, m) }); !errors.Is(err, ErrMalformed) {
			t.Errorf("kept %.80q: %v", fmt.Sprint(m), err)
		}
	}
	for _, x := range []Text{{"15551234567", "x"}, {"+05551234567", "x"}, {"+1555", "x"}, {"+1555123456789012", "x"}, {"+1555123456a", "x"}, {"+15551234567", ""}, {"+15551234567", "a\nb"}, {"+15551234567", strings.Repeat("x", smsBytesMax+1)}} {
		if err := st.Update(t.Context(), func(tx *store.Tx) error { return SendText(tx, x) }); !errors.Is(err, ErrMalformed) {
			t.Errorf("kept %.80q: %v", fmt.Sprint(x), err)
		}
	}
	if n, err := run.RunDue(t.Context()); n != 0 || err != nil {
		t.Errorf("%d were sent, %v", n, err)
	}
}

// TestFloodIsRefused proves that neither one mailbox nor the queue as a whole can be
// flooded, and that a refusal for one receiver is none for others.
func TestFloodIsRefused(t *testing.T) {
	st, run, c := scene(t)
	c.err = errors.New("the mail server is down")
	send := func(to string, i int) error {
		return st.Update(t.Context(), func(tx *store.Tx) error {
			return Send(tx, Message{To: to, Subject: "Hello", Text: fmt.Sprint(i)})
		})
	}
	for i := range waitingPerReceiverMax {
		if err := send("a@example.org", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := send("A@example.org", 99); !errors.Is(err, ErrTooMuch) {
		t.Errorf("one message too many for a receiver: %v", err)
	}
	if err := send("a@example.org", 0); err != nil {
		t.Errorf("a message that waits already: %v", err)
	}
	if err := st.Update(t.Context(), func(tx *store.Tx) error {
		for i := range waitingMax - waitingPerReceiverMax {
			if err := jobs.Add(tx, jobs.Job{Kind: kindMail, Key: fmt.Sprint("x", i), Body: []byte{1}}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := send("c@example.org", 0); !errors.Is(err, ErrTooMuch) {
		t.Errorf("one message too many in the queue: %v", err)
	}
	if n, err := run.RunDue(t.Context()); n == 0 || err != nil {
		t.Errorf("%d runs, %v", n, err)
	}
}
