package proxy

import (
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/fault"
)

func TestARequestWithANameThatNoHeaderMayHaveIsMalformed(t *testing.T) {
	t.Parallel()
	app := fiber.New()
	for name, malformed := range map[string]bool{"Two-Words": false, "Two Words": true} {
		c := app.AcquireCtx(&fasthttp.RequestCtx{})
		c.Request().SetRequestURI("/jobs")
		c.Request().Header.Set(name, "1")
		in, err := newRequest(c, httpserver.NoBody(c))
		if fault.Is(err, fault.Malformed) != malformed || !malformed && in.Header.Get(name) != "1" {
			t.Errorf("%s: %v", name, err)
		}
		app.ReleaseCtx(c)
	}
}
