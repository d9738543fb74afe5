package httpserver

import (
	"bytes"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"sori.internal/shared/fault"
)

// NetHTTP converts a net/http handler that does not read the body of a request to a Fiber handler.
// Fiber's own adaptor would first read the whole body into memory, whatever its size.
func NetHTTP(h http.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		req, err := http.NewRequestWithContext(c.UserContext(), c.Method(), c.Path(), http.NoBody)
		if err != nil {
			return fault.MalformedRequest("The request could not be read.", err)
		}
		w := &responseBuffer{header: http.Header{}, status: http.StatusOK}
		h.ServeHTTP(w, req)
		for name, values := range w.header {
			c.Response().Header.Del(name)
			for _, v := range values {
				c.Response().Header.Add(name, v)
			}
		}
		return c.Status(w.status).Send(w.body.Bytes())
	}
}

// responseBuffer buffers the answer of a net/http handler.
type responseBuffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (b *responseBuffer) Header() http.Header { return b.header }

// WriteHeader implements http.ResponseWriter.
func (b *responseBuffer) WriteHeader(status int) { b.status = status }

// Write implements http.ResponseWriter.
func (b *responseBuffer) Write(p []byte) (int, error) { return b.body.Write(p) }
