// Package api serves jobs over HTTP: the current result, the progress as a stream of server-sent
// events, lists, the link to the recording, and cancel, retry and erase.
//
// Clients see only what is committed, or what is accepted if nothing is committed yet. The streams
// of one job share what is read and rendered for them, and none waits for another.
package api

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/query"
	"sori.internal/services/tracker/internal/watch"
	"sori.internal/shared/httpd"
	"sori.internal/shared/locale"
	"sori.internal/shared/principal"
)

// Reader finds the newest committed version of a job, and its recording.
type Reader interface {
	Find(ctx context.Context, id string) (job.Snapshot, error)
	Recording(ctx context.Context, id string) (query.Recording, error)
	Access
}

// Access decides what a principal may know of. It fails with fault.JobNotFound if there is no such job,
// or if it is another's.
type Access interface {
	Status(ctx context.Context, p principal.Principal, id string) (job.Status, error)
	CheckRead(ctx context.Context, p principal.Principal, id string) error    // works without the bus
	CheckControl(ctx context.Context, p principal.Principal, id string) error // works without the database
}

// Dependencies are what the API works with.
type Dependencies struct {
	Reader     Reader
	Lister     Lister
	Links      Links
	Hub        *watch.Hub
	Controller Controller
	Eraser     Eraser
	Verifier   principal.Verifier
	Tickets    principal.Tickets
}

// Options are the settings of the API.
type Options struct {
	Language  locale.Language // if Accept-Language names none that is known
	Heartbeat time.Duration   // between two comments on a stream
	Hold      time.Duration   // how long streams stay open at a shutdown, for jobs that end meanwhile
	Drain     time.Duration   // over which the remaining streams are ended after that
}

// API serves requests.
type API struct {
	Dependencies
	opt     Options
	stopped chan struct{} // closed at a shutdown
	streams atomic.Int64
}

// New makes the API.
func New(d Dependencies, opt Options) *API {
	return &API{Dependencies: d, opt: opt, stopped: make(chan struct{})}
}

// The paths that answers refer to.
const (
	resultPath   = "/tokens/analysis-result/"
	progressPath = "/tokens/analysis-progress/"
)

func audioPath(id string) string { return "/jobs/" + id + "/audio" }

// Routes adds the API's routes.
func (a *API) Routes(mux *httpd.Mux) {
	mux.Handle("GET "+resultPath+"{job_id}", a.readByTicket(a.result))
	mux.Handle("GET "+progressPath+"{job_id}", a.readByTicket(a.progress))
	mux.Handle("GET "+audioPath("{job_id}"), a.readByTicket(a.audio))
	mux.Handle("GET /jobs/", a.all(a.list))
	mux.Handle("POST /jobs/{job_id}/ticket", a.read(a.ticket))
	mux.Handle("POST /jobs/{job_id}/cancel", a.write(a.control(command.Cancel)))
	mux.Handle("POST /jobs/{job_id}/retry", a.write(a.control(command.Retry)))
	mux.Handle("DELETE /jobs/{job_id}", a.write(a.erase))
}

// Run waits for ctx to end. Then it ends long polls, and the Hold of open streams begins. The
// server's own shutdown waits for both.
func (a *API) Run(ctx context.Context) error {
	<-ctx.Done()
	close(a.stopped)
	return nil
}

// Streams is how many progress streams are open.
func (a *API) Streams() float64 { return float64(a.streams.Load()) }

func (a *API) language(r *http.Request) locale.Language {
	return locale.Choose(r.Header.Get("Accept-Language"), a.opt.Language)
}
