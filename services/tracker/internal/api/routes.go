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
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
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

// The rules of access. Each route of the API is made by one of the functions all, read,
// readByTicket and write, so that these rules apply to every route:
//
//  1. A request without a principal gets 401. The gateway signs the principal of each request. A
//     route that a browser requests without headers of its page, such as an EventSource, also
//     accepts a ticket in the query.
//  2. A request gets 403 if its principal lacks the scope of the route.
//  3. A request about a job to which the principal has no access gets 404, as if the job did not
//     exist. This is checked before anything else about the job.

// varyBy is the Vary header of answers about jobs. The answers depend on the principal, which the
// gateway determines from the client's header Authorization.
const varyBy = "Accept-Language, Authorization"

// handler handles a request whose principal is in its context.
type handler func(w http.ResponseWriter, r *http.Request) error

// jobHandler handles a request about a job to which the principal has access.
type jobHandler func(w http.ResponseWriter, r *http.Request, id string) error

// forNoJob makes a route that is about no single job, such as a list.
func (a *API) forNoJob(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		p, err := a.signed(w, r, "")
		if err != nil {
			return err
		}
		return serve(h, w, r, p, principal.JobsRead)
	}
}

// read makes a route that shows a job.
func (a *API) read(h jobHandler) handler {
	return a.job(h, principal.JobsRead, a.Reader.CheckRead, a.signed)
}

// readByTicket makes a route that shows a job and also accepts a ticket. Referrer-Policy prevents
// the browser from sending the URL, which may contain a ticket, to the next page.
func (a *API) readByTicket(h jobHandler) handler {
	route := a.job(h, principal.JobsRead, a.Reader.CheckRead, a.signedOrTicket)
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Referrer-Policy", "no-referrer")
		return route(w, r)
	}
}

// write makes a route that changes a job.
func (a *API) write(h jobHandler) handler {
	return a.job(h, principal.JobsWrite, a.Reader.CheckControl, a.signed)
}

// job makes a route about a job. authenticate returns the principal of a request, and check fails
// if the principal has no access to the job.
func (a *API) job(
	h jobHandler, scope principal.Scope,
	check func(context.Context, principal.Principal, string) error,
	authenticate func(w http.ResponseWriter, r *http.Request, id string) (principal.Principal, error),
) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, parseErr := jobID(r)
		p, err := authenticate(w, r, id)
		if err != nil {
			return err
		}
		return serve(func(w http.ResponseWriter, r *http.Request) error {
			if parseErr != nil {
				return parseErr
			}
			if err := check(r.Context(), p, id); err != nil {
				return err
			}
			return h(w, r, id)
		}, w, r, p, scope)
	}
}

// serve calls h with the principal in the context, if the principal has the scope of the route.
func serve(h handler, w http.ResponseWriter, r *http.Request, p principal.Principal, scope principal.Scope) error {
	if !p.May(scope) {
		return fault.InsufficientScope(string(scope))
	}
	return h(w, r.WithContext(principal.With(r.Context(), p)))
}

// signed returns the principal that the gateway has signed. It ignores the job.
func (a *API) signed(w http.ResponseWriter, r *http.Request, _ string) (principal.Principal, error) {
	return httpd.Authenticate(w, r, a.Verifier)
}

// signedOrTicket returns the principal that the gateway has signed. If the request has none, but a
// ticket for the job, it returns the principal of the ticket.
func (a *API) signedOrTicket(w http.ResponseWriter, r *http.Request, id string) (principal.Principal, error) {
	query := r.URL.Query()
	if len(r.Header.Values(principal.Header)) > 0 || !query.Has(principal.TicketParameter) {
		return a.signed(w, r, id)
	}
	p, err := a.Tickets.Verify(query.Get(principal.TicketParameter), id)
	if err != nil {
		httpd.Challenge(w)
		return principal.Principal{}, fault.Wrap(fault.Unauthenticated, "invalid-ticket",
			"The ticket has expired or is not for this job. Please request another one.", err)
	}
	return p, nil
}

// jobID returns the id of the job in the path of a request.
func jobID(r *http.Request) (string, error) {
	id, ok := event.ParseJobID(r.PathValue("job_id"))
	if !ok {
		return "", fault.JobNotFound()
	}
	return id, nil
}
