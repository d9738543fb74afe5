package api

import (
	"context"
	"net/http"
	"net/url"

	"sori.internal/services/tracker/internal/query"
	"sori.internal/shared/fault"
)

// Links makes links to recordings.
type Links interface {
	// Link returns a URL by which a recording can be read with an HTTP method for a limited time.
	// The URL needs no credentials: everyone who has it can read the recording. If download is set,
	// the browser saves the recording under its file name; otherwise it plays the recording.
	Link(ctx context.Context, method string, r query.Recording, download bool) (string, error)
}

// audio redirects to the recording in the bucket.
func (a *API) audio(w http.ResponseWriter, r *http.Request, id string) error {
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

// downloadOf reads the parameter download. A parameter without a value counts as absent.
func downloadOf(query url.Values) (bool, error) {
	switch query.Get("download") {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	default:
		return false, fault.ValidationFailed(fault.Violation{Pointer: "download", Detail: "must be 1 or 0"})
	}
}
