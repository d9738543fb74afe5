// Package api is the dispatcher's HTTP: the webhook that the analysis server
// calls.
package api

import (
	"context"
	"net/http"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/httpd"
	"sori.internal/shared/locale"
)

// WebhookPath is where callbacks arrive.
const WebhookPath = "/tokens/webhook/analysis-complete"

// Routes adds the routes. maxBody bounds a callback's body in bytes.
func Routes(mux *httpd.Mux, core *analysis.Core, maxBody int64, silence locale.Language) {
	w := &webhook{core: core, maxBody: maxBody, silence: silence}
	mux.Handle("POST "+WebhookPath, w.receive)
}

type webhook struct {
	core    *analysis.Core
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

func (h *webhook) receive(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	caller, err := h.core.Authenticate(q.Get("job_id"), q.Get("attempt"), q.Get("sig"))
	if err != nil {
		return err
	}
	body, err := httpd.Body(w, r, h.maxBody)
	if err != nil {
		return err
	}
	// Who hangs up after the last byte has reported all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), recordTimeout)
	defer cancel()
	reception, err := h.core.Receive(ctx, caller, body)
	if err != nil {
		return err
	}
	answer := received{Received: true, JobID: caller.Job()}
	if reception == analysis.Repeated {
		answer.Message = locale.Text(locale.Choose(r.Header.Get("Accept-Language"), h.silence), locale.AlreadyHad)
	}
	return httpd.JSON(w, http.StatusOK, answer)
}
