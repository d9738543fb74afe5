package httpserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"

	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/problem"
)

// lingerTimeout is how long the rest of a refused body may take to arrive before the connection
// is closed.
const lingerTimeout = 2 * time.Second

// fail answers with err as a problem document and logs its cause. This is the only place that logs
// errors of requests.
func fail(c *fiber.Ctx, log *zerolog.Logger, id string, err error) {
	httpd.Report(log, err)
	d := problem.From(err, problem.Request{Path: c.Path(), ID: id, AcceptLanguage: c.Get(fiber.HeaderAcceptLanguage)})
	text, err := json.Marshal(d)
	if err != nil { // only a value in Extra can be invalid in JSON
		d.Extra = nil
		text, _ = json.Marshal(d)
	}
	c.Response().ResetBody()
	c.Set(fiber.HeaderContentType, problem.ContentType)
	c.Set(fiber.HeaderCacheControl, "no-store")
	if d.RetryAfter > 0 {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(d.RetryAfter))
	}
	c.Status(d.Status)
	_ = c.Send(text) // never fails
	Linger(c)
}

// maxRest is the largest unread part of a body that fasthttp reads after the response, so that the
// connection can be reused (maxUnreadStreamBodySize there).
const maxRest = 256 << 10

// Linger delays the close of the connection, so that a client that is still sending a refused body
// can read the response. If more than 256 KiB of the body may be unread, the response announces the
// close: otherwise the client may send its next request on a connection that is being closed.
func Linger(c *fiber.Ctx) {
	if n := DeclaredLength(c); n < 0 || n > maxRest {
		c.Context().SetConnectionClose()
	}
	if inner, ok := c.Context().Conn().(*conn); ok {
		inner.linger.Store(true)
		_ = c.Context().SetReadDeadline(time.Now().Add(lingerTimeout))
	}
}

// fromFiber converts an error of Fiber to a failure with a kind.
func fromFiber(err error) error {
	own, ok := errors.AsType[*fiber.Error](err)
	if !ok {
		return err
	}
	switch own.Code {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return httpd.NoRoute()
	case http.StatusRequestTimeout:
		return fault.Wrap(fault.RequestTimeout, codeTimeout, "The request came too slowly.", err)
	case http.StatusRequestHeaderFieldsTooLarge:
		return fault.Wrap(fault.HeaderTooLarge, "headers-too-large", "The header of the request is too large.", err)
	default:
		return fault.MalformedRequest("The request could not be read.", nil) // without err, which quotes the header and so the credentials
	}
}

// codeTimeout is the code of a request that did not arrive in time.
const codeTimeout = "request-timeout"

// Stopping returns the failure of a request that the shutdown has ended.
func Stopping(cause error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "stopping", RetryAfter: time.Second, Err: cause,
		Detail: "The service is restarting. Please try again.",
	}
}
