package api

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// ResultsPath is the path that tells clients whether the result of a recording is cached.
const ResultsPath = "/tokens/{token_id}/results/{sha256}"

// Cached looks up cached results.
type Cached interface {
	// CachedJob returns the job whose cached result an upload of a recording would get; "" if no
	// result is cached.
	CachedJob(ctx context.Context, r analysis.Recording) (string, error)
}

// RegisterResults adds the route of cached results. The gateway forwards each request with a signed
// principal, and with a header that contains the reference files of the token (package
// uploadrequest).
func RegisterResults(mux *httpd.Mux, cached Cached, verifier principal.Verifier) {
	h := results{cached: cached, verifier: verifier}
	mux.Handle("HEAD "+ResultsPath, h.head)
}

type results struct {
	cached   Cached
	verifier principal.Verifier
}

// hexSum matches a SHA-256 in hexadecimal.
var hexSum = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)

// head answers 200 if the result of the owner's recording for a token is cached, and 404 otherwise.
func (h results) head(w http.ResponseWriter, r *http.Request) error {
	p, err := httpd.Authorize(w, r, h.verifier, principal.JobsRead)
	if err != nil {
		return err
	}
	token, err := strconv.ParseInt(r.PathValue("token_id"), 10, 64)
	if err != nil || !hexSum.MatchString(r.PathValue("sha256")) {
		return httpd.NoRoute()
	}
	described, err := uploadrequest.FromHeader(r.Header)
	if err != nil {
		return fault.MalformedRequest("The request does not describe an upload.", err)
	}
	job, err := h.cached.CachedJob(r.Context(), analysis.Recording{
		Owner: p.Owner, TokenID: token, SHA256: strings.ToLower(r.PathValue("sha256")),
		References: [...]string{described.TextGridURL, described.PitchURL},
	})
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Authorization")
	w.Header().Set("Cache-Control", "private, no-cache")
	if job == "" {
		w.WriteHeader(http.StatusNotFound)
		return nil
	}
	w.Header().Set("Cache-Status", httpd.CacheHit)
	w.Header().Set("Location", "/tokens/analysis-result/"+job)
	w.WriteHeader(http.StatusOK)
	return nil
}
