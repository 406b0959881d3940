package push

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/observe"
	"github.com/keystead/keystead/engine/store"
)

// jobKind is the kind of the jobs that carry notifications.
const jobKind = "push"

// Notification is what a device is woken with.
type Notification struct {
	// ID names it: sent twice while it waits, it is carried once.
	ID   [16]byte `json:"-"`
	Type string   `json:"type"` // what clients know it by
	// Text is shown by the system as it is; empty: nothing is shown.
	Text string            `json:"text,omitempty"`
	Data map[string]string `json:"data,omitempty"`
	At   int64             `json:"at"` // unix milliseconds
}

// Courier carries notifications by one way. A nil error means that the device's push
// service took it; ErrGone and ErrRefused are final; anything else means "not now".
// What it hands over is Notification.Payload of its way.
type Courier interface {
	Deliver(ctx context.Context, t Token, n Notification) error
}

// Send lets every device of u that has a token be woken, except skip.
func Send(tx *store.Tx, u kbsig.UID, n Notification, skip kbsig.DeviceID) error {
	n.At = tx.Now().UnixMilli()
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("spell notification %s: %w", n.Type, err)
	}
	if len(body) > bodyBytesMax {
		return fmt.Errorf("notification %s of %d bytes: %w", n.Type, len(body), ErrTooLong)
	}
	all, err := Tokens(tx, u)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.Device == skip {
			continue
		}
		if err := jobs.Add(tx, jobs.Job{Kind: jobKind, Key: jobKey(u, t.Device, n.ID), Body: body}); err != nil {
			return err
		}
	}
	return nil
}

func jobKey(u kbsig.UID, d kbsig.DeviceID, id [16]byte) string {
	return u.String() + "/" + d.String() + "/" + hex.EncodeToString(id[:])
}

// Options is what a Service is given from outside. Store and Clock are needed.
type Options struct {
	Store    *store.Store
	Clock    clock.Clock
	Couriers map[Way]Courier
	// Active reports whether a device still belongs to its user; one that does not is
	// never woken again. Nil: all do.
	Active func(u kbsig.UID, d kbsig.DeviceID) (bool, error)
	// Awake reports whether a device is connected and hears by itself; nil: none is.
	Awake   func(u kbsig.UID, d kbsig.DeviceID) bool
	Logger  *slog.Logger          // default: discards
	Metrics prometheus.Registerer // nil: none are kept
}

// Service carries what was sent.
type Service struct {
	o      Options
	counts *prometheus.CounterVec
}

// New makes a Service.
func New(o Options) *Service {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Awake == nil {
		o.Awake = func(kbsig.UID, kbsig.DeviceID) bool { return false }
	}
	s := &Service{o: o, counts: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keystead_push_notifications_total",
		Help: "Notifications to devices by way and outcome: carried, awake (not needed), gone, refused, failed (tried again later), too old, no courier.",
	}, []string{"way", "outcome"})}
	if o.Metrics != nil {
		o.Metrics.MustRegister(s.counts)
	}
	return s
}

// Handle lets a runner of jobs carry what waits.
func (s *Service) Handle(r *jobs.Runner) { r.Handle(jobKind, s.carry) }

func (s *Service) carry(ctx context.Context, j jobs.Job) error {
	u, d, err := readKey(j.Key)
	if err != nil {
		return jobs.GiveUp(err)
	}
	var n Notification
	if err := json.Unmarshal(j.Body, &n); err != nil {
		return jobs.GiveUp(fmt.Errorf("notification %q: %w", j.Key, err))
	}
	v := s.o.Store.View()
	t, err := store.Load[Token](v, keys.PushToken(u, d))
	v.Close()
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("token of device %s of %s: %w", d, u, err)
	}
	if s.o.Active != nil {
		active, err := s.o.Active(u, d)
		if err != nil {
			return fmt.Errorf("wake device %s of %s: %w", d, u, err)
		}
		if !active {
			s.counts.WithLabelValues(string(t.Way), "gone").Inc()
			return s.forget(ctx, u, t)
		}
	}
	outcome, err := s.deliver(ctx, u, t, n)
	s.counts.WithLabelValues(string(t.Way), outcome).Inc()
	return err
}

// deliver carries a notification to one device and says what became of it.
func (s *Service) deliver(ctx context.Context, u kbsig.UID, t Token, n Notification) (outcome string, err error) {
	courier := s.o.Couriers[t.Way]
	switch {
	case courier == nil:
		return "no courier", nil
	case s.o.Clock().Sub(time.UnixMilli(n.At)) > tooOld:
		return "too old", nil
	case s.o.Awake(u, t.Device):
		return "awake", nil
	}
	err = courier.Deliver(ctx, t, n)
	switch {
	case err == nil:
		return "carried", nil
	case errors.Is(err, ErrGone):
		return "gone", s.forget(ctx, u, t)
	case errors.Is(err, ErrRefused):
		s.o.Logger.Warn("push: a notification was refused", observe.FieldUID, u.String(), "way", t.Way, "type", n.Type, "err", err)
		return "refused", nil
	}
	return "failed", fmt.Errorf("wake device %s of %s: %w", t.Device, u, err)
}

// forget drops a token that is gone, unless the device has another one by now.
func (s *Service) forget(ctx context.Context, u kbsig.UID, t Token) error {
	return s.o.Store.Update(ctx, func(tx *store.Tx) error {
		now, err := store.Load[Token](tx, keys.PushToken(u, t.Device))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil && now == t {
			tx.Delete(keys.PushToken(u, t.Device))
		}
		return err
	})
}

func readKey(key string) (u kbsig.UID, d kbsig.DeviceID, err error) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 {
		return u, d, fmt.Errorf("notification %q: %w", key, ErrRefused)
	}
	if u, err = kbsig.ParseUID(parts[0]); err != nil {
		return u, d, fmt.Errorf("notification %q: %w", key, err)
	}
	if d, err = kbsig.ParseDeviceID(parts[1]); err != nil {
		return u, d, fmt.Errorf("notification %q: %w", key, err)
	}
	return u, d, nil
}

// Consumer is this package's name in the outbox of news.
const Consumer = "push"

// HearNews sends on what people should hear of even if no device is connected.
func (s *Service) HearNews(ctx context.Context, entries []events.Entry) error {
	type wake struct {
		e events.Entry
		n Notification
	}
	var wakes []wake
	for _, e := range entries {
		if n, ok := wakesFor(e); ok {
			n.ID = e.ID
			wakes = append(wakes, wake{e, n})
		}
	}
	if len(wakes) == 0 {
		return nil
	}
	return s.o.Store.Update(ctx, func(tx *store.Tx) error {
		for _, w := range wakes {
			if err := Send(tx, w.e.To, w.n, w.e.Skip); err != nil && !errors.Is(err, ErrTooLong) {
				return err
			}
		}
		return nil
	})
}

// wakesFor is the notification of a piece of news, if it is worth one.
func wakesFor(e events.Entry) (n Notification, ok bool) {
	switch e.Category {
	case "follow":
		var body struct {
			Username string `json:"username"`
		}
		if json.Unmarshal(e.Body, &body) != nil || body.Username == "" {
			return n, false
		}
		return Notification{Type: "follow", Text: body.Username + " follows you", Data: map[string]string{"username": body.Username}}, true
	case "device.new":
		return aboutDevice(e, "A device was added to your account")
	case "device.revoked":
		return aboutDevice(e, "A device was removed from your account")
	}
	return n, false
}

func aboutDevice(e events.Entry, text string) (n Notification, ok bool) {
	var body struct {
		DeviceID string `json:"device_id"`
	}
	if json.Unmarshal(e.Body, &body) != nil {
		return n, false
	}
	return Notification{Type: e.Category, Text: text, Data: map[string]string{"device_id": body.DeviceID}}, true
}
