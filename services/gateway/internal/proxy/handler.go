package proxy

import (
	"context"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// maxWaitAfterShutdown is how long a request may wait for the answer of an upstream after the
// shutdown has begun. It suffices for an ordinary request, and ends a long poll.
const maxWaitAfterShutdown = time.Second

// Handler forwards the requests of a route. It buffers only a part of a body at a time, in either
// direction.
type Handler struct {
	Upstream *Upstream
	MaxBody  int64 // largest body of a request, in bytes
	Timeouts httpserver.BodyLimits
	Shutdown *httpserver.Shutdown
	Signer   principal.Signer // signs the principal that is sent to the upstream

	// ForwardTooLarge also forwards the header of a request whose body is too large: the upstream
	// records the refusal.
	ForwardTooLarge bool
}

// Forward implements fiber.Handler.
func (h Handler) Forward(c *fiber.Ctx) error {
	return h.forward(c, httpserver.NewBody(c, h.MaxBody, h.Timeouts), nil)
}

// ForwardAllWith forwards a request with further fields in its header. It also forwards the interim
// response of an upstream that resumes uploads.
func (h Handler) ForwardAllWith(c *fiber.Ctx, fields http.Header) error {
	interim := httpserver.NewInterim(c)
	defer interim.End()
	c.SetUserContext(httptrace.WithClientTrace(c.UserContext(), &httptrace.ClientTrace{
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			if status == uploadResumption {
				interim.Send(status, "Upload Resumption Supported", resumption(header))
			}
			return nil
		},
	}))
	return h.forward(c, httpserver.NewBody(c, h.MaxBody, h.Timeouts), fields)
}

// uploadResumption is the status of an interim response with the URL of the upload that a request
// has begun (the IETF's draft "Resumable Uploads for HTTP").
const uploadResumption = 104

// resumption returns the header fields that are forwarded from an interim response with the status
// uploadResumption.
func resumption(given textproto.MIMEHeader) http.Header {
	header := http.Header{}
	for _, name := range []string{fiber.HeaderLocation, "Upload-Draft-Interop-Version", "Upload-Limit"} {
		if value := given.Get(name); value != "" {
			header.Set(name, value)
		}
	}
	return header
}

// ForwardWith forwards a request with further fields in its header and without its body, which the
// gateway has read.
func (h Handler) ForwardWith(c *fiber.Ctx, fields http.Header) error {
	return h.forward(c, httpserver.NoBody(c), fields)
}

func (h Handler) forward(c *fiber.Ctx, sent *httpserver.Body, fields http.Header) error {
	tooLarge := sent.Length() > h.MaxBody
	if tooLarge && !h.ForwardTooLarge {
		return httpserver.TooLarge(h.MaxBody)
	}
	in, err := newRequest(c, sent)
	if err != nil {
		return err
	}
	maps.Copy(in.Header, fields)
	if err := h.identify(in, principal.From(c.UserContext())); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.UserContext())
	resp, err := h.roundTrip(ctx, cancel, in, tooLarge) //nolint:bodyclose // the server closes the body when it is sent
	if clientErr := sent.Detach(); clientErr != nil && err != nil {
		err = clientErr // the body of the client could not be read; the upstream did not fail
	}
	if err != nil {
		stopped := ctx.Err() != nil
		cancel()
		if tooLarge {
			err = httpserver.TooLarge(h.MaxBody)
		}
		if stopped {
			return httpserver.Stopping(err)
		}
		return err
	}
	if tooLarge || sent.Unread() { // the upstream has answered before it read the whole body
		httpserver.Linger(c)
	}
	body := responseBody{ReadCloser: resp.Body, cancel: cancel}
	if !copyResponse(c, resp) {
		return body.Close()
	}
	if isEventStream(resp) {
		c.Response().ImmediateHeaderFlush = true
		httpserver.SendStream(c, h.resumable(ctx, cancel, in, resp.Body), resp.ContentLength)
		return nil
	}
	httpserver.SendStream(c, body, resp.ContentLength)
	return nil
}

// identify adds the signed principal of a request to the header for the upstream. The signature is
// valid for a minute, which suffices for one exchange. The zero principal, of a public route or a
// request with a ticket, is not sent.
func (h Handler) identify(in *http.Request, p principal.Principal) error {
	if len(p.Scopes) == 0 {
		return nil
	}
	signed, err := h.Signer.Sign(p, time.Now())
	if err != nil {
		return err
	}
	in.Header.Set(principal.Header, signed)
	return nil
}

// roundTrip sends a request and returns the answer. If tooLarge is set, it sends only the header.
// The shutdown may cancel a request without a body while it waits for the answer.
func (h Handler) roundTrip(ctx context.Context, cancel context.CancelFunc, in *http.Request, tooLarge bool) (*http.Response, error) {
	answered := make(chan struct{})
	defer close(answered)
	if in.Body == http.NoBody {
		unregister := h.Shutdown.OnBegin(func() { cancelUnanswered(ctx, cancel, answered) })
		defer unregister()
	}
	if tooLarge {
		return h.Upstream.ForwardHeader(ctx, in)
	}
	return h.Upstream.Forward(ctx, in)
}

// cancelUnanswered cancels a request that is not answered in time after the shutdown has begun.
func cancelUnanswered(ctx context.Context, cancel context.CancelFunc, answered <-chan struct{}) {
	timer := time.NewTimer(maxWaitAfterShutdown)
	defer timer.Stop()
	select {
	case <-timer.C:
		cancel()
	case <-answered:
	case <-ctx.Done():
	}
}

// newRequest makes a net/http request from a Fiber request.
func newRequest(c *fiber.Ctx, body *httpserver.Body) (*http.Request, error) {
	u, err := url.ParseRequestURI(string(c.Request().URI().PathOriginal()))
	if err != nil {
		return nil, fault.MalformedRequest("The path of the request is malformed.", err)
	}
	u.RawQuery = string(c.Request().URI().QueryString())
	header := http.Header{}
	for name, value := range c.Request().Header.All() {
		switch key := string(name); {
		case key == fiber.HeaderHost, key == fiber.HeaderContentLength, key == httpserver.DeclaredLengthHeader:
		case strings.Contains(key, " "): // fasthttp accepts it; net/http would fail as if the upstream were unavailable
			return nil, fault.MalformedRequest("The request could not be read.", nil)
		default:
			header.Add(key, string(value))
		}
	}
	cleanRequest(header)
	in := &http.Request{
		Method: c.Method(), URL: u, Header: header, Host: string(c.Request().Host()),
		RemoteAddr: c.Context().RemoteAddr().String(), Body: body, ContentLength: body.Length(),
	}
	if body.Length() == 0 {
		in.Body = http.NoBody // with NoBody, net/http may repeat the request on another connection
	}
	return in, nil
}

// copyResponse copies status and header of a response, and reports whether a body follows. It
// leaves the framing and the CORS headers to the server.
func copyResponse(c *fiber.Ctx, resp *http.Response) (hasBody bool) {
	out := c.Response()
	for name, values := range resp.Header {
		if name == fiber.HeaderContentLength || httpserver.IsCORSHeader(name) {
			continue
		}
		out.Header.Del(name)
		for _, v := range values {
			out.Header.Add(name, v)
		}
	}
	c.Status(resp.StatusCode)
	if c.Method() == http.MethodHead {
		if resp.ContentLength >= 0 {
			out.SkipBody = true
			out.Header.SetContentLength(int(resp.ContentLength))
		}
		return false
	}
	return resp.StatusCode != http.StatusNotModified && resp.StatusCode != http.StatusNoContent
}

func isEventStream(resp *http.Response) bool {
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get(fiber.HeaderContentType))
	return err == nil && mediaType == "text/event-stream" && resp.StatusCode == http.StatusOK
}

// responseBody is the body of a response. Close ends the exchange with the upstream.
type responseBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b responseBody) Close() error {
	_ = b.ReadCloser.Close()
	b.cancel()
	return nil
}
