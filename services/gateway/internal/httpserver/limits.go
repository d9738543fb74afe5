package httpserver

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sori.internal/services/gateway/internal/ratelimit"
	"sori.internal/shared/principal"
)

// Limits are the limits of each client. The zero Limits limit nothing.
//
// Before authentication, a client is an address; an IPv6 /64 network counts as one address, since
// one user can use all of it. After authentication, a client is the owner of the credentials. The
// limit of an address does not apply to a loopback address: such requests come from this machine,
// or from a proxy that is not listed as trusted, so that all of its clients would share one limit.
type Limits struct {
	Address   *ratelimit.Rate
	Principal *ratelimit.Rate
	Retries   *ratelimit.Rate
	Uploads   *ratelimit.Concurrency
	Streams   *ratelimit.Concurrency
}

// clientKey is the key of the address of the client among the user values of a request.
type clientKey struct{}

// client returns the address of the client of a request.
func (e *edge) client(c *fasthttp.RequestCtx) netip.Addr {
	var hops []string
	for _, line := range c.Request.Header.PeekAll(fiber.HeaderXForwardedFor) {
		hops = append(hops, string(line))
	}
	return e.proxies.Client(c.RemoteAddr(), strings.Join(hops, ","))
}

func clientOf(c *fasthttp.RequestCtx) netip.Addr {
	addr, _ := c.UserValue(clientKey{}).(netip.Addr)
	return addr
}

// clientAddress returns the address of the client of a request, for logs: with the port, if the
// connection is that of the client and not of a proxy.
func clientAddress(c *fiber.Ctx) string {
	client, peer := clientOf(c.Context()), c.Context().RemoteAddr()
	if tcp, ok := peer.(*net.TCPAddr); ok && tcp.AddrPort().Addr().Unmap().WithZone("") != client {
		return client.String()
	}
	return peer.String()
}

// network returns the key of an address for the limits before authentication: the address or, for
// IPv6, its /64 network. It returns "" for an address without a limit.
func network(addr netip.Addr) string {
	switch {
	case !addr.IsValid() || addr.IsLoopback():
		return ""
	case addr.Is4():
		return addr.String()
	}
	net64, err := addr.Prefix(64) //nolint:mnd // bits of a network
	if err != nil {
		return ""
	}
	return net64.String()
}

// sender returns the key of a client for the limits after authentication: the owner of the
// credentials or, without an owner, the key of the address. It returns "" for a client without a
// limit.
func sender(c *fiber.Ctx) string {
	if owner := principal.From(c.UserContext()).Owner; owner != "" {
		return "owner " + owner
	}
	return network(clientOf(c.Context()))
}

// takeAddress counts a request by the address of its client.
func (l Limits) takeAddress(c *fiber.Ctx) error {
	return take(c, l.Address, network(clientOf(c.Context())))
}

// takePrincipal counts a request by its principal.
func (l Limits) takePrincipal(c *fiber.Ctx, p principal.Principal) error {
	return take(c, l.Principal, p.Owner)
}

// take counts a request, and adds the RateLimit headers to the response.
func take(c *fiber.Ctx, r *ratelimit.Rate, client string) error {
	if r == nil || client == "" {
		return nil
	}
	state, err := r.Take(client, time.Now())
	c.Append("RateLimit-Policy", state.Policy())
	c.Append("RateLimit", state.Limit())
	return err
}

// Upload wraps a handler of uploads. It limits the number of concurrent uploads of a client.
func (r *Router) Upload(h fiber.Handler) fiber.Handler { return limited(r.limits.Uploads, h) }

// Stream wraps a handler of event streams and long polls. It limits the number of concurrent
// streams of a client.
func (r *Router) Stream(h fiber.Handler) fiber.Handler { return limited(r.limits.Streams, h) }

// Retry wraps a handler of retries. It limits the rate of retries of a client, since each retry
// costs an analysis.
func (r *Router) Retry(h fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := take(c, r.limits.Retries, sender(c)); err != nil {
			return err
		}
		return h(c)
	}
}

func limited(at *ratelimit.Concurrency, h fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		release, err := at.Acquire(sender(c))
		if err != nil {
			return err
		}
		sent := false
		defer func() {
			if !sent { // the handler has failed, or panicked
				release()
			}
		}()
		if err := h(c); err != nil {
			return err
		}
		sent = true
		whenSent(c, release)
		return nil
	}
}
