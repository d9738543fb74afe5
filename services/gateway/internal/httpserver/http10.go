package httpserver

import (
	"io"
	"net"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// closeDelimited sends a body of unknown length to an HTTP/1.0 client without chunks. The end of
// the connection marks the end of the body. fasthttp would send chunks, and such a client would
// read the chunk sizes as part of the body.
func closeDelimited(c *fasthttp.RequestCtx) {
	h := &c.Response.Header
	if c.Request.Header.IsHTTP11() || !c.Response.IsBodyStream() || h.ContentLength() >= 0 {
		return
	}
	h.Del(fiber.HeaderTransferEncoding)
	h.SetConnectionClose()
	head := h.AppendBytes(nil)
	c.HijackSetNoResponse(true)
	c.Hijack(func(to net.Conn) {
		_, err := to.Write(head)
		if err == nil {
			// The wrappers hide WriterTo and ReaderFrom, so that io.Copy sends every piece as it
			// arrives.
			_, err = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{c.Response.BodyStream()})
		}
		_ = c.Response.CloseBodyStream()
		if err != nil {
			resetOnClose(c.Conn()) // after a normal close, the partial body would look complete
		}
	})
}

// resetOnClose makes Close send a TCP reset.
func resetOnClose(c net.Conn) {
	inner, ok := c.(*conn)
	if !ok {
		return
	}
	inner.linger.Store(false)
	if tcp, ok := inner.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
