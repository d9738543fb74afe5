// Package proxy forwards requests to the services behind the gateway, and resumes their event
// streams if a replica becomes unavailable.
//
// It uses net/http, not the client of fasthttp, whose streams are buffered or leak. With net/http,
// the end of a request's context ends the exchange with the upstream, streams included, and every
// part of a response can be read when it arrives. Hop-by-hop headers are not forwarded (RFC 9110,
// section 7.6.1).
package proxy

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
	"sori.internal/shared/httpd"
	"sori.internal/shared/logging"
	"sori.internal/shared/principal"
	"sori.internal/shared/trace"
	"sori.internal/shared/uploadrequest"
)

// The limits of an exchange. The answer to a long poll may take a minute.
const (
	dialTimeout   = 2 * time.Second
	answerTimeout = 75 * time.Second
	idleTimeout   = 90 * time.Second // shorter than the idle timeout of the services
	idleConns     = 512              // many, since there are many clients
	writeTimeout  = 15 * time.Second // limit of one write; a service that hangs does not read
)

// conn is a connection whose writes have a deadline, which net/http does not offer.
type conn struct{ net.Conn }

// Write implements net.Conn.
func (c conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err //nolint:wrapcheck // callers of a net.Conn check its errors
	}
	return c.Conn.Write(p) //nolint:wrapcheck // as above
}

// Upstream is a service behind the gateway.
type Upstream struct {
	base      url.URL
	name      string
	transport *http.Transport
}

// NewUpstream makes a client of the service at base. name is the name of the service in the failure
// if the service cannot be reached. NewUpstream does not dial.
func NewUpstream(base url.URL, name string) *Upstream {
	dialer := &net.Dialer{Timeout: dialTimeout}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err //nolint:wrapcheck // the dialer adds the operation and the address
		}
		return conn{c}, nil
	}
	return &Upstream{base: base, name: name, transport: &http.Transport{
		DialContext: dial, ResponseHeaderTimeout: answerTimeout,
		MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTimeout,
		DisableCompression:    true,          // bodies are forwarded unchanged
		ExpectContinueTimeout: answerTimeout, // long, so that ForwardHeader sends the body only after a 100 Continue of the upstream
	}}
}

// Close closes the idle connections.
func (u *Upstream) Close() error { u.transport.CloseIdleConnections(); return nil }

// Forward sends a request as it arrived and returns the response as it arrived, whatever its
// status. The caller must close the body of the response. Reading that body fails after ctx ends.
// The transport may still read the body of the request after Forward has returned, until it closes
// that body.
func (u *Upstream) Forward(ctx context.Context, in *http.Request) (*http.Response, error) {
	return u.forward(ctx, in, "")
}

// ForwardHeader forwards the header of a request whose body is too large to be forwarded. The
// upstream can refuse the request by its declared length (RFC 9110, section 10.1.1).
func (u *Upstream) ForwardHeader(ctx context.Context, in *http.Request) (*http.Response, error) {
	return u.forward(ctx, in, "100-continue")
}

func (u *Upstream) forward(ctx context.Context, in *http.Request, expect string) (*http.Response, error) {
	out := &http.Request{
		Method: in.Method, URL: u.target(in.URL), Header: in.Header.Clone(),
		Body: in.Body, ContentLength: in.ContentLength,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if expect != "" {
		out.Header.Set("Expect", expect)
	}
	setForwarded(out.Header, in)
	if parent := trace.Parent(ctx); parent != "" {
		out.Header.Set(trace.Header, parent)
	}
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", "") // an empty value keeps net/http from sending a User-Agent of its own
	}
	resp, err := u.transport.RoundTrip(out.WithContext(ctx))
	if err != nil {
		return nil, fault.Unreachable(u.name, fmt.Errorf("forward %s %s: %w", in.Method, logging.SafePath(in.URL.Path), err))
	}
	removeHopByHop(resp.Header, func(string) bool { return false })
	return resp, nil
}

// target returns the URL of the upstream with the path and the query of in.
func (u *Upstream) target(in *url.URL) *url.URL {
	t := u.base
	t.Path = strings.TrimSuffix(u.base.Path, "/") + in.Path
	t.RawPath = strings.TrimSuffix(u.base.EscapedPath(), "/") + in.EscapedPath()
	t.RawQuery = in.RawQuery
	return &t
}

// cleanRequest removes headers of a client's request that must not reach an upstream: headers for
// one connection, and every credential and identity. The gateway sets an identity of its own for
// each exchange (Handler.identify).
func cleanRequest(h http.Header) {
	removeHopByHop(h, setByGateway)
	for _, name := range []string{"Authorization", "Cookie", "X-Api-Key", principal.Header, uploadrequest.Header} {
		h.Del(name)
	}
}

// setByGateway reports whether the gateway sets a header of a forwarded request. A client cannot
// remove such a header by naming it in Connection.
func setByGateway(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	return name == httpd.RequestIDHeader || name == trace.Header || strings.HasPrefix(name, "X-Forwarded-")
}

// removeHopByHop removes the headers that are meant for one connection, including the headers that
// Connection names. It does not remove a header that Connection names if keep returns true for it.
func removeHopByHop(h http.Header, keep func(name string) bool) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); !keep(name) {
				h.Del(name)
			}
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect",
	} {
		h.Del(name)
	}
}

// setForwarded sets the X-Forwarded headers. X-Forwarded-Host and X-Forwarded-Proto are kept if the
// request has them: they come from a trusted proxy, since the server removes those of any other
// peer.
func setForwarded(h http.Header, in *http.Request) {
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
