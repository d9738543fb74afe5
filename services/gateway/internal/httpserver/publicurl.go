package httpserver

import (
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sori.internal/services/gateway/internal/forwarded"
)

// publicURL describes the URL by which the client of a request reaches the gateway.
type publicURL struct {
	forwarded forwarded.Request
	prefix    string // prefix of every path
	outside   bool   // the path of the request is not under the base path
}

// publicURLKey is the key of the publicURL among the user values of a request.
type publicURLKey struct{}

func publicURLOf(c *fasthttp.RequestCtx) publicURL {
	p, _ := c.UserValue(publicURLKey{}).(publicURL)
	return p
}

// Prefix returns the public prefix of all paths: the prefix that a trusted proxy has removed,
// followed by the base path. It contains only unreserved characters and slashes.
func Prefix(c *fiber.Ctx) string { return publicURLOf(c.Context()).prefix }

// base returns the text before a path in a link. It contains a scheme and a host only if a trusted
// proxy sends the host. Otherwise the client resolves the path against the URL that it requested.
func (p publicURL) base() string {
	switch {
	case p.forwarded.Host == "":
		return p.prefix
	case p.forwarded.Scheme == "":
		return "http://" + p.forwarded.Host + p.prefix
	default:
		return p.forwarded.Scheme + "://" + p.forwarded.Host + p.prefix
	}
}
