package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sori.internal/shared/wait"
)

// ErrRefused means that a receiver did not accept a callback, and that another attempt would be useless.
var ErrRefused = errors.New("webhook refused")

// errBusy means that a receiver may accept a callback later.
var errBusy = errors.New("webhook receiver busy")

// userAgent identifies this server to webhook receivers.
const userAgent = "sori-analyzer/1"

// maxReply is how many bytes of a response are read before it is closed. A connection is reused only after its response
// was read.
const maxReply = 64 << 10

// WebhookSettings configure the delivery of callbacks.
type WebhookSettings struct {
	Attempts    int           // largest number of attempts to deliver an outcome, at least 1
	Backoff     time.Duration // delay before the second attempt; doubled for each further one, and jittered
	MaxBackoff  time.Duration // longest delay, even if a receiver's Retry-After is longer
	Timeout     time.Duration // time limit of one attempt
	Concurrency int           // largest number of concurrent attempts
}

// Notifier posts callbacks. It is safe for concurrent use.
type Notifier struct {
	settings WebhookSettings
	client   *http.Client
	slots    chan struct{}
}

// NewNotifier returns a notifier with its own connections. For each receiver it keeps as many idle connections as the
// concurrency allows.
func NewNotifier(settings WebhookSettings) *Notifier {
	transport := http.DefaultTransport.(*http.Transport).Clone() // documented type
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, settings.Concurrency
	return &Notifier{
		settings: settings,
		slots:    make(chan struct{}, settings.Concurrency),
		client: &http.Client{
			Transport: transport, Timeout: settings.Timeout,
			// A webhook URL is used as given: a redirect could change the POST to a GET, or lead to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Attempts returns the largest number of attempts to deliver an outcome.
func (n *Notifier) Attempts() int { return n.settings.Attempts }

// Close closes idle connections.
func (n *Notifier) Close() { n.client.CloseIdleConnections() }

// Send posts a body to the request's webhook URL. After a transport error or the status 408, 425, 429 or 5xx it posts
// again, up to the given number of attempts. Before each further attempt it waits for the receiver's Retry-After, or
// for a growing delay of which up to half is random ("Exponential backoff and jitter", AWS Architecture Blog, 2015). If
// the status is any other except 2xx, Send returns an error that wraps ErrRefused.
func (n *Notifier) Send(ctx context.Context, req Request, body []byte, attempts int) error {
	delay := n.settings.Backoff
	for attempt := 1; ; attempt++ {
		after, err := n.try(ctx, req, body)
		if err == nil || errors.Is(err, ErrRefused) || attempt >= attempts || ctx.Err() != nil {
			return err
		}
		pause := wait.Jitter(delay)
		if after > 0 {
			pause = after
		}
		if wait.For(ctx, min(pause, n.settings.MaxBackoff)) != nil {
			return fmt.Errorf("send webhook: %w", errors.Join(context.Cause(ctx), err))
		}
		delay = min(2*delay, n.settings.MaxBackoff)
	}
}

// try posts once. If the receiver is busy, try returns the time in the header Retry-After, or 0 if there is none.
func (n *Notifier) try(ctx context.Context, req Request, body []byte) (time.Duration, error) {
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
		return 0, fmt.Errorf("send webhook: %w", context.Cause(ctx))
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, req.WebhookURL, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("send webhook: %w: malformed url", ErrRefused)
	}
	post.Header.Set("Content-Type", "application/json")
	post.Header.Set("User-Agent", userAgent)
	if req.TraceParent != "" {
		post.Header.Set("Traceparent", req.TraceParent)
	}
	if req.TraceState != "" {
		post.Header.Set("Tracestate", req.TraceState)
	}
	reply, err := n.client.Do(post)
	if err != nil {
		var wrapped *url.Error // the error's text contains the URL, whose query is a secret
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return 0, fmt.Errorf("send webhook: %w", err)
	}
	defer reply.Body.Close()
	_, _ = io.CopyN(io.Discard, reply.Body, maxReply) // the connection is reused only if the body was read
	switch code := reply.StatusCode; {
	case code >= 200 && code < 300:
		return 0, nil
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		return RetryAfter(reply.Header, time.Now()), fmt.Errorf("send webhook: %w: status %d", errBusy, code)
	default:
		return 0, fmt.Errorf("send webhook: %w: status %d", ErrRefused, code)
	}
}

// RetryAfter parses the header Retry-After, seconds or a date (RFC 9110, section 10.2.3). It returns 0 if the header is
// absent, malformed or in the past.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 1<<20)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
