package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sori.internal/shared/buildinfo"
	"sori.internal/shared/source"
)

const (
	connectTimeout = 10 * time.Second
	maxHeaderBytes = 64 << 10 // largest response header, in bytes
	maxRedirects   = 5
)

// newHTTP makes the HTTP client. It uses no proxy from the environment, since a proxy would resolve
// names itself and bypass the check of addresses. It does not reuse connections, since the next
// request goes to another server.
func newHTTP(o Options) *http.Client {
	d := dialer{allowed: o.Allowed}
	return &http.Client{
		Transport: locationChecker{&http.Transport{
			Proxy: nil, DialContext: d.dial, DisableKeepAlives: true,
			DisableCompression: true, MaxResponseHeaderBytes: maxHeaderBytes,
			TLSHandshakeTimeout: connectTimeout, ResponseHeaderTimeout: o.Idle,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		}},
		CheckRedirect: func(next *http.Request, via []*http.Request) error { return checkRedirect(o.Allowed, next, via) },
	}
}

// locationChecker is a transport that refuses a redirect to a malformed URL. Otherwise the error of the
// HTTP client would contain this URL, which may be presigned.
type locationChecker struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (c locationChecker) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.Transport.RoundTrip(r)
	if err != nil || resp.StatusCode < http.StatusMultipleChoices || resp.StatusCode >= http.StatusBadRequest {
		return resp, err //nolint:wrapcheck // the contract of http.RoundTripper
	}
	if _, err := r.URL.Parse(resp.Header.Get("Location")); err != nil {
		_ = resp.Body.Close()
		return nil, &redirectError{status: resp.StatusCode, reason: "redirects to a malformed URL"}
	}
	return resp, nil
}

// dialer connects only to allowed addresses.
type dialer struct {
	allowed  source.Allowed
	resolver *net.Resolver // nil means the resolver of the system
}

// dial connects to a host. It checks each resolved address directly before it connects to the
// address, so that the host cannot resolve to another address between the check and the connection.
func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	to := &net.Dialer{Timeout: connectTimeout, Resolver: d.resolver}
	if !d.allowed.MayHost(host, uint16(n)) {
		to.Control = d.control
	}
	return to.DialContext(ctx, network, address) //nolint:wrapcheck // the errors of a net.Dialer name the operation and the address
}

// control implements net.Dialer.Control.
func (d dialer) control(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", source.ErrRefused, err)
	}
	return d.allowed.CheckAddress(addr) //nolint:wrapcheck // wraps ErrRefused
}

// redirectError is a redirect that is not followed.
type redirectError struct {
	status int
	reason string
}

// Error implements error.
func (e *redirectError) Error() string { return e.reason }

// checkRedirect returns an error if a redirect must not be followed. It removes the headers that
// the target of the redirect must not receive.
func checkRedirect(allowed source.Allowed, next *http.Request, via []*http.Request) error {
	status := 0
	if next.Response != nil {
		status = next.Response.StatusCode
	}
	if len(via) > maxRedirects {
		return &redirectError{status: status, reason: fmt.Sprintf("redirects more than %d times", maxRedirects)}
	}
	if via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return &redirectError{status: status, reason: "redirects from https to http"}
	}
	if err := allowed.CheckURL(next.URL); err != nil {
		return fmt.Errorf("%w: the redirect's URL %w", source.ErrRefused, err)
	}
	next.Header.Del("Referer") // Referer contains the previous URL, which may be presigned
	if !sameOrigin(next.URL, via[0].URL) {
		kept := http.Header{}
		for _, name := range []string{"Accept-Encoding", "User-Agent", "Range", "If-Range"} {
			if value := next.Header.Get(name); value != "" {
				kept.Set(name, value)
			}
		}
		next.Header = kept
		next.Header.Set("User-Agent", userAgent())
	}
	return nil
}

func sameOrigin(a, b *url.URL) bool { return originOf(a) == originOf(b) }

// originOf returns the origin of a URL (RFC 6454, section 4), with the host in lower case and
// always with a port.
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// userAgent returns the User-Agent of requests. A client may replace it by a header of the source.
func userAgent() string { return "sori/" + buildinfo.Version() }

// withoutURL returns the cause of a *url.Error, whose own text contains the URL.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
