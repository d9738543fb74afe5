// Package passage passes requests on to another service over net/http.
//
// It never uses fasthttp's client, whose streams are buffered for ever or leak:
// here the end of a request's context ends the exchange with the other service,
// streams included, and what arrives is readable at once. What belongs to one
// connection alone stays on it (RFC 9110, section 7.6.1).
package passage

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/trace"
)

// The bounds of an exchange. The answer to a long poll may take a minute; the
// connections to keep are many, since so are the clients.
const (
	dialTimeout   = 2 * time.Second
	answerTimeout = 75 * time.Second
	idleTimeout   = 90 * time.Second // less than the other side's
	idleConns     = 512
	writeTimeout  = 15 * time.Second // for one write: a service that hangs takes none
)

// conn is a connection whose writes have a deadline, which net/http has not got.
type conn struct{ net.Conn }

// Write implements net.Conn.
func (c conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err //nolint:wrapcheck // a connection's errors are its protocol
	}
	return c.Conn.Write(p) //nolint:wrapcheck // as above
}

// Upstream is another service.
type Upstream struct {
	base      url.URL
	name      string
	transport *http.Transport
}

// New makes the way to a service at base; name is what a client is told where it
// cannot be reached. It does not dial.
func New(base url.URL, name string) *Upstream {
	dialer := &net.Dialer{Timeout: dialTimeout}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err //nolint:wrapcheck // the transport says what it tried
		}
		return conn{c}, nil
	}
	return &Upstream{base: base, name: name, transport: &http.Transport{
		DialContext: dial, ResponseHeaderTimeout: answerTimeout,
		MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTimeout,
		DisableCompression:    true,          // bodies are not ours to unpack
		ExpectContinueTimeout: answerTimeout, // of Announce: the body is never sent unasked
	}}
}

// Close lets go of connections that are kept for later.
func (u *Upstream) Close() error { u.transport.CloseIdleConnections(); return nil }

// Pass sends a request on as it arrived and returns the answer as it arrived,
// whatever its status. The answer's body is the caller's to close, and ends with
// ctx. A request's body may be read until it was closed, even after Pass has
// returned.
func (u *Upstream) Pass(ctx context.Context, in *http.Request) (*http.Response, error) {
	return u.pass(ctx, in, "")
}

// Announce passes on a request whose body is too large to be passed on: its header and
// its length, by which the other service can refuse it (RFC 9110, section 10.1.1).
func (u *Upstream) Announce(ctx context.Context, in *http.Request) (*http.Response, error) {
	return u.pass(ctx, in, "100-continue")
}

func (u *Upstream) pass(ctx context.Context, in *http.Request, expect string) (*http.Response, error) {
	out := &http.Request{
		Method: in.Method, URL: u.target(in.URL), Header: in.Header.Clone(),
		Body: in.Body, ContentLength: in.ContentLength,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	ownConnectionOnly(out.Header)
	if expect != "" {
		out.Header.Set("Expect", expect)
	}
	forwarded(out.Header, in)
	if parent := trace.Parent(ctx); parent != "" {
		out.Header.Set(trace.Header, parent)
	}
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", "") // else net/http would name itself
	}
	resp, err := u.transport.RoundTrip(out.WithContext(ctx))
	if err != nil {
		return nil, fault.Away(u.name, fmt.Errorf("pass %s %s on: %w", in.Method, in.URL.Path, err))
	}
	ownConnectionOnly(resp.Header)
	return resp, nil
}

// target is the same path and query at the other service.
func (u *Upstream) target(in *url.URL) *url.URL {
	t := u.base
	t.Path = strings.TrimSuffix(u.base.Path, "/") + in.Path
	t.RawPath = strings.TrimSuffix(u.base.EscapedPath(), "/") + in.EscapedPath()
	t.RawQuery = in.RawQuery
	return &t
}

// ownConnectionOnly removes the fields that are for one connection, those that
// Connection names among them.
func ownConnectionOnly(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect",
	} {
		h.Del(name)
	}
}

// forwarded tells the other service whom the request is from. What a trusted proxy
// in front of this one has said of host and scheme stands; the API lets nothing
// else through.
func forwarded(h http.Header, in *http.Request) {
	if ip, _, err := net.SplitHostPort(in.RemoteAddr); err == nil {
		h.Set("X-Forwarded-For", strings.Join(append(h.Values("X-Forwarded-For"), ip), ", "))
	}
	if h.Get("X-Forwarded-Host") == "" {
		h.Set("X-Forwarded-Host", in.Host)
	}
	if h.Get("X-Forwarded-Proto") == "" {
		h.Set("X-Forwarded-Proto", "http")
	}
}
