package api

import (
	"io"
	"net"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// endByClosing gives an HTTP/1.0 client a body of unknown length as that version
// has it: without chunks, up to the end of the connection. fasthttp would send
// chunks, which such a client takes for a part of the body.
func endByClosing(c *fasthttp.RequestCtx) {
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
			// Without WriterTo and ReaderFrom: every piece is sent as it comes.
			_, err = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{c.Response.BodyStream()})
		}
		_ = c.Response.CloseBodyStream()
		if err != nil {
			reset(c.Conn()) // or the part would look like the whole
		}
	})
}

// reset makes the close of a connection an abort.
func reset(c net.Conn) {
	inner, ok := c.(*conn)
	if !ok {
		return
	}
	inner.linger.Store(false)
	if tcp, ok := inner.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
