package httpserver

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/shared/fault"
	"sori.internal/shared/logging"
	"sori.internal/shared/principal"
)

// Authenticator decides who makes a request.
type Authenticator interface {
	Authenticate(ctx context.Context, c access.Credentials) (principal.Principal, error)
	Open() bool // every request is answered, whoever sends it
}

// Route is a route and what it needs: a scope, or one of the other values of access.Needs.
type Route struct {
	Method, Path string
	Needs        principal.Scope

	// Ticket lets a request without credentials pass that has a ticket in its query. The service
	// behind the gateway verifies the ticket, and is told no principal.
	Ticket bool
}

// Router registers routes. A route says what it needs, and is not reached without.
type Router struct {
	app    fiber.Router
	access Authenticator
	routes []Route
}

// NewRouter makes a router that registers with an application of Fiber.
func NewRouter(app fiber.Router, a Authenticator) *Router { return &Router{app: app, access: a} }

// Routes lists the routes in their order.
func (r *Router) Routes() []Route { return slices.Clone(r.routes) }

// Get registers a route for GET and HEAD.
func (r *Router) Get(path string, needs principal.Scope, h fiber.Handler) {
	r.add(Route{Method: http.MethodHead, Path: path, Needs: needs}, h)
	r.add(Route{Method: http.MethodGet, Path: path, Needs: needs}, h)
}

// GetByTicket registers a route for GET and HEAD that takes a ticket in the place of credentials.
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

// admit lets a request pass to its handler, with its principal in the context.
func (r *Router) admit(c *fiber.Ctx, route Route) error {
	given := credentialsOf(&c.Request().Header)
	if route.Ticket && !r.access.Open() && given.HasNone() && c.Query(principal.TicketParameter) != "" {
		return nil
	}
	p, err := r.authenticate(c.UserContext(), given, route.Needs)
	if err == nil && c.Get(deniedHeader) != "" {
		// Its body was not read, since it was denied a moment ago.
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

// Renew authenticates the sender of a request again, by the context of the request: credentials may
// have expired or been revoked since. Of a public route, or with a ticket, it returns the zero
// Principal.
func Renew(ctx context.Context) (principal.Principal, error) {
	if again, ok := ctx.Value(renewalKey{}).(renewal); ok {
		return again(ctx)
	}
	return principal.Principal{}, nil
}

// The headers of the credentials.
const apiKeyHeader = "X-API-Key"

// credentialsOf copies the credentials of a request: they are used after its end.
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

// decideTimeout limits the decision about a request whose body is still to come.
const decideTimeout = 15 * time.Second

// allows reports whether the body of a request may come, by the header. The handler decides again,
// and answers. What no route takes is answered without its body anyway.
func (r *Router) allows(ctx context.Context, h *fasthttp.RequestHeader, base string) bool {
	needs := r.needs(string(h.Method()), pathOf(h, base))
	if needs == access.Public {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	_, err := r.authenticate(ctx, credentialsOf(h), needs)
	return err == nil
}

// needs returns what the route of a request needs; Public if there is none.
func (r *Router) needs(method, path string) principal.Scope {
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	for _, route := range r.routes {
		if route.Method == method && fiber.RoutePatternMatch(path, route.Path, fiber.Config{CaseSensitive: true}) {
			return route.Needs
		}
	}
	return access.Public
}

// pathOf returns the path of a request under the base path, as Fiber will see it.
func pathOf(h *fasthttp.RequestHeader, base string) string {
	u := fasthttp.AcquireURI()
	defer fasthttp.ReleaseURI(u)
	if u.Parse(nil, h.RequestURI()) != nil {
		return "" // it will be refused
	}
	path, _ := cutBase(string(u.PathOriginal()), base)
	return path
}

// challenge says how to authenticate (RFC 6750, section 3).
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
		Str(logging.Method, c.Method()).Str(logging.Path, c.Path())
	if f.Code == access.CodeInvalid {
		line.Str(logging.Outcome, f.Detail) // one of a few sentences
	}
	if p.Owner != "" {
		line.Str(logging.Owner, p.Owner)
	}
	if p.KeyID != "" {
		line.Str(logging.KeyID, p.KeyID)
	}
	line.Msg("request denied")
}

// clientAddress returns the address of a client: the one that a trusted proxy names, or that of the
// connection.
func clientAddress(c *fiber.Ctx) string {
	hops := c.Get(fiber.HeaderXForwardedFor) // empty unless a trusted proxy sends it
	if hops == "" {
		return c.Context().RemoteAddr().String()
	}
	return strings.TrimSpace(hops[strings.LastIndexByte(hops, ',')+1:])
}

// keepPrivate keeps the answer to a request from caches that others share: it depends on who asks.
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
