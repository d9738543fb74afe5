package httpserver

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"sori.internal/services/gateway/internal/audit"
	"sori.internal/shared/logging"
	"sori.internal/shared/principal"
)

// principalKey is the key under which admit stores the principal of a request for the audit log,
// even if admit denies the request.
type principalKey struct{}

// objectKey is the key under which Made stores a path for the audit log.
type objectKey struct{}

// methodKey is the key under which admit stores the method that a request names in place of its own.
type methodKey struct{}

// overriddenMethod returns the method that X-HTTP-Method-Override names; POST if that is no method
// which the header may name. It returns a constant, since the audit log is written when the header is
// gone.
func overriddenMethod(given string) string {
	for _, method := range []string{http.MethodPatch, http.MethodDelete, http.MethodHead} {
		if given == method {
			return method
		}
	}
	return http.MethodPost
}

// Made sets the path that the audit log records for a request, in place of the Location header of
// the response or the path of the request.
func Made(c *fiber.Ctx, path string) { c.Locals(objectKey{}, path) }

// audited returns the entry of the audit log for an answered request. The audit log has the
// requests of principals that change something, and those that were denied. It has no request
// without a principal, because anybody could fill the audit log with such requests: they are in the
// log of the service.
func audited(c *fiber.Ctx, route, requestID string) (audit.Entry, bool) {
	p, _ := c.Locals(principalKey{}).(principal.Principal)
	status := c.Response().StatusCode()
	object, made := c.Locals(objectKey{}).(string)
	method, ok := c.Locals(methodKey{}).(string)
	if !ok {
		method = c.Method()
	}
	if p.Owner == "" || isSafe(method) && !made && status != http.StatusForbidden {
		return audit.Entry{}, false
	}
	if !made {
		object = logging.SafePath(cmp.Or(string(c.Response().Header.Peek(fiber.HeaderLocation)), c.Path()))
	}
	return audit.Entry{
		At: time.Now(), Owner: p.Owner, KeyID: p.KeyID, Action: method + " " + route, Object: object,
		Status: status, Address: clientAddress(c), RequestID: requestID,
	}, true
}

// isSafe reports whether a method only reads (RFC 9110, section 9.2.1).
func isSafe(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, method)
}
