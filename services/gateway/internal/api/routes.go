// Package api has the routes of the public HTTP API: uploads, tokens, scripts and actors. The
// routes of jobs, which other services answer, are listed here and handled by the handlers that
// forward them.
package api

import (
	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/locale"
)

// Routes are the routes of the API and what they need.
type Routes struct {
	Uploads       Uploads
	MaxUploadBody int64 // bytes of a whole request
	Language      locale.Language
	BodyTimeouts  httpserver.BodyTimeouts

	Tokens     TokenStore
	Details    TokenDetails
	References References
	Scripts    ScriptStore
	Actors     ActorStore

	Tracker    fiber.Handler // forwards to the tracker
	Dispatcher fiber.Handler // forwards to the dispatcher
}

// Register adds the routes. A route with a word comes before one whose parameter would match the
// word.
func (r *Routes) Register(router fiber.Router) {
	r.registerJobs(router)
	r.registerUploads(router)
	r.registerTokens(router)
	r.registerScripts(router)
	r.registerActors(router)
}

// registerJobs adds the routes that the tracker and the dispatcher answer.
func (r *Routes) registerJobs(router fiber.Router) {
	router.Get("/tokens/analysis-result/:job_id", r.Tracker)
	router.Get("/tokens/analysis-progress/:job_id", r.Tracker)
	router.Get("/jobs", r.Tracker)
	router.Get("/jobs/:job_id/audio", r.Tracker)
	router.Post("/jobs/:job_id/ticket", r.Tracker)
	router.Post("/jobs/:job_id/cancel", r.Tracker)
	router.Post("/jobs/:job_id/retry", r.Tracker)
	router.Delete("/jobs/:job_id", r.Tracker)
	router.Post("/tokens/webhook/analysis-complete", r.Dispatcher)
}

func (r *Routes) registerUploads(router fiber.Router) {
	h := uploads{core: r.Uploads, timeouts: r.BodyTimeouts, maxBody: r.MaxUploadBody, language: r.Language}
	router.Post("/tokens/:token_id/upload-audio", h.create)
}

func (r *Routes) registerTokens(router fiber.Router) {
	h := newTokens(r.Tokens, r.Details, r.References, r.BodyTimeouts)
	router.Get("/tokens", h.list)
	h.register(router, h.get)
}

func (r *Routes) registerScripts(router fiber.Router) {
	h := newScripts(r.Scripts, r.BodyTimeouts)
	router.Get("/scripts", h.list)
	router.Get("/scripts/token/:token_id", h.listOfToken)
	h.register(router, h.get)
}

func (r *Routes) registerActors(router fiber.Router) {
	h := newActors(r.Actors, r.BodyTimeouts)
	router.Get("/actors", h.list)
	router.Get("/actors/search/:name", h.search)
	router.Get("/actors/:id/tokens", h.listTokens)
	h.register(router, h.get)
}
