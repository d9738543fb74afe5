// Package api has the routes of the public HTTP API: uploads, tokens, scripts, actors and API keys.
// It also adds the routes of jobs, which other services answer. Their handlers forward the
// requests.
package api

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/httpserver"
	"sori.internal/shared/locale"
	"sori.internal/shared/principal"
)

// Routes has the dependencies of the routes of the API.
type Routes struct {
	Uploads       Uploads
	MaxUploadBody int64 // bytes of a whole request
	Language      locale.Language
	BodyLimits    httpserver.BodyLimits

	Tokens     TokenStore
	Details    TokenDetails
	References References
	Scripts    ScriptStore
	Actors     ActorStore

	Keys      KeyStore
	ForgetKey func(id string) // removes an API key from the cache of this replica

	Quotas Quotas
	Limits UploadLimits

	Direct          DirectUploads
	Uploader        fiber.Handler                                // forwards to the uploader
	DescribedUpload func(c *fiber.Ctx, header http.Header) error // forwards to the uploader without the body, and with further header fields
	Bytes           func(c *fiber.Ctx, header http.Header) error // forwards to the uploader with a body of up to Limits.MaxDirectBytes, and with further header fields

	Tracker    fiber.Handler // forwards to the tracker
	Dispatcher fiber.Handler // forwards to the dispatcher

	Results CachedResults
}

// Register adds the routes. A route with a fixed segment is added before a route with a parameter
// that would match this segment.
func (r *Routes) Register(router *httpserver.Router) {
	r.registerJobs(router)
	r.registerUploads(router)
	r.registerDirect(router)
	r.registerResumable(router)
	r.registerTokens(router)
	r.registerScripts(router)
	r.registerActors(router)
	r.registerKeys(router)
	router.Get("/me", access.Authenticated, sendMe)
	router.Get("/usage", principal.JobsRead, r.sendUsage)
	router.Get("/limits", access.Public, r.sendLimits)
}

// registerJobs adds the routes that the tracker and the dispatcher answer.
func (r *Routes) registerJobs(router *httpserver.Router) {
	router.GetByTicket("/tokens/analysis-result/:job_id", principal.JobsRead, router.Stream(r.Tracker)) // may be a long poll
	router.GetByTicket("/tokens/analysis-progress/:job_id", principal.JobsRead, router.Stream(r.Tracker))
	router.Get("/jobs", principal.JobsRead, r.Tracker)
	router.GetByTicket("/jobs/:job_id/audio", principal.JobsRead, r.Tracker)
	router.Post("/jobs/:job_id/ticket", principal.JobsRead, r.Tracker)
	router.Post("/jobs/:job_id/cancel", principal.JobsWrite, r.Tracker)
	router.Post("/jobs/:job_id/retry", principal.JobsWrite, router.Retry(r.Tracker))
	router.Delete("/jobs/:job_id", principal.JobsWrite, r.Tracker)
	router.Post(httpserver.WebhookPath, access.Public, r.Dispatcher)
}

func (r *Routes) registerUploads(router *httpserver.Router) {
	h := uploads{core: r.Uploads, timeouts: r.BodyLimits, maxBody: r.MaxUploadBody, language: r.Language, results: r.Results}
	router.PostEarly("/tokens/:token_id/upload-audio", principal.JobsWrite, h.known, router.Upload(h.create))
	router.Head("/tokens/:token_id/results/:sha256", principal.JobsRead, h.cached)
	router.Post("/tokens/:token_id/analyze", principal.JobsWrite, router.Upload(h.analyze))
}

// registerDirect adds the routes of uploads straight to the bucket, as the plugin AwsS3 of Uppy
// requests them.
func (r *Routes) registerDirect(router *httpserver.Router) {
	h := directUploads{core: r.Direct, timeouts: r.BodyLimits, forward: r.DescribedUpload}
	const one = "/s3/multipart/:upload_id"
	router.GetChanging("/s3/params", principal.JobsWrite, h.form)
	router.Post("/s3/multipart", principal.JobsWrite, h.begin)
	router.Get(one, principal.JobsWrite, r.Uploader)
	router.Delete(one, principal.JobsWrite, r.Uploader)
	router.Post(one+"/complete", principal.JobsWrite, r.Uploader)
	router.Get(one+"/batch", principal.JobsWrite, r.Uploader)
	router.Get(one+"/:part_number", principal.JobsWrite, r.Uploader)
}

// registerResumable adds the routes of resumable uploads: tus 1.0 and the draft of the IETF.
func (r *Routes) registerResumable(router *httpserver.Router) {
	h := resumableUploads{directUploads{core: r.Direct, forward: r.Bytes}}
	const all, one = "/uploads", "/uploads/:upload_id"
	router.Options(all, access.Public, r.Uploader)
	router.PostLarge(all, principal.JobsWrite, r.Limits.MaxDirectBytes, router.Upload(h.create))
	router.Head(one, principal.JobsWrite, r.Uploader)
	router.PatchLarge(one, principal.JobsWrite, r.Limits.MaxDirectBytes, router.Upload(h.write))
	router.PostOverridden(one, principal.JobsWrite, r.Limits.MaxDirectBytes, router.Upload(h.write))
	router.Delete(one, principal.JobsWrite, r.Uploader)
}

func (r *Routes) registerTokens(router *httpserver.Router) {
	h := newTokens(r.Tokens, r.Details, r.References, r.BodyLimits)
	router.Get("/tokens", principal.CatalogueRead, h.list)
	h.register(router, h.get)
}

func (r *Routes) registerScripts(router *httpserver.Router) {
	h := newScripts(r.Scripts, r.BodyLimits)
	router.Get("/scripts", principal.CatalogueRead, h.list)
	router.Get("/scripts/token/:token_id", principal.CatalogueRead, h.listOfToken)
	h.register(router, h.get)
}

func (r *Routes) registerActors(router *httpserver.Router) {
	h := newActors(r.Actors, r.BodyLimits)
	router.Get("/actors", principal.CatalogueRead, h.list)
	router.Get("/actors/search/:name", principal.CatalogueRead, h.search)
	router.Get("/actors/:id/tokens", principal.CatalogueRead, h.listTokens)
	h.register(router, h.get)
}

func (r *Routes) registerKeys(router *httpserver.Router) {
	h := apiKeys{store: r.Keys, timeouts: r.BodyLimits, forget: r.ForgetKey}
	router.Post("/api-keys", access.Keys, h.create)
	router.Get("/api-keys", access.Keys, h.list)
	router.Delete("/api-keys/:id", access.Keys, h.revoke)
}
