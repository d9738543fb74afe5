package api

import (
	"context"
	"net/http"
	"net/url"

	"sori.internal/services/tracker/internal/query"
	"sori.internal/shared/fault"
)

// Links links to recordings.
type Links interface {
	// Link returns where a recording can be read by a method for a while, without
	// credentials: whoever has the link has the recording. A browser saves it under
	// its own name where it is for download, and plays it otherwise.
	Link(ctx context.Context, method string, r query.Recording, download bool) (string, error)
}

// audio sends to the recording itself.
func (a *API) audio(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	download, err := downloadOf(r.URL.Query())
	if err != nil {
		return err
	}
	recording, err := a.Reader.Recording(r.Context(), id)
	if err != nil {
		return err
	}
	link, err := a.Links.Link(r.Context(), r.Method, recording, download)
	if err != nil {
		return err
	}
	w.Header().Set("Location", link)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

// downloadOf reads the parameter of that name; what is there without a value is
// absent.
func downloadOf(query url.Values) (bool, error) {
	switch query.Get("download") {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	default:
		return false, invalid(fault.Violation{Pointer: "download", Detail: "must be 1 or 0"})
	}
}
