// Package api answers the viewers of jobs: the result as it is now, the progress
// as a stream of server-sent events, lists, and the way to the recording; and it
// takes what they ask of jobs.
//
// A viewer is told only of what is committed, or accepted where nothing is yet.
// The streams of one job share what is read and rendered for them, and none
// waits for another.
package api

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/httpd"
	"sori.internal/shared/locale"
)

// Reader reads the newest committed version of a job, and where its recording is.
type Reader interface {
	Find(ctx context.Context, id string) (job.Snapshot, error)
	Recording(ctx context.Context, id string) (job.Recording, error)
}

// Options are what the operator decides.
type Options struct {
	Language  locale.Language // where Accept-Language is silent
	Heartbeat time.Duration   // between two comments on a stream
	Hold      time.Duration   // how long streams stay open after a stop, for jobs that end meanwhile
	Goodbye   time.Duration   // over which the streams that are left then end
}

// API answers requests.
type API struct {
	reader     Reader
	lister     Lister
	links      Links
	hub        *job.Hub
	controller Controller
	eraser     Eraser
	opt        Options
	stopped    chan struct{}
	streams    atomic.Int64
}

// New makes the API.
func New(reader Reader, lister Lister, links Links, hub *job.Hub, controller Controller, eraser Eraser, opt Options) *API {
	return &API{
		reader: reader, lister: lister, links: links, hub: hub, controller: controller, eraser: eraser, opt: opt,
		stopped: make(chan struct{}),
	}
}

// Routes adds the API's routes.
func (a *API) Routes(mux *httpd.Mux) {
	mux.Handle("GET /tokens/analysis-result/{job_id}", a.result)
	mux.Handle("GET /tokens/analysis-progress/{job_id}", a.progress)
	mux.Handle("GET /jobs/", a.list)
	mux.Handle("GET /jobs/{job_id}/audio", a.audio)
	mux.Handle("POST /jobs/{job_id}/cancel", a.control(job.Cancel))
	mux.Handle("POST /jobs/{job_id}/retry", a.control(job.Retry))
	mux.Handle("DELETE /jobs/{job_id}", a.erase)
}

// Run ends held replies, and starts the time that open streams have left, when
// ctx ends; it is a part of the process. The server's own stop waits for them.
func (a *API) Run(ctx context.Context) error {
	<-ctx.Done()
	close(a.stopped)
	return nil
}

// Streams is how many progress streams are open.
func (a *API) Streams() float64 { return float64(a.streams.Load()) }

// jobID is the job that a request's path names.
func jobID(r *http.Request) (string, error) {
	id, ok := event.ParseJobID(r.PathValue("job_id"))
	if !ok {
		return "", job.NotFound()
	}
	return id, nil
}

func (a *API) language(r *http.Request) locale.Language {
	return locale.Choose(r.Header.Get("Accept-Language"), a.opt.Language)
}
