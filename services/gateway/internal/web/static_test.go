package web

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// The time that Fiber takes grows with the square of the number of entries.
func TestALongAcceptCountsAsAbsent(t *testing.T) {
	t.Parallel()
	app := fiber.New()
	long := "," + strings.Repeat("x,", 4000)
	for more, wanted := range map[string]struct{ mediaType, coding string }{
		",x;q=0.1": {fiber.MIMETextHTMLCharsetUTF8, "gzip"}, long: {fiber.MIMEApplicationJSON, ""},
	} {
		c := app.AcquireCtx(&fasthttp.RequestCtx{})
		c.Request().Header.Set(fiber.HeaderAccept, fiber.MIMETextHTML+more)
		c.Request().Header.Set(fiber.HeaderAcceptEncoding, "gzip"+more)
		if err := (Console{}).sendRoot(c); err != nil || string(c.Response().Header.ContentType()) != wanted.mediaType {
			t.Errorf("%.10q: %s, %v", more, c.Response().Header.ContentType(), err)
		}
		if err := compressedFile("a.js", compress([]byte("a"))).send(c); err != nil || string(c.Response().Header.ContentEncoding()) != wanted.coding {
			t.Errorf("%.10q: %s, %v", more, c.Response().Header.ContentEncoding(), err)
		}
		app.ReleaseCtx(c)
	}
}
