// Package api serves jobs over HTTP: the current result, the progress as a stream of server-sent
// events, lists, links to recordings, tickets, and the actions cancel, retry and erase.
//
// Clients see only committed records. A job that is accepted but not recorded yet has the stage
// received. All streams of one job share the reads and the rendered frames, and no stream waits for
// another.
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

// Access checks whether a principal may know of a job. Its methods fail with fault.JobNotFound if
// there is no such job, or if the job belongs to another owner. For an admin CheckRead and
// CheckControl return nil even if there is no such job.
type Access interface {
	Status(ctx context.Context, p principal.Principal, id string) (job.Status, error)
	CheckRead(ctx context.Context, p principal.Principal, id string) error    // works without the bus
	CheckControl(ctx context.Context, p principal.Principal, id string) error // works without the database
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
	Language  locale.Language // used if Accept-Language names no language that is known
	Heartbeat time.Duration   // time between two comments on a stream
	Hold      time.Duration   // how long streams stay open in a shutdown, for jobs that end meanwhile
	Memory    int64           // memory for the large results that are being sent, in bytes
	Retention job.Retention
	LogMaxAge time.Duration // how long events are kept in the stream of logs
	Drain     time.Duration // after Hold, the time over which the ends of the remaining streams are spread
}

// API serves requests.
type API struct {
	Dependencies
	opt     Options
	memory  *membound.Bound
	stopped chan struct{} // closed at a shutdown
	streams atomic.Int64
}

// New makes the API.
func New(d Dependencies, opt Options) *API {
	return &API{Dependencies: d, opt: opt, memory: membound.New(opt.Memory), stopped: make(chan struct{})}
}

// The paths that answers refer to.
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
	mux.Handle("GET /jobs/", a.all(a.list))
	mux.Handle("GET "+usagePath, a.all(a.usage))
	mux.Handle("POST /jobs/{job_id}/ticket", a.read(a.ticket))
	mux.Handle("POST /jobs/{job_id}/cancel", a.write(a.control(command.Cancel)))
	mux.Handle("POST /jobs/{job_id}/retry", a.write(a.control(command.Retry)))
	mux.Handle("DELETE /jobs/{job_id}", a.write(a.erase))
}

// Run waits for ctx to end. Then it ends long polls and starts the Hold of open streams. It does
// not wait for them: the shutdown of the server does.
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
