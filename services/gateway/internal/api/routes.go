package api

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/forwarded"
	"sori.internal/shared/fault"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/locale"
	"sori.internal/shared/metrics"
	"sori.internal/shared/origin"
)

// Routes are the gateway's routes and what stands behind them.
type Routes struct {
	Info    httpd.Info
	Health  *health.Health
	Metrics *metrics.Registry
	Docs    *Docs
	Console Console

	BasePath string            // of every route, without a slash at its end; empty is the root
	Proxies  forwarded.Proxies // peers that are believed what they say of a request
	Origins  origin.List       // of pages that may use the API from elsewhere

	Uploads       Uploads
	UploadPace    Pace
	MaxUpload     int64 // bytes of a recording
	MaxUploadBody int64 // bytes of a whole request
	Language      locale.Language

	Tokens  TokenStore
	Details TokenDetails
	Scripts ScriptStore
	Actors  ActorStore

	Tracker         Upstream
	Dispatcher      Upstream
	MaxWebhookBytes int64
}

// register adds the routes that every service has, and the documentation. Paths
// answer with and without a trailing slash.
func (r *Routes) register(app *fiber.App) {
	r.Console.register(app, service{Info: r.Info, MaxUploadBytes: r.MaxUpload})
	app.Get("/livez", std(http.HandlerFunc(r.Health.ServeLive)))
	app.Get("/readyz", std(http.HandlerFunc(r.Health.ServeReady)))
	app.Get("/health", std(http.HandlerFunc(r.Health.ServeHealth)))
	app.Get("/metrics", std(r.Metrics.Handler()))
	r.Docs.register(app)
}

// registerPassages adds the routes that other services answer. They come before
// those of tokens, whose ids would match their words.
func (r *Routes) registerPassages(stopped, streams context.Context, goodbye time.Duration, app *fiber.App) {
	tracker := passage{to: r.Tracker, maxBody: maxJSON, pace: r.UploadPace, goodbye: goodbye}.handler(stopped, streams)
	dispatcher := passage{to: r.Dispatcher, maxBody: r.MaxWebhookBytes, tell: true, pace: r.UploadPace}.handler(stopped, streams)
	app.Get("/tokens/analysis-result/:job_id", tracker)
	app.Get("/tokens/analysis-progress/:job_id", tracker)
	app.Get("/jobs", tracker)
	app.Get("/jobs/:job_id/audio", tracker)
	app.Post("/jobs/:job_id/cancel", tracker)
	app.Post("/jobs/:job_id/retry", tracker)
	app.Delete("/jobs/:job_id", tracker)
	app.Post("/tokens/webhook/analysis-complete", dispatcher)
}

// registerUploads adds the routes of recordings.
func (r *Routes) registerUploads(app *fiber.App) {
	uploads := uploads{core: r.Uploads, pace: r.UploadPace, maxBody: r.MaxUploadBody, language: r.Language}
	app.Post("/tokens/:token_id/upload-audio", uploads.create)
}

// registerCatalogue adds the routes of tokens, scripts and actors. Those with a
// word come before those whose ids would match it.
func (r *Routes) registerCatalogue(app *fiber.App) {
	tokens := newTokens(r.Tokens, r.Details, r.UploadPace)
	app.Post("/tokens", tokens.post)
	app.Get("/tokens", tokens.list)
	app.Get("/tokens/:id", tokens.get)
	app.Put("/tokens/:id", tokens.put)
	app.Delete("/tokens/:id", tokens.delete)

	scripts := newScripts(r.Scripts, r.UploadPace)
	app.Post("/scripts", scripts.post)
	app.Get("/scripts", scripts.list)
	app.Get("/scripts/token/:token_id", scripts.ofToken)
	app.Get("/scripts/:id", scripts.get)
	app.Put("/scripts/:id", scripts.put)
	app.Delete("/scripts/:id", scripts.delete)

	actors := newActors(r.Actors, r.UploadPace)
	app.Post("/actors", actors.post)
	app.Get("/actors", actors.list)
	app.Get("/actors/search/:name", actors.search)
	app.Get("/actors/:id", actors.get)
	app.Put("/actors/:id", actors.put)
	app.Delete("/actors/:id", actors.delete)
	app.Get("/actors/:id/tokens", actors.tokens)
}

// std runs a net/http handler that looks at nothing of its request. Fiber's own
// adaptor would read the whole body into memory first, of any size.
func std(h http.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		req, err := http.NewRequestWithContext(c.UserContext(), c.Method(), c.Path(), http.NoBody)
		if err != nil {
			return fault.Wrap(fault.Invalid, "malformed-request", "The request could not be read.", err)
		}
		w := &answered{header: http.Header{}, status: http.StatusOK}
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

// answered keeps what a net/http handler answers.
type answered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answered) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answered) WriteHeader(status int) { a.status = status }

// Write implements http.ResponseWriter.
func (a *answered) Write(p []byte) (int, error) { return a.body.Write(p) }
