package api

import (
	"context"
	"net/http"

	"sori.internal/services/tracker/internal/job"
)

// Links links to recordings.
type Links interface {
	// Link returns where a recording can be read by a method for a while, without
	// credentials: whoever has the link has the recording.
	Link(ctx context.Context, method string, r job.Recording) (string, error)
}

// audio sends to the recording itself.
func (a *API) audio(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	recording, err := a.reader.Recording(r.Context(), id)
	if err != nil {
		return err
	}
	link, err := a.links.Link(r.Context(), r.Method, recording)
	if err != nil {
		return err
	}
	w.Header().Set("Location", link)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}
