package gregor

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Names of the package's metrics.
const (
	metricMessages  = "keystead_gregor_messages_total"
	metricEvicted   = "keystead_gregor_evicted_items_total"
	metricWelcomes  = "keystead_gregor_welcomes_total"
	metricReminders = "keystead_gregor_reminders_total"
	metricUsers     = "keystead_gregor_connected_users"
)

// metrics counts what happens to messages.
type metrics struct {
	messages  *prometheus.CounterVec // by outcome
	evicted   prometheus.Counter
	welcomes  *prometheus.CounterVec // by what clients are told
	reminders prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, users func() float64) *metrics {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricMessages,
			Help: "Messages by outcome: kept, repeated (their id was seen before), refused (for their shape), failed (not kept; whoever sent one tries again), out of band (told and not kept).",
		}, []string{"outcome"}),
		evicted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricEvicted, Help: "Items that made room because their user has too many.",
		}),
		welcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: metricWelcomes, Help: "Devices that came, by what they were told: the whole state, or the changes since they left.",
		}, []string{"told"}),
		reminders: prometheus.NewCounter(prometheus.CounterOpts{
			Name: metricReminders, Help: "Reminders that were due and told.",
		}),
	}
	if reg != nil {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricUsers, Help: "Users with a connected device, or with a message under way."}, users)
		reg.MustRegister(m.messages, m.evicted, m.welcomes, m.reminders, gauge)
	}
	return m
}

// count notes what became of a message.
func (m *metrics) count(o outcome, err error) {
	outcome := "kept"
	switch {
	case errors.Is(err, ErrRefused):
		outcome = "refused"
	case err != nil:
		outcome = "failed"
	case o.repeated:
		outcome = "repeated"
	}
	m.messages.WithLabelValues(outcome).Inc()
	m.evicted.Add(float64(o.evicted))
}

func (m *metrics) welcomed(w Welcome) {
	told := "state"
	if w.Sync != nil {
		told = "changes"
	}
	m.welcomes.WithLabelValues(told).Inc()
}
