package app

import (
	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/services/gateway/internal/web"
	"sori.internal/shared/metrics"
)

// RouteTable returns two lists: the routes that the gateway registers, with their scopes, and the
// routes that Fiber knows.
func RouteTable() ([]httpserver.Route, []fiber.Route, error) {
	docs, err := web.NewDocs(func(string) ([]byte, error) { return []byte("{}"), nil })
	if err != nil {
		return nil, nil, err
	}
	d := serverDependencies{cfg: &Config{}, conns: &connections{}, metrics: metrics.New()}
	app := fiber.New()
	router := httpserver.NewRouter(app, nil, httpserver.Limits{})
	d.register(docs)(router, &httpserver.Shutdown{})
	return router.Routes(), app.GetRoutes(), nil
}
