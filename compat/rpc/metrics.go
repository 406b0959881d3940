package rpc

import "github.com/prometheus/client_golang/prometheus"

// Names of the door's metrics.
const (
	metricConns       = "keystead_rpc_connections"
	metricRefused     = "keystead_rpc_connections_refused_total"
	metricClosed      = "keystead_rpc_connections_closed_total"
	metricCalls       = "keystead_rpc_calls_total"
	metricUnavailable = "keystead_rpc_unavailable_calls_total"
	metricSeconds     = "keystead_rpc_call_seconds"
	metricBroadcasts  = "keystead_rpc_broadcasts_total"
	metricPanics      = "keystead_rpc_panics_total"
	metricBuffered    = "keystead_rpc_buffered_bytes"
)

// metrics counts what happens at the door. Labels have few values: methods are
// those of the table, everything else is "unknown".
type metrics struct {
	conns       prometheus.Gauge
	refused     *prometheus.CounterVec // by reason
	closed      *prometheus.CounterVec // by reason
	calls       *prometheus.CounterVec // by method and outcome
	unavailable *prometheus.CounterVec // by method
	seconds     *prometheus.HistogramVec
	broadcasts  prometheus.Counter
	panics      prometheus.Counter
}

// newMetrics makes the metrics and registers them unless reg is nil.
func newMetrics(reg prometheus.Registerer, buffered func() float64) (*metrics, error) {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		conns:       prometheus.NewGauge(prometheus.GaugeOpts{Name: metricConns, Help: "Open connections."}),
		refused:     counters(metricRefused, "Connections closed at once because of a limit.", "limit"),
		closed:      counters(metricClosed, "Connections closed, by reason.", "reason"),
		calls:       counters(metricCalls, "Answered calls.", "method", "outcome"),
		unavailable: counters(metricUnavailable, "Calls of methods that this server does not have yet.", "method"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: metricSeconds, Help: "Time from a call's frame to its queued answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"method"}),
		broadcasts: prometheus.NewCounter(prometheus.CounterOpts{Name: metricBroadcasts, Help: "Messages queued to connections."}),
		panics:     prometheus.NewCounter(prometheus.CounterOpts{Name: metricPanics, Help: "Panics that closed one connection."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.conns, m.refused, m.closed, m.calls, m.unavailable, m.seconds, m.broadcasts, m.panics,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricBuffered, Help: "Bytes of frames in memory."}, buffered),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
