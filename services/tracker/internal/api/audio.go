package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"sori.internal/services/tracker/internal/query"
	"sori.internal/shared/fault"
)

// Links makes links to recordings.
type Links interface {
	// Link returns a URL with which a recording can be read for a limited time, with the given HTTP
	// method. Everyone who has the URL can read the recording. If download is true, the browser
	// saves the recording under its file name; otherwise it plays the recording.
	Link(ctx context.Context, method string, r query.Recording, download bool) (string, error)
}

// audio redirects to a presigned URL of the recording.
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

// downloadOf returns the value of the query parameter download; false if it is absent or empty.
func downloadOf(query url.Values) (bool, error) {
	text := query.Get("download")
	if text == "" {
		return false, nil
	}
	download, err := strconv.ParseBool(text) // also True, which Python's requests makes of a boolean
	if err != nil {
		return false, fault.ValidationFailed(fault.Violation{Pointer: "download", Detail: "must be 1 or 0"})
	}
	return download, nil
}
