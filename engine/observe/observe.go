// Package observe holds the names of metrics and of log fields, once, so that
// dashboards and alert rules have one list to go by.
package observe

import "github.com/prometheus/client_golang/prometheus"

// Log fields that more than one package writes.
const (
	FieldUID      = "uid"
	FieldEndpoint = "endpoint"
	FieldStatus   = "status"
	FieldRemote   = "remote"
	FieldTook     = "took"
)

// Metrics are the server's own figures. The zero value is not usable; see New.
type Metrics struct {
	// Requests counts REST calls by endpoint and status code of the reply.
	Requests *prometheus.CounterVec
	// Latency is the time from a request's last byte to its reply, in seconds.
	Latency *prometheus.HistogramVec
	// Unavailable counts calls of endpoints that this server does not have. The
	// label is the endpoint if it is one that stock clients know, else "other", so
	// that a scanner cannot fill the memory with labels.
	Unavailable *prometheus.CounterVec
	// Panics counts handlers that panicked; each is a bug.
	Panics prometheus.Counter
	// RateRefused counts requests that a rate limit refused, by the limit's name.
	RateRefused *prometheus.CounterVec
	// ConnectionsRefused counts connections of the REST door that were closed at
	// once or made room for others, by the reason.
	ConnectionsRefused *prometheus.CounterVec
	// RootSeqno is the newest published Merkle root.
	RootSeqno prometheus.Gauge
}

// New makes the metrics and registers them with r.
func New(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		Requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keystead_rest_requests_total",
			Help: "REST calls by endpoint and status code of the reply.",
		}, []string{"endpoint", "code"}),
		Latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "keystead_rest_seconds",
			Help:    "Time to answer a REST call, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
		}, []string{"endpoint"}),
		Unavailable: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keystead_rest_unavailable_total",
			Help: "Calls of endpoints that this server does not have.",
		}, []string{"endpoint"}),
		Panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keystead_rest_panics_total",
			Help: "Handlers that panicked. Each is a bug.",
		}),
		RateRefused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keystead_rate_refused_total",
			Help: "Requests that a rate limit refused, by the limit's name.",
		}, []string{"limit"}),
		ConnectionsRefused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keystead_rest_connections_refused_total",
			Help: "Connections of the REST door that were closed at once, or made room for others.",
		}, []string{"reason"}),
		RootSeqno: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "keystead_merkle_root_seqno",
			Help: "The newest published Merkle root.",
		}),
	}
	r.MustRegister(m.Requests, m.Latency, m.Unavailable, m.Panics, m.RateRefused, m.ConnectionsRefused, m.RootSeqno)
	return m
}
