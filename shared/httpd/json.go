package httpd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"sori.internal/shared/fault"
)

// JSON responds with v as JSON.
func JSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode reply: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the client has left
	return nil
}

// Body reads the body of a request. It fails with fault.TooLarge if the body exceeds limit bytes,
// with fault.RequestTimeout if it arrives too slowly, and with fault.Malformed if its end does not
// arrive.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit && r.Header.Get("Expect") != "" { // with Expect: 100-continue, the client sends the body only after a response
		return nil, fault.ExceedsLimit("body", limit, nil)
	}
	control := http.NewResponseController(w)
	defer func() { _ = control.SetReadDeadline(time.Time{}) }() // removes the deadline for the next request on this connection
	body, err := io.ReadAll(&pacedBody{Reader: http.MaxBytesReader(w, r.Body, limit), control: control, pace: slowest.Meter()})
	if longer, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, fault.ExceedsLimit("body", limit, longer)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fault.Wrap(fault.RequestTimeout, "request-timeout", "The body came too slowly.", err)
	}
	if err != nil {
		return nil, fault.BodyTruncated(err)
	}
	return body, nil
}
