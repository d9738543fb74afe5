package api

import (
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/httpd"
	"sori.internal/shared/principal"
)

// CachedResults looks up cached results.
type CachedResults interface {
	// CachedJob returns the job whose cached result a new upload of a recording would get, if the
	// principal p uploaded it to this token; empty if no result is cached. sum is the SHA-256 of
	// the recording in hexadecimal.
	CachedJob(ctx context.Context, p principal.Principal, token int64, sum string, of upload.References) (string, error)
}

// hexSum matches a SHA-256 in hexadecimal.
var hexSum = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)

// cached answers whether the result of a recording is cached: HEAD
// /tokens/{token_id}/results/{sha256}.
func (u uploads) cached(c *fiber.Ctx) error {
	id, err := pathID(c, "token_id")
	if err != nil {
		return err
	}
	sum := strings.ToLower(c.Params("sha256"))
	if !hexSum.MatchString(sum) {
		return httpd.NoRoute()
	}
	job, err := u.find(c.UserContext(), id, sum)
	if err != nil {
		return err
	}
	if job == "" {
		c.Status(fiber.StatusNotFound)
		return nil
	}
	return sendCached(c, job)
}

// find looks up a cached result for the principal of a request. The reference files of the token
// are part of the cache key.
func (u uploads) find(ctx context.Context, token int64, sum string) (job string, err error) {
	references, err := u.core.References(ctx, token)
	if err != nil {
		return "", err
	}
	return u.results.CachedJob(ctx, principal.From(ctx), token, sum, references)
}

// sendCached answers with the location of a cached result.
func sendCached(c *fiber.Ctx, job string) error {
	c.Set("Cache-Status", httpd.CacheHit)
	c.Set(fiber.HeaderLocation, "/tokens/analysis-result/"+job)
	c.Set(fiber.HeaderCacheControl, "private, no-cache")
	return nil
}

// known is the httpserver.Early of uploads. It returns the job whose result is cached for the
// recording with the SHA-256 in Repr-Digest. Repr-Digest must be the digest of the file alone: no
// result is found by the digest of the whole form. An upload with an Idempotency-Key always becomes
// a job.
func (u uploads) known(ctx context.Context, path string, lines func(name string) []string) string {
	sum, err := upload.ParseDigest(strings.Join(lines("Repr-Digest"), ", "))
	if err != nil || sum == nil || len(lines("Idempotency-Key")) > 0 || wantsFresh(strings.Join(lines(fiber.HeaderCacheControl), ", ")) {
		return ""
	}
	var token int64
	if _, err := fmt.Sscanf(path, "/tokens/%d/", &token); err != nil {
		return ""
	}
	job, err := u.find(ctx, token, hex.EncodeToString(sum))
	if err != nil { // the gateway then reads the body, and the handler reports the failure
		zerolog.Ctx(ctx).Debug().Err(err).Msg("cached result not looked up")
	}
	return job
}
