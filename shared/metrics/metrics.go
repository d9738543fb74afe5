// Package metrics registers the metrics of a process and serves them in the text format of
// Prometheus. Those that every service has are made here.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry holds a process's metrics.
type Registry struct {
	prom     *prometheus.Registry
	Events   *Events
	Requests *Requests
}

// New makes the registry of a process, with the Go runtime's own metrics.
func New() *Registry {
	r := &Registry{
		prom: prometheus.NewRegistry(),
		Events: &Events{took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sori_event_seconds", Help: "time to handle one event, by consumer and outcome",
			Buckets: []float64{.001, .005, .025, .1, .5, 2, 10, 60, 600},
		}, []string{"consumer", "outcome"})},
		Requests: &Requests{took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sori_http_request_seconds", Help: "time to answer one request, by route, method and status",
			Buckets: []float64{.001, .005, .025, .1, .5, 2, 10, 60, 600},
		}, []string{"route", "method", "status"})},
	}
	r.prom.MustRegister(r.Events.took, r.Requests.took,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Gauge registers a value that is read whenever the metrics are.
func (r *Registry) Gauge(name, help string, read func() float64) {
	r.prom.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Counter registers a counter.
func (r *Registry) Counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	r.prom.MustRegister(c)
	return c
}

// Handler serves the metrics.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.prom, promhttp.HandlerOpts{})
}

// Events times the handling of events. A nil *Events counts nothing.
type Events struct{ took *prometheus.HistogramVec }

// Observe counts one event.
func (e *Events) Observe(consumer, outcome string, took time.Duration) {
	if e != nil {
		e.took.WithLabelValues(consumer, outcome).Observe(took.Seconds())
	}
}

// Requests times HTTP requests by their route, never by their path: what a
// client sends must not make new series.
type Requests struct{ took *prometheus.HistogramVec }

// Observe counts one request.
func (r *Requests) Observe(route, method string, status int, took time.Duration) {
	r.took.WithLabelValues(route, method, strconv.Itoa(status)).Observe(took.Seconds())
}
