package httpd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"sori.internal/shared/fault"
)

// JSON answers with v.
func JSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode reply: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left does not need it
	return nil
}

// Body reads a request's body of at most limit bytes.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit && r.Header.Get("Expect") != "" { // who asks first is told before it sends
		return nil, fault.ExceedsLimit("body", limit, nil)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if longer, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, fault.ExceedsLimit("body", limit, longer)
	}
	if err != nil {
		return nil, fault.BodyTruncated(err)
	}
	return body, nil
}
