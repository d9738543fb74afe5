package app

import (
	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/services/gateway/internal/web"
	"sori.internal/shared/metrics"
)

// RouteTable returns the routes of the gateway with the scopes that they need, and the routes of
// Fiber.
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
