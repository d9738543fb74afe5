package httpserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/principal"
)

// Authenticator finds the principal of a request.
type Authenticator interface {
	Authenticate(ctx context.Context, c access.Credentials) (principal.Principal, error)

	// Decide is Authenticate before the limits of the client are checked. It fails with
	// access.ErrUndecided if that needs a lookup that anybody can cause.
	Decide(ctx context.Context, c access.Credentials) (principal.Principal, error)

	Open() bool // reports whether every request is allowed
}

// Route is a route and the permission that its requests need: a scope, or another value of
// access.Needs.
type Route struct {
	Method, Path string
	Needs        principal.Scope

	// Ticket allows a request that has no credentials and has a ticket in its query. The service
	// behind the gateway verifies the ticket. This service receives no principal.
	Ticket bool

	// changes marks a route for GET that changes something.
	changes bool

	// overridden marks a route for POST whose requests name their method in a header.
	overridden bool

	early   Early
	MaxBody int64 // bytes of the largest body, if the route accepts more than Server.MaxBody
}

// Router registers routes. Every route declares what a request needs to reach its handler.
type Router struct {
	app    fiber.Router
	access Authenticator
	limits Limits
	routes []Route

	earlySlots chan struct{}
	lookups    *rate.Limiter // lookups of credentials before the limits of the client are checked
}

// earlyLookups is the number of such lookups in a second. New API keys are rarer, so that almost
// every request is decided before its body is sent. Invented keys cause no more lookups than this
// number and the limits of their addresses allow.
const earlyLookups = 20

// NewRouter makes a router that registers with an application of Fiber.
func NewRouter(app fiber.Router, a Authenticator, limits Limits) *Router {
	return &Router{app: app, access: a, limits: limits, earlySlots: make(chan struct{}, earlyConcurrency), lookups: rate.NewLimiter(earlyLookups, earlyLookups)}
}

// Routes returns the routes in the order of their registration.
func (r *Router) Routes() []Route { return slices.Clone(r.routes) }

// Get registers a route for GET and HEAD.
func (r *Router) Get(path string, needs principal.Scope, h fiber.Handler) {
	r.add(Route{Method: http.MethodHead, Path: path, Needs: needs}, h)
	r.add(Route{Method: http.MethodGet, Path: path, Needs: needs}, h)
}

// GetChanging registers a route whose requests change data although their method is GET, because
// the protocol of its clients uses GET. As for POST, requests of pages of unlisted origins are
// refused, and the audit log records the requests.
func (r *Router) GetChanging(path string, needs principal.Scope, h fiber.Handler) {
	r.add(Route{Method: http.MethodGet, Path: path, Needs: needs, changes: true}, h)
}

// Head registers a route for HEAD alone.
func (r *Router) Head(path string, needs principal.Scope, h fiber.Handler) {
	r.add(Route{Method: http.MethodHead, Path: path, Needs: needs}, h)
}

// GetByTicket registers a route for GET and HEAD that accepts a ticket instead of credentials.
func (r *Router) GetByTicket(path string, needs principal.Scope, h fiber.Handler) {
	r.add(Route{Method: http.MethodHead, Path: path, Needs: needs, Ticket: true}, h)
	r.add(Route{Method: http.MethodGet, Path: path, Needs: needs, Ticket: true}, h)
}

// Post registers a route for POST.
func (r *Router) Post(path string, needs principal.Scope, h fiber.Handler) {
	r.add(Route{Method: http.MethodPost, Path: path, Needs: needs}, h)
}

// Put registers a route for PUT.
func (r *Router) Put(path string, needs principal.Scope, h fiber.Handler) {
	r.add(Route{Method: http.MethodPut, Path: path, Needs: needs}, h)
}

// Delete registers a route for DELETE.
func (r *Router) Delete(path string, needs principal.Scope, h fiber.Handler) {
	r.add(Route{Method: http.MethodDelete, Path: path, Needs: needs}, h)
}

// Options registers a route for OPTIONS whose response has more than the header Allow. CORS
// preflights do not reach it.
func (r *Router) Options(path string, needs principal.Scope, h fiber.Handler) {
	r.add(Route{Method: http.MethodOptions, Path: path, Needs: needs}, h)
}

// PostLarge registers a route for POST with bodies of up to maxBody bytes.
func (r *Router) PostLarge(path string, needs principal.Scope, maxBody int64, h fiber.Handler) {
	r.add(Route{Method: http.MethodPost, Path: path, Needs: needs, MaxBody: maxBody}, h)
}

// PostOverridden registers a route for POST of clients that cannot send every method: their requests
// name the method in X-HTTP-Method-Override. The audit log records that method. Bodies have up to
// maxBody bytes.
func (r *Router) PostOverridden(path string, needs principal.Scope, maxBody int64, h fiber.Handler) {
	r.add(Route{Method: http.MethodPost, Path: path, Needs: needs, MaxBody: maxBody, overridden: true}, h)
}

// PatchLarge registers a route for PATCH with bodies of up to maxBody bytes.
func (r *Router) PatchLarge(path string, needs principal.Scope, maxBody int64, h fiber.Handler) {
	r.add(Route{Method: http.MethodPatch, Path: path, Needs: needs, MaxBody: maxBody}, h)
}

// add registers a route. It panics if the field Needs of the route is none of access.Needs(), as
// net/http panics for an invalid pattern. Only a defect of the code can cause the panic, and every
// start of a gateway, also in a test, reveals it. If add returned an error, each of the methods
// above would have to check it.
func (r *Router) add(route Route, h fiber.Handler) {
	if !slices.Contains(access.Needs(), route.Needs) {
		panic("the route " + route.Method + " " + route.Path + " does not say what it needs")
	}
	r.routes = append(r.routes, route)
	if route.Needs == access.Public {
		r.app.Add(route.Method, route.Path, h)
		return
	}
	r.app.Add(route.Method, route.Path, func(c *fiber.Ctx) error {
		if err := r.admit(c, route); err != nil {
			return err
		}
		err := h(c)
		if !r.access.Open() {
			keepPrivate(&c.Response().Header)
		}
		return err
	})
}

// admit returns a failure if a request may not use a route, or exceeds the limit of its principal. It
// stores the principal in the context of the request. A request beyond the limit is not in the audit
// log: otherwise its client could fill that log, and its database, without a limit.
func (r *Router) admit(c *fiber.Ctx, route Route) error {
	given := credentialsOf(&c.Request().Header)
	if route.Ticket && !r.access.Open() && given.HasNone() && c.Query(principal.TicketParameter) != "" {
		return nil
	}
	p, err := r.authenticate(c.UserContext(), given, route.Needs)
	if limited := r.limits.takePrincipal(c, p); limited != nil { // also if the request is denied, since each denied one is logged
		return limited
	}
	c.Locals(principalKey{}, p)
	if route.changes {
		Made(c, c.Path())
	}
	if route.overridden {
		c.Locals(methodKey{}, overriddenMethod(c.Get("X-HTTP-Method-Override")))
	}
	if err == nil && c.Get(deniedHeader) != "" {
		// allows has denied the request a moment ago, so its body was not read. The client must
		// send the request again.
		err = access.Unavailable(nil)
	}
	if err != nil {
		challenge(c, err)
		logDenied(c, p, err)
		return err
	}
	ctx := principal.With(c.UserContext(), p)
	c.SetUserContext(context.WithValue(ctx, renewalKey{}, renewal(func(ctx context.Context) (principal.Principal, error) {
		return r.authenticate(ctx, given, route.Needs)
	})))
	return nil
}

// authenticate returns the principal of a request if it may use a route.
func (r *Router) authenticate(ctx context.Context, c access.Credentials, needs principal.Scope) (principal.Principal, error) {
	p, err := r.access.Authenticate(ctx, c)
	if err != nil {
		return p, err
	}
	return p, access.Authorize(p, needs)
}

// renewal authenticates the sender of a request again.
type renewal func(ctx context.Context) (principal.Principal, error)

type renewalKey struct{}

// Renew authenticates the sender of a request again, and fails if the credentials have expired or
// were revoked since the request began. ctx is the context of the request. For a public route, or a
// request with a ticket, Renew returns the zero Principal.
func Renew(ctx context.Context) (principal.Principal, error) {
	if again, ok := ctx.Value(renewalKey{}).(renewal); ok {
		return again(ctx)
	}
	return principal.Principal{}, nil
}

// apiKeyHeader is the header of an API key.
const apiKeyHeader = "X-API-Key"

// credentialsOf copies the credentials of a request: Renew uses them after the handler has
// returned.
func credentialsOf(h *fasthttp.RequestHeader) access.Credentials {
	return access.Credentials{Authorization: lines(h, fiber.HeaderAuthorization), APIKey: lines(h, apiKeyHeader)}
}

func lines(h *fasthttp.RequestHeader, name string) []string {
	var all []string
	for _, line := range h.PeekAll(name) {
		all = append(all, string(line))
	}
	return all
}

// decideTimeout is the timeout of allows.
const decideTimeout = 15 * time.Second

// allows reports whether the body of a request may be read. It decides by the header of the
// request. The handler checks the request again, and answers it. A request that no route matches is
// allowed, because it is answered without reading the body anyway. A request for which decide fails
// with access.ErrUndecided is allowed too. The handler checks the limit of its address, then looks
// the credentials up, and reads no body before that.
func (r *Router) allows(ctx context.Context, h *fasthttp.RequestHeader, base string) bool {
	route, ok := r.find(string(h.Method()), pathOf(h, base))
	if !ok || route.Needs == access.Public {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	_, err := r.decide(ctx, credentialsOf(h), route.Needs)
	return err == nil || errors.Is(err, access.ErrUndecided)
}

// decide is authenticate before the limits of the client are checked: fasthttp does not say here
// which connection the header came from. It fails with access.ErrUndecided if the credentials have
// to be looked up, and the lookups of this second are used up.
func (r *Router) decide(ctx context.Context, c access.Credentials, needs principal.Scope) (principal.Principal, error) {
	p, err := r.access.Decide(ctx, c)
	if errors.Is(err, access.ErrUndecided) && r.lookups.Allow() {
		p, err = r.access.Authenticate(ctx, c)
	}
	if err != nil {
		return p, err
	}
	return p, access.Authorize(p, needs)
}

// maxBody returns MaxBody of the route of a request: 0 unless the route accepts larger bodies than
// Server.MaxBody.
func (r *Router) maxBody(h *fasthttp.RequestHeader, base string) int64 {
	route, _ := r.find(string(h.Method()), pathOf(h, base))
	return route.MaxBody
}

// find returns the route of a request. Like Fiber, it ignores all slashes at the end of the path.
func (r *Router) find(method, path string) (Route, bool) {
	if len(path) > 1 {
		path = strings.TrimRight(path, "/")
	}
	for _, route := range r.routes {
		if route.Method == method && fiber.RoutePatternMatch(path, route.Path, fiber.Config{CaseSensitive: true}) {
			return route, true
		}
	}
	return Route{}, false
}

// pathOf returns the path of a request under the base path, as Fiber will see it.
func pathOf(h *fasthttp.RequestHeader, base string) string {
	u := fasthttp.AcquireURI()
	defer fasthttp.ReleaseURI(u)
	if u.Parse(nil, h.RequestURI()) != nil {
		return "" // the URL is invalid, so the server refuses the request
	}
	path, _ := cutBase(string(u.PathOriginal()), base)
	return path
}

// challenge sets WWW-Authenticate, which describes how to authenticate (RFC 6750, section 3).
func challenge(c *fiber.Ctx, err error) {
	f, text := fault.As(err), `Bearer realm="sori"`
	switch f.Code {
	case access.CodeMissing:
	case access.CodeInvalid:
		text += `, error="invalid_token", error_description="` + f.Detail + `"`
	case access.CodeScope:
		scope, _ := f.Extra["scope"].(string)
		text += `, error="insufficient_scope", scope="` + scope + `"`
	case access.CodeAmbiguous:
		text += `, error="invalid_request", error_description="` + f.Detail + `"`
	default:
		return
	}
	c.Set(fiber.HeaderWWWAuthenticate, text)
}

// logDenied logs that a request is denied. The logger of the request adds the id of the request.
func logDenied(c *fiber.Ctx, p principal.Principal, err error) {
	f := fault.As(err)
	line := zerolog.Ctx(c.UserContext()).Warn().Str(logging.Code, f.Code).Str(logging.Address, clientAddress(c)).
		Str(logging.Method, c.Method()).Str(logging.Path, logging.SafePath(c.Path()))
	if f.Code == access.CodeInvalid {
		line.Str(logging.Outcome, f.Detail) // a constant without any part of the credential
	}
	if p.Owner != "" {
		line.Str(logging.Owner, p.Owner)
	}
	if p.KeyID != "" {
		line.Str(logging.KeyID, p.KeyID)
	}
	line.Msg("request denied")
}

// keepPrivate keeps an answer out of shared caches, since it depends on the principal.
func keepPrivate(h *fasthttp.ResponseHeader) {
	vary(h, fiber.HeaderAuthorization)
	vary(h, apiKeyHeader)
	switch given := string(h.Peek(fiber.HeaderCacheControl)); {
	case given == "":
		h.Set(fiber.HeaderCacheControl, "private, no-cache")
	case !strings.Contains(given, "private") && !strings.Contains(given, "no-store"):
		h.Set(fiber.HeaderCacheControl, "private, "+given)
	}
}
