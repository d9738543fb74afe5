package httpserver

import (
	"bytes"
	"io"

	"github.com/gofiber/fiber/v2"
)

// SendStream sets a response body that the server reads after the handler has returned. length is
// the number of bytes, or -1 if it is not known. The server closes the body when the body ends or
// the client leaves.
func SendStream(c *fiber.Ctx, body io.ReadCloser, length int64) {
	c.Response().SetBodyStream(&stream{body: body}, int(length))
}

// stream counts the bytes that are read of a body. The request is logged when the stream is closed.
type stream struct {
	body    io.ReadCloser
	written int64
	onClose func(written int64)
	release func()
}

// whenSent calls f when the stream of a response has been sent, or its client has left. If the
// response is not a stream, whenSent calls f at once.
func whenSent(c *fiber.Ctx, f func()) {
	if s, ok := c.Response().BodyStream().(*stream); ok {
		s.release = f
		return
	}
	f()
}

// WhenSent calls f when the response has been sent, or the client has left. It converts a body that
// is not a stream to one, since only the end of a stream shows that the body has been sent.
func WhenSent(c *fiber.Ctx, f func()) {
	if r := c.Response(); !r.IsBodyStream() {
		if body := r.Body(); len(body) > 0 { // the method JSON has allocated the body, and nothing else uses it
			SendStream(c, io.NopCloser(bytes.NewReader(body)), int64(len(body)))
		}
	}
	whenSent(c, f)
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.written += int64(n)
	return n, err //nolint:wrapcheck // io.EOF must not be wrapped
}

// Close implements io.Closer.
func (s *stream) Close() error {
	_ = s.body.Close()
	if s.release != nil {
		s.release()
	}
	if s.onClose != nil { // called once, although the server closes a body again when it resets the response
		s.onClose(s.written)
		s.onClose = nil
	}
	return nil
}
