// Package api is the dispatcher's HTTP: the webhook that the analysis server
// calls.
package api

import (
	"context"
	"net/http"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/locale"
)

// WebhookPath is where callbacks arrive.
const WebhookPath = "/tokens/webhook/analysis-complete"

// Routes adds the routes. maxBody bounds a callback's body in bytes.
func Routes(mux *httpd.Mux, core *analysis.Dispatcher, maxBody int64, silence locale.Language) {
	w := &webhook{core: core, maxBody: maxBody, silence: silence}
	mux.Handle("POST "+WebhookPath, w.receive)
}

type webhook struct {
	core    *analysis.Dispatcher
	maxBody int64
	silence locale.Language
}

// received is the answer to a callback.
type received struct {
	Received bool   `json:"received"`
	JobID    string `json:"job_id"`
	Message  string `json:"message,omitempty"`
}

// recordTimeout bounds how long a report may take to become durable.
const recordTimeout = 20 * time.Second

// The bounds of how long a report is held that cannot be recorded at once. Many servers
// call back once and wait for 10 s or more: while the bus chooses a new leader their
// report is kept for them.
const (
	holdFor   = 8 * time.Second
	holdPause = 250 * time.Millisecond
)

// hold tries to record a report until that succeeds, fails for good or has taken too
// long. Recording it twice is as good as once.
func hold(ctx context.Context, record func(context.Context) (analysis.Disposition, error)) (analysis.Disposition, error) {
	over := time.Now().Add(holdFor)
	for {
		try, cancel := context.WithDeadline(ctx, over)
		disposition, err := record(try)
		cancel()
		if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Exhausted) || time.Until(over) <= holdPause {
			return disposition, err
		}
		select {
		case <-time.After(holdPause):
		case <-ctx.Done():
			return disposition, err
		}
	}
}

func (h *webhook) receive(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	caller, err := h.core.Authenticate(q.Get("job_id"), q.Get("attempt"), q.Get("sig"))
	if err != nil {
		return err
	}
	body, unread := httpd.Body(w, r, h.maxBody)
	// Who hangs up after the last byte has reported all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), recordTimeout)
	defer cancel()
	disposition, err := hold(ctx, func(ctx context.Context) (analysis.Disposition, error) {
		if unread != nil {
			return analysis.Recorded, h.core.Refuse(ctx, caller, true, unread)
		}
		return h.core.Receive(ctx, caller, analysis.Body{
			Bytes: body, Type: r.Header.Get("Content-Type"), Encoding: r.Header.Get("Content-Encoding"), Limit: h.maxBody,
		})
	})
	if err != nil {
		return err
	}
	answer := received{Received: true, JobID: caller.Job()}
	if disposition == analysis.AlreadyEnded {
		answer.Message = locale.Text(locale.Choose(r.Header.Get("Accept-Language"), h.silence), locale.AlreadyHad)
	}
	return httpd.JSON(w, http.StatusOK, answer)
}
