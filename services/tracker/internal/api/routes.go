// Package api serves jobs over HTTP: the current result, the progress as a stream of server-sent
// events, lists, links to recordings, tickets, and the actions cancel, retry and erase.
//
// Clients see only committed records. A job that is accepted but not recorded yet is shown in the
// stage received. All streams of one job share the database reads and the encoded frames, and no
// stream waits for another.
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
	"sori.internal/shared/membound"
	"sori.internal/shared/principal"
)

// Reader finds the newest committed version of a job, and its recording.
type Reader interface {
	Find(ctx context.Context, id string) (job.Snapshot, error)
	Recording(ctx context.Context, id string) (query.Recording, error)
	Access
}

// Access checks whether a principal has access to a job. Its methods fail with fault.JobNotFound if
// the job does not exist, or if it belongs to another owner. For an admin, CheckRead and
// CheckControl return nil even if the job does not exist.
type Access interface {
	Status(ctx context.Context, p principal.Principal, id string) (job.Status, error)
	CheckRead(ctx context.Context, p principal.Principal, id string) error    // needs the database, but not NATS
	CheckControl(ctx context.Context, p principal.Principal, id string) error // needs NATS, but not the database
}

// Dependencies has the dependencies of the API.
type Dependencies struct {
	Reader     Reader
	Sizes      Sizes
	Lister     Lister
	Usages     Usages
	Links      Links
	Hub        *watch.Hub
	Controller Controller
	Eraser     Eraser
	Verifier   principal.Verifier
	Tickets    principal.Tickets
}

// Options are the settings of the API.
type Options struct {
	Language  locale.Language // used if Sori supports no language in Accept-Language
	Heartbeat time.Duration   // time between two comments on a stream
	Hold      time.Duration   // how long streams stay open in a shutdown, since their jobs may end soon
	Memory    int64           // memory for all large results that are being sent, in bytes
	Retention job.Retention
	LogMaxAge time.Duration // how long events are kept in the stream of logs
	Drain     time.Duration // how long after Hold the last stream ends
}

// API serves requests.
type API struct {
	Dependencies
	opt     Options
	memory  *membound.Bound
	stopped chan struct{} // closed when the shutdown begins
	streams atomic.Int64
}

// New makes the API.
func New(d Dependencies, opt Options) *API {
	return &API{Dependencies: d, opt: opt, memory: membound.New(opt.Memory), stopped: make(chan struct{})}
}

// The paths that answers contain.
const (
	resultPath   = "/tokens/analysis-result/"
	progressPath = "/tokens/analysis-progress/"
)

func audioPath(id string) string { return "/jobs/" + id + "/audio" }

// Routes adds the API's routes.
func (a *API) Routes(mux *httpd.Mux) {
	mux.Handle("GET "+resultPath+"{job_id}", a.readByTicket(a.withResult(a.result)))
	mux.Handle("GET "+progressPath+"{job_id}", a.readByTicket(a.withResult(a.progress)))
	mux.Handle("GET "+audioPath("{job_id}"), a.readByTicket(a.audio))
	mux.Handle("GET /jobs/", a.forNoJob(a.list))
	mux.Handle("GET "+usagePath, a.forNoJob(a.usage))
	mux.Handle("POST /jobs/{job_id}/ticket", a.read(a.ticket))
	mux.Handle("POST /jobs/{job_id}/cancel", a.write(a.control(command.Cancel)))
	mux.Handle("POST /jobs/{job_id}/retry", a.write(a.control(command.Retry)))
	mux.Handle("DELETE /jobs/{job_id}", a.write(a.erase))
}

// Run waits until ctx ends. Then it ends the long polls, and lets each stream end after Hold. Run
// does not wait until the streams have ended: the HTTP server does.
func (a *API) Run(ctx context.Context) error {
	<-ctx.Done()
	close(a.stopped)
	return nil
}

// Streams returns the number of open progress streams.
func (a *API) Streams() float64 { return float64(a.streams.Load()) }

func (a *API) language(r *http.Request) locale.Language {
	return locale.Choose(r.Header.Get("Accept-Language"), a.opt.Language)
}
