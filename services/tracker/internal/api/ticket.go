package api

import (
	"net/http"
	"net/url"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/httpd"
	"sori.internal/shared/principal"
)

// ticketBody is the response to POST /jobs/{job_id}/ticket. Its URLs have no scheme and host.
type ticketBody struct {
	Ticket      string    `json:"ticket"`
	ExpiresAt   time.Time `json:"expires_at"`
	ProgressURL string    `json:"progress_url"`
	ResultURL   string    `json:"result_url"`
	AudioURL    string    `json:"audio_url"`
}

// ticket responds with a ticket for the job, and with URLs that contain the ticket.
func (a *API) ticket(w http.ResponseWriter, r *http.Request, id string) error {
	p := principal.From(r.Context())
	switch status, err := a.Reader.Status(r.Context(), p, id); {
	case err != nil:
		return err
	case status == job.Erased:
		return job.Gone()
	}
	ticket, expires, err := a.Tickets.Issue(p, id)
	if err != nil {
		return err
	}
	query := "?" + url.Values{principal.TicketParameter: {ticket}}.Encode()
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	return httpd.JSON(w, http.StatusCreated, ticketBody{
		Ticket: ticket, ExpiresAt: expires,
		ProgressURL: progressPath + id + query, ResultURL: resultPath + id + query, AudioURL: audioPath(id) + query,
	})
}
