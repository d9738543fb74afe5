package httpserver

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// Interim sends interim responses to a request (RFC 9110, section 15.2) while its handler runs.
// fasthttp can send only 103 Early Hints. Interim writes to the connection directly, as fasthttp
// does for 103.
type Interim struct {
	mu    sync.Mutex
	ctx   *fasthttp.RequestCtx
	ended bool
}

// NewInterim makes an Interim. The handler must call End before it returns.
func NewInterim(c *fiber.Ctx) *Interim { return &Interim{ctx: c.Context()} }

// Send sends an interim response, unless the client uses HTTP/1.0 or End was called. It converts a
// path in Location to a public URL. Any goroutine may call it.
func (i *Interim) Send(status int, reason string, header http.Header) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended || !i.ctx.Request.Header.IsHTTP11() {
		return
	}
	if location := header.Get(fiber.HeaderLocation); strings.HasPrefix(location, "/") {
		header.Set(fiber.HeaderLocation, publicURLOf(i.ctx).base()+location)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "HTTP/1.1 %d %s\r\n", status, reason)
	_ = header.Write(&text) // a buffer does not fail
	text.WriteString("\r\n")
	_, _ = i.ctx.Conn().Write(text.Bytes()) // if the client has left, the handler notices it
}

// End makes further calls of Send do nothing.
func (i *Interim) End() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
}
