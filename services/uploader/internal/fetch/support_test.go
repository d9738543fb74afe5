package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/source"
)

// loopback returns options that allow the servers of the tests.
func loopback(t *testing.T) Options {
	t.Helper()
	return Options{Allowed: allow(t, "127.0.0.1:*"), MaxBytes: 64 << 20, Idle: 20 * time.Second, Tries: 3, Backoff: time.Millisecond}
}

func allow(t *testing.T, setting string) source.Allowed {
	t.Helper()
	var a source.Allowed
	if err := a.UnmarshalText([]byte(setting)); err != nil {
		t.Fatal(err)
	}
	return a
}

// outcome is the result of a fetch.
type outcome struct {
	body   []byte
	begins int      // how often store was called
	failed []string // code and status of each failed try
	err    error
}

// code returns the code and the status of the error; "" if the fetch succeeded.
func (o outcome) code() string {
	var f *upload.FetchError
	if errors.As(o.err, &f) {
		return codeOf(f)
	}
	if o.err != nil {
		return o.err.Error()
	}
	return ""
}

func codeOf(f *upload.FetchError) string { return fmt.Sprintf("%s %d", f.Code, f.Status) }

// fetchFrom fetches a source, and checks that the error does not contain the secret of the tests.
func fetchFrom(t *testing.T, c *Client, src source.Source) outcome {
	t.Helper()
	var o outcome
	o.err = c.Fetch(t.Context(), src, func(f *upload.FetchError) { o.failed = append(o.failed, codeOf(f)) },
		func(body io.Reader, _ int64) error {
			o.begins++
			var err error
			o.body, err = io.ReadAll(body)
			return err
		})
	if o.err != nil && strings.Contains(o.err.Error(), "s3cret") {
		t.Errorf("the failure has the URL or a header: %v", o.err)
	}
	return o
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func content(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// cut aborts a response.
func cut() { panic(http.ErrAbortHandler) }

// file serves a file and supports ranges. It cuts the first responses after the numbers of bytes in
// cuts.
type file struct {
	mu      sync.Mutex
	content []byte
	etag    string
	cuts    []int // by response: number of bytes to send; -1 means all

	ranges []string // the Range header of each request
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ranges = append(f.ranges, r.Header.Get("Range"))
	limit := -1
	if len(f.cuts) > 0 {
		limit, f.cuts = f.cuts[0], f.cuts[1:]
	}
	if f.etag != "" {
		w.Header().Set("ETag", f.etag)
	}
	if limit >= 0 {
		w = &cutting{ResponseWriter: w, left: limit}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}

// cutting cuts a response.
type cutting struct {
	http.ResponseWriter

	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	n, _ := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	c.ResponseWriter.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
	if c.left -= n; c.left == 0 {
		cut()
	}
	return n, nil
}
