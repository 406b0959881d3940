package jobs

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

var (
	waitingDesc = prometheus.NewDesc("keystead_jobs_waiting", "Background jobs that wait, by kind.", []string{"kind"}, nil)
	lateDesc    = prometheus.NewDesc("keystead_jobs_late_seconds", "How long the job that waits longest beyond its time has done so, by kind; 0 if none does.", []string{"kind"}, nil)
)

// backlog reads what waits out of the store whenever metrics are collected. Kinds that
// nobody handles are counted, too: their jobs wait for ever.
type backlog struct{ r *Runner }

// Describe implements prometheus.Collector.
func (b backlog) Describe(ch chan<- *prometheus.Desc) { ch <- waitingDesc; ch <- lateDesc }

// Collect implements prometheus.Collector.
func (b backlog) Collect(ch chan<- prometheus.Metric) {
	v := b.r.o.Store.View()
	defer v.Close()
	counts, late := map[string]int{}, map[string]float64{}
	for _, kind := range b.r.kinds() {
		counts[kind] = 0
	}
	counted := 0
	err := v.Scan(keys.Jobs(), keys.End(keys.Jobs()), func(k, _ []byte) error {
		if kind, _, ok := keys.JobOf(k); ok {
			counts[kindName(kind)]++
		}
		if counted++; counted >= countedMax {
			return store.ErrStop
		}
		return nil
	})
	now := b.r.o.Clock().UnixMilli()
	for kind := range counts {
		lo := keys.DueJobs(kindID(kind))
		if err != nil {
			break
		}
		err = v.Scan(lo, keys.End(lo), func(k, _ []byte) error {
			if _, at, _, ok := keys.DueJobOf(k); ok && at < now {
				late[kind] = float64(now-at) / 1000
			}
			return store.ErrStop
		})
	}
	if err != nil {
		ch <- prometheus.NewInvalidMetric(waitingDesc, err)
		return
	}
	for kind, n := range counts {
		ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(n), kind)
		ch <- prometheus.MustNewConstMetric(lateDesc, prometheus.GaugeValue, late[kind], kind)
	}
}
