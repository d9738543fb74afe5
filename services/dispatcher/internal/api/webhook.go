// Package api has the HTTP routes of the dispatcher: the webhook that the analysis server calls,
// and the look-up of cached results for the gateway.
package api

import (
	"context"
	"net/http"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/locale"
	"sori.internal/shared/wait"
)

// WebhookPath is the path to which the analysis server posts callbacks.
const WebhookPath = "/tokens/webhook/analysis-complete"

// Options has the settings of the operator.
type Options struct {
	MaxBody         int64           // largest body of a callback, in bytes
	Signatures      Signatures      // verifies the server's own signature, besides the signature in the URL
	DefaultLanguage locale.Language // language of responses if Sori supports no language in Accept-Language
}

// Routes adds the routes.
func Routes(mux *httpd.Mux, core *analysis.Dispatcher, options Options) {
	w := &webhook{core: core, options: options}
	mux.Handle("POST "+WebhookPath, w.handle)
}

type webhook struct {
	core    *analysis.Dispatcher
	options Options
}

// callbackResponse is the answer to a callback.
type callbackResponse struct {
	Received bool   `json:"received"`
	JobID    string `json:"job_id"`
	Message  string `json:"message,omitempty"`
}

// Recording a callback is retried every retryInterval for retryFor. Many servers call back only
// once and wait at least 10 s for the answer, so retryFor must be shorter. It must also be longer
// than NATS needs to elect a leader.
const (
	retryFor      = 8 * time.Second
	retryInterval = 250 * time.Millisecond
)

// recordWithRetry records a callback, and retries while NATS is unavailable or full. Recording a
// callback twice has the same effect as recording it once.
func recordWithRetry(ctx context.Context, record func(context.Context) (analysis.Disposition, error)) (analysis.Disposition, error) {
	deadline := time.Now().Add(retryFor)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for {
		disposition, err := record(ctx)
		if fault.Stopped(ctx, err) && fault.Is(err, fault.Internal) {
			err = fault.Unreachable("message bus", err) // the deadline ended between two calls of NATS, so the error has no kind
		}
		retryable := fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Exhausted)
		if !retryable || time.Until(deadline) <= retryInterval || wait.For(ctx, retryInterval) != nil {
			return disposition, err
		}
	}
}

// handle authenticates a callback by its URL and headers, reads its body, and records the report.
func (h *webhook) handle(w http.ResponseWriter, r *http.Request) error {
	caller, err := h.core.Authenticate(r.URL.Query())
	if err == nil {
		err = h.options.Signatures.CheckHeaders(r.Header)
	}
	if err != nil {
		// Without this header net/http would read the body before it sends the answer, to reuse the
		// connection.
		w.Header().Set("Connection", "close")
		return err
	}
	callback, err := h.read(w, r)
	if err != nil {
		return err
	}
	// A callback is recorded even if the server disconnects after it has sent the body.
	disposition, err := recordWithRetry(context.WithoutCancel(r.Context()), func(ctx context.Context) (analysis.Disposition, error) {
		return h.core.Receive(ctx, caller, callback)
	})
	if err != nil {
		return err
	}
	answer := callbackResponse{Received: true, JobID: caller.Job()}
	if disposition == analysis.AlreadyEnded {
		answer.Message = locale.Text(locale.Choose(r.Header.Get("Accept-Language"), h.options.DefaultLanguage), locale.AlreadyHad)
	}
	return httpd.JSON(w, http.StatusOK, answer)
}

// read reads the body of a callback, verifies its signature and parses it. If the body cannot be
// read, read returns a refused callback and no error.
func (h *webhook) read(w http.ResponseWriter, r *http.Request) (analysis.Callback, error) {
	body, err := httpd.Body(w, r, h.options.MaxBody)
	if err != nil {
		return analysis.RefusedCallback(err), nil
	}
	if err := h.options.Signatures.Check(r.Header, body); err != nil {
		return analysis.Callback{}, err
	}
	return analysis.ParseCallback(analysis.Body{
		Bytes: body, Type: r.Header.Get("Content-Type"), Encoding: r.Header.Get("Content-Encoding"), Limit: h.options.MaxBody,
	}), nil
}
