// Package api is the HTTP interface of the server: it parses requests, calls the job manager, and writes JSON.
//
// Errors are RFC 9457 problem documents. The member detail describes the error for the caller. The member error has the
// same text, for callers that read this member instead.
package api

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/analyzer/internal/job"
)

// Limits of a request.
const (
	maxBody  = 64 << 10 // largest size of a request's body, in bytes
	maxField = 8 << 10  // largest size of a field, in bytes; presigned URLs are long
)

// API serves the routes.
type API struct {
	Jobs       *job.Manager
	Behaviour  *job.BehaviourState
	Adjustable bool          // whether the behaviour can be read and changed over HTTP
	RetryAfter time.Duration // value of the header Retry-After when the queue is full
	Ready      *atomic.Bool
	Storage    func() error // returns an error if temporary files cannot be written
	Log        zerolog.Logger
}

// Handler returns the handler of all routes. Every path exists with and without a trailing slash.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	route := func(method, path string, h http.HandlerFunc) {
		mux.HandleFunc(method+" "+path, h)
		mux.HandleFunc(method+" "+path+"/{$}", h)
	}
	mux.HandleFunc("POST /{$}", a.submit)
	route("POST", "/analyze", a.submit)
	route("GET", "/status/{id}", a.status)
	route("DELETE", "/status/{id}", a.cancel)
	route("GET", "/livez", a.live)
	route("GET", "/readyz", a.ready)
	if a.Adjustable {
		route("GET", "/behaviour", a.behaviour)
		route("PUT", "/behaviour", a.setBehaviour)
	}
	mux.HandleFunc("GET /{$}", a.about)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, r, http.StatusNotFound, "not-found", "there is nothing at this path for this method")
	})
	return mux
}

func (a *API) about(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, map[string]string{"name": "sori analyzer", "submit": "POST /", "status": "GET /status/{job_id}"})
}

func (a *API) live(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (a *API) ready(w http.ResponseWriter, r *http.Request) {
	if !a.Ready.Load() {
		problem(w, r, http.StatusServiceUnavailable, "not-ready", "the server is starting or stopping")
		return
	}
	if err := a.Storage(); err != nil {
		a.Log.Warn().Err(err).Msg("not ready")
		problem(w, r, http.StatusServiceUnavailable, "not-ready", "temporary files cannot be written")
		return
	}
	write(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (a *API) status(w http.ResponseWriter, r *http.Request) {
	snapshot, ok := a.Jobs.Status(r.PathValue("id"))
	if !ok {
		unknown(w, r)
		return
	}
	write(w, http.StatusOK, snapshot)
}

func unknown(w http.ResponseWriter, r *http.Request) {
	problem(w, r, http.StatusNotFound, "job-not-found", "no job with this id is known; finished ones are forgotten after a while")
}

// cancel ends the analysis of a job, and deletes the job and its result.
func (a *API) cancel(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !a.Jobs.Cancel(id) {
		unknown(w, r)
		return
	}
	a.Log.Info().Str("id", id).Msg("job canceled")
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) behaviour(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, a.Behaviour.Get())
}

// setBehaviour replaces the whole behaviour: fields that are absent from the body get their zero value.
func (a *API) setBehaviour(w http.ResponseWriter, r *http.Request) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	var b job.Behaviour
	if err := decoder.Decode(&b); err != nil {
		problem(w, r, http.StatusBadRequest, "malformed-json", "the body is no behaviour: "+err.Error())
		return
	}
	if err := a.Behaviour.Set(b); err != nil {
		problem(w, r, http.StatusUnprocessableEntity, "validation-failed", err.Error())
		return
	}
	a.Log.Info().Interface("behaviour", b).Msg("behaviour changed")
	write(w, http.StatusOK, b)
}

// detail describes one invalid field.
type detail struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// document is an RFC 9457 problem document.
type document struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail"`
	Instance string   `json:"instance"`
	Code     string   `json:"code"`
	Error    string   `json:"error"`
	Errors   []detail `json:"errors,omitempty"`
}

func problem(w http.ResponseWriter, r *http.Request, status int, code, text string, fields ...detail) {
	title := http.StatusText(status)
	if title == "" {
		title = "Error"
	}
	w.Header().Set("Content-Type", "application/problem+json")
	encode(w, status, document{
		Type: "about:blank", Title: title, Status: status, Detail: text, Instance: r.URL.Path, Code: code, Error: text, Errors: fields,
	})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	encode(w, status, v)
}

func encode(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client has closed the connection
}

// retryAfter sets the header Retry-After to d in whole seconds, rounded up, or leaves it out if d is not positive.
func retryAfter(w http.ResponseWriter, d time.Duration) {
	if d > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
	}
}
