// Package metrics registers the metrics of a process and serves them in the text format of
// Prometheus. It defines the metrics that every service has.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry contains the metrics of a process.
type Registry struct {
	prom     *prometheus.Registry
	Events   *Events
	Requests *Requests
}

// New makes the registry of a process, with the metrics of the Go runtime.
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

// Gauge registers a gauge. read is called when the metrics are read.
func (r *Registry) Gauge(name, help string, read func() float64) {
	r.prom.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Counter registers a counter.
func (r *Registry) Counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	r.prom.MustRegister(c)
	return c
}

// CounterVec registers a counter with labels.
func (r *Registry) CounterVec(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.prom.MustRegister(c)
	return c
}

// Dependencies registers the gauge of the dependencies of the process. read is called when the
// metrics are read. It reports for each dependency whether it is available.
func (r *Registry) Dependencies(read func() map[string]bool) {
	r.prom.MustRegister(dependencies{
		gauge: prometheus.NewDesc("sori_dependency_ready", "1 if a dependency is available, as /readyz reports, and 0 if not", []string{"dependency"}, nil),
		read:  read,
	})
}

// dependencies is a prometheus.Collector.
type dependencies struct {
	gauge *prometheus.Desc
	read  func() map[string]bool
}

// Describe implements prometheus.Collector.
func (d dependencies) Describe(to chan<- *prometheus.Desc) { to <- d.gauge }

// Collect implements prometheus.Collector.
func (d dependencies) Collect(to chan<- prometheus.Metric) {
	for name, available := range d.read() {
		value := 0.0
		if available {
			value = 1
		}
		to <- prometheus.MustNewConstMetric(d.gauge, prometheus.GaugeValue, value, name)
	}
}

// Handler serves the metrics.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.prom, promhttp.HandlerOpts{})
}

// Events measures how long the handling of events takes. A nil *Events measures nothing.
type Events struct{ took *prometheus.HistogramVec }

// Observe records the handling of one event.
func (e *Events) Observe(consumer, outcome string, took time.Duration) {
	if e != nil {
		e.took.WithLabelValues(consumer, outcome).Observe(took.Seconds())
	}
}

// Requests measures HTTP requests by their route. It does not use the path: clients could create an
// unlimited number of time series.
type Requests struct{ took *prometheus.HistogramVec }

// Observe records one request. A client may send any word as the method. Therefore all methods that
// no route has are counted under one label.
func (r *Requests) Observe(route, method string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "any"
	}
	r.took.WithLabelValues(route, method, strconv.Itoa(status)).Observe(took.Seconds())
}
