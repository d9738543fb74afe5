package contract

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Transport is an http.RoundTripper that checks every response as soon as its body has been read to
// the end or closed.
type Transport struct {
	Base     http.RoundTripper
	Document *Document
	Report   func(error)
	Exempt   func(*http.Response) bool // reports whether a response is not checked; if nil, all are checked
	Prefix   string                    // prefix of the paths of the API; may be empty
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.Base.RoundTrip(req)
	if err != nil || t.Exempt != nil && t.Exempt(resp) {
		return resp, err //nolint:wrapcheck // a RoundTripper must return errors unchanged
	}
	resp.Body = &watched{body: resp.Body, check: func(seen []byte, whole bool) {
		err := t.Document.Check(Answer{
			Method: req.Method, Path: strings.TrimPrefix(req.URL.EscapedPath(), t.Prefix), Status: resp.StatusCode,
			Header: resp.Header, Body: seen, Part: !whole,
		})
		if err != nil {
			t.Report(err)
		}
	}}
	return resp, nil
}

// watched is a body that is checked once, when it has been read to the end or closed.
type watched struct {
	body  io.ReadCloser
	seen  bytes.Buffer
	once  sync.Once
	check func(seen []byte, whole bool)
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	w.seen.Write(p[:n])
	if err != nil {
		w.end(errors.Is(err, io.EOF))
	}
	return n, err //nolint:wrapcheck // a reader must return io.EOF unwrapped
}

// Close implements io.Closer.
func (w *watched) Close() error {
	err := w.body.Close()
	w.end(false)
	return err //nolint:wrapcheck // the transport forwards errors
}

func (w *watched) end(whole bool) { w.once.Do(func() { w.check(w.seen.Bytes(), whole) }) }
