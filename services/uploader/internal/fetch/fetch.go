// Package fetch fetches recordings by HTTP from servers that clients choose.
//
// It guarantees:
//
//  1. It connects only to public addresses and to those that the operator allows (source.Allowed).
//     It checks the address to which it connects, so a name that resolves to another address a
//     moment later bypasses nothing. Each redirect is checked like the first URL.
//  2. Headers of the client are sent only to the origin of its URL.
//  3. A response is read as it was sent: it is not decompressed, and memory contains only as much
//     of it as its reader requests.
//  4. The connection to a server that sends nothing, or sends too slowly, is closed.
//  5. After a broken connection, the fetch is resumed with Range and If-Range. Bytes of two
//     versions of a file are never mixed: if there is no strong validator, or if it has changed,
//     the fetch begins again.
//  6. No error contains the URL.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/minrate"
	"sori.internal/shared/problem"
	"sori.internal/shared/source"
	"sori.internal/shared/wait"
)

// Options are the limits of fetches.
type Options struct {
	Allowed  source.Allowed
	MaxBytes int64         // largest size of a recording, in bytes
	MinRate  int64         // smallest rate in bytes per second (package minrate)
	Idle     time.Duration // a server that sends nothing for this time is disconnected
	Tries    int           // largest number of tries of one fetch
	Backoff  time.Duration // delay before the second try; doubled before each further try
}

// maxRetryAfter is the longest wait for a server that sends Retry-After.
const maxRetryAfter = 10 * time.Second

// Client fetches recordings. It is safe for concurrent use.
type Client struct {
	options Options
	http    *http.Client
}

// New makes a Client.
func New(o Options) *Client { return &Client{options: o, http: newHTTP(o)} }

// Fetch implements upload.Fetcher.
func (c *Client) Fetch(
	ctx context.Context, src source.Source, failed func(*upload.FetchError), store func(body io.Reader, size int64) error,
) error {
	f := &transfer{client: c, ctx: ctx, source: src, host: src.Host(), failed: failed, try: 1}
	for {
		b, err := f.begin() //nolint:contextcheck // the transfer has the context
		if err == nil {
			err = store(b, b.size)
			b.close()
			if b.err == nil { // reading the body did not fail: err is that of store
				return err
			}
			if err = b.err; errors.Is(err, errAgain) {
				continue
			}
		}
		if err := f.next(err); err != nil {
			return err
		}
	}
}

// errAgain means that a fetch cannot be resumed and must begin again. The failed try has been
// counted.
var errAgain = errors.New("the file has changed, or the server sends no part of it")

// transfer is one fetch, with all its tries.
type transfer struct {
	client *Client
	ctx    context.Context //nolint:containedctx // context of one fetch; the transfer is not used after it
	source source.Source
	host   string
	failed func(*upload.FetchError)
	try    int // number of the try, from 1
}

// next waits until the next try after a try that failed. If no further try is allowed, it returns
// the error of the failed try.
func (f *transfer) next(err error) error {
	var failure *tryError
	if !errors.As(err, &failure) {
		return err
	}
	if failure.final || f.try >= f.client.options.Tries || f.ctx.Err() != nil {
		return failure.FetchError
	}
	f.failed(failure.FetchError)
	pause := max(wait.Jitter(f.client.options.Backoff<<(f.try-1)), min(failure.after, maxRetryAfter))
	f.try++
	if wait.For(f.ctx, pause) != nil {
		return failure.FetchError
	}
	return nil
}

// tryError is the error of one try.
type tryError struct {
	*upload.FetchError

	final bool          // another try would fail, too
	after time.Duration // delay from the Retry-After header; 0 if there is none
}

// broken returns the error for a connection that failed.
func (f *transfer) broken(cause error) *tryError {
	if errors.Is(cause, source.ErrRefused) {
		return f.refused(cause)
	}
	if waited, ok := errors.AsType[net.Error](cause); errors.Is(cause, errSlow) || ok && waited.Timeout() {
		return &tryError{FetchError: &upload.FetchError{
			Code: event.CodeFetchTimeout, Retryable: true, Err: cause, Detail: f.host + " sends too slowly, or nothing.",
		}}
	}
	return &tryError{FetchError: &upload.FetchError{
		Code: event.CodeFetchFailed, Retryable: true, Err: cause, Detail: "The connection to " + f.host + " failed.",
	}}
}

// refused returns the error for a URL or an address that is not allowed.
func (f *transfer) refused(cause error) *tryError {
	return &tryError{final: true, FetchError: &upload.FetchError{
		Code: event.CodeFetchRefused, Err: cause, Detail: f.host + ", or a host that it redirects to, may not be reached.",
	}}
}

// unusable returns the error for a response that cannot be used, even after another try.
func (f *transfer) unusable(status int, reason string) *tryError {
	return &tryError{final: true, FetchError: &upload.FetchError{
		Code: event.CodeFetchFailed, Status: status, Detail: f.host + " " + reason + ".",
	}}
}

// statusError returns the error for a response with an error status.
func (f *transfer) statusError(resp *http.Response) *tryError {
	status := resp.StatusCode
	failure := f.unusable(status, fmt.Sprintf("answered %d", status))
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		failure.final, failure.Retryable = false, true
		failure.after = problem.RetryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return failure
}

// get requests the file from the byte at offset. If offset is not 0, validator is sent as If-Range.
// The returned context is that of the request, and its cancel function closes the connection.
func (f *transfer) get(offset int64, validator string) (*http.Response, context.Context, context.CancelCauseFunc, error) {
	ctx, cancel := context.WithCancelCause(f.ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.source.URL, nil)
	if err == nil {
		if _, err = f.client.options.Allowed.Parse(f.source.URL); err != nil { // FETCH_ALLOWED may have changed since the upload
			err = fmt.Errorf("%w: %w", source.ErrRefused, err)
		}
	}
	if err != nil {
		cancel(nil)
		return nil, nil, nil, f.refused(withoutURL(err))
	}
	req.Header.Set("User-Agent", userAgent())
	for name, value := range f.source.Header {
		req.Header.Set(name, value)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		req.Header.Set("If-Range", validator)
	}
	resp, err := f.client.http.Do(req) //nolint:bodyclose // the caller closes the body
	if err == nil {
		return resp, ctx, cancel, nil
	}
	cancel(nil)
	if redirect, ok := errors.AsType[*redirectError](err); ok {
		return nil, nil, nil, f.unusable(redirect.status, redirect.reason)
	}
	return nil, nil, nil, f.broken(withoutURL(err))
}

// begin requests the whole file.
func (f *transfer) begin() (*body, error) {
	resp, ctx, cancel, err := f.get(0, "")
	if err != nil {
		return nil, err
	}
	if err := f.checkWhole(resp); err != nil {
		_ = resp.Body.Close()
		cancel(nil)
		return nil, err
	}
	b := &body{fetch: f, size: resp.ContentLength, validator: validatorOf(resp.Header)}
	b.use(resp, ctx, cancel)
	return b, nil
}

// checkWhole returns an error if the response to a request for the whole file cannot be used.
func (f *transfer) checkWhole(resp *http.Response) error {
	switch {
	case resp.StatusCode != http.StatusOK:
		return f.statusError(resp)
	case isEncoded(resp.Header):
		return f.unusable(resp.StatusCode, "sends the file with a Content-Encoding, although the request forbids it")
	case resp.ContentLength > f.client.options.MaxBytes:
		var tooLarge *upload.FetchError
		errors.As(upload.TooLarge(f.host, f.client.options.MaxBytes), &tooLarge)
		return &tryError{final: true, FetchError: tooLarge}
	}
	return nil
}

// isEncoded reports whether a response has a Content-Encoding, so that its bytes are not those of
// the file.
func isEncoded(h http.Header) bool {
	encoding := h.Get("Content-Encoding")
	return encoding != "" && !strings.EqualFold(encoding, "identity")
}

// body is a reader of the file. It uses a further connection if one breaks. It is not safe for
// concurrent use.
type body struct {
	fetch     *transfer
	size      int64 // size of the whole file; -1 if unknown
	validator string
	offset    int64 // offset of the next byte
	err       error // why the body cannot be read to its end: a tryError or errAgain

	resp   *http.Response
	ctx    context.Context //nolint:containedctx // context of the request for resp
	cancel context.CancelCauseFunc
	pace   minrate.Meter
}

// use makes the body read from a response.
func (b *body) use(resp *http.Response, ctx context.Context, cancel context.CancelCauseFunc) { //nolint:revive // ctx belongs to resp
	o := b.fetch.client.options
	b.resp, b.ctx, b.cancel = resp, ctx, cancel
	b.pace = minrate.Limit{BytesPerSecond: o.MinRate, Lag: o.Idle}.Meter()
}

// close ends the connection.
func (b *body) close() {
	_ = b.resp.Body.Close()
	b.cancel(nil)
}

// errSlow is the cause with which the request to a slow server is canceled.
var errSlow = errors.New("too slow")

// Read implements io.Reader. It returns io.EOF only at the end of the file.
func (b *body) Read(p []byte) (int, error) {
	for b.err == nil {
		n, err := b.read(p)
		b.offset += int64(n)
		if errors.Is(err, io.EOF) && b.size >= 0 && b.offset < b.size {
			err = io.ErrUnexpectedEOF
		}
		if n > 0 || err == nil {
			return n, nil // the next read returns the error
		}
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		b.close()
		b.resume(b.fetch.broken(err))
	}
	return 0, b.err
}

// read reads from the connection.
func (b *body) read(p []byte) (int, error) {
	began := time.Now()
	timer := time.AfterFunc(b.pace.Remaining(0), func() { b.cancel(errSlow) })
	n, err := b.resp.Body.Read(p)
	timer.Stop()
	b.pace.Add(n, time.Since(began))
	if err != nil && errors.Is(context.Cause(b.ctx), errSlow) {
		err = errSlow
	}
	return n, err //nolint:wrapcheck // broken wraps the error
}

// resume requests the rest of the file after a connection has failed. If the fetch cannot be
// resumed, it sets b.err.
func (b *body) resume(failure error) {
	f := b.fetch
	for {
		if b.offset == 0 || b.validator == "" {
			b.err = failure // Fetch then begins again, if a further try is allowed
			return
		}
		if err := f.next(failure); err != nil {
			b.err = err
			return
		}
		resp, ctx, cancel, err := f.get(b.offset, b.validator)
		if err == nil && b.continues(resp) {
			b.use(resp, ctx, cancel)
			return
		}
		if err == nil {
			status := resp.StatusCode
			err = f.statusError(resp)
			_ = resp.Body.Close()
			cancel(nil)
			if status < http.StatusBadRequest || status == http.StatusRequestedRangeNotSatisfiable || status == http.StatusPreconditionFailed {
				b.err = errAgain
				return
			}
		}
		failure = err
	}
}

// continues reports whether a response begins at b.offset of the same version of the file.
func (b *body) continues(resp *http.Response) bool {
	if resp.StatusCode != http.StatusPartialContent || isEncoded(resp.Header) || validatorOf(resp.Header) != b.validator {
		return false
	}
	first, size, ok := parseRange(resp.Header.Get("Content-Range"))
	if !ok || first != b.offset || size >= 0 && b.size >= 0 && size != b.size {
		return false
	}
	b.size = max(b.size, size)
	return true
}

// parseRange parses a Content-Range (RFC 9110, section 14.4). size is the size of the whole file;
// -1 if unknown.
func parseRange(text string) (first, size int64, ok bool) {
	rest, isBytes := strings.CutPrefix(text, "bytes ")
	part, whole, cut := strings.Cut(rest, "/")
	from, to, cutPart := strings.Cut(part, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	last, lastErr := strconv.ParseInt(to, 10, 64)
	size = -1
	if whole != "*" {
		var sizeErr error
		size, sizeErr = strconv.ParseInt(whole, 10, 64)
		err = errors.Join(err, sizeErr)
	}
	ok = isBytes && cut && cutPart && err == nil && lastErr == nil && first >= 0 && last >= first
	return first, size, ok && (size < 0 || last == size-1)
}

// validatorOf returns the validator of a response for If-Range, or "" if it has none. The validator
// is a strong entity tag, or Last-Modified if it is at least a second older than the response, so
// that a later change cannot have the same time (RFC 9110, sections 8.8.2.2 and 13.1.5).
func validatorOf(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" {
		if strings.HasPrefix(tag, `"`) {
			return tag
		}
		return "" // weak
	}
	changed, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return ""
	}
	if sent, err := http.ParseTime(h.Get("Date")); err != nil || sent.Sub(changed) < time.Second {
		return ""
	}
	return h.Get("Last-Modified")
}
