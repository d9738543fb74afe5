package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// Results asks the dispatcher for cached results.
type Results struct {
	Dispatcher *Upstream
	Signer     principal.Signer
}

// CachedJob implements api.CachedResults.
func (r Results) CachedJob(ctx context.Context, p principal.Principal, token int64, sum string, of upload.References) (string, error) {
	signed, err := r.Signer.Sign(p, time.Now())
	if err != nil {
		return "", err
	}
	described, err := uploadrequest.Description{TokenID: token, TextGridURL: of.TextGridURL, PitchURL: of.PitchURL, SHA256: sum}.Encode()
	if err != nil {
		return "", err
	}
	resp, err := r.Dispatcher.Forward(ctx, &http.Request{
		Method: http.MethodHead, URL: &url.URL{Path: fmt.Sprintf("/tokens/%d/results/%s", token, sum)},
		Header: http.Header{principal.Header: {signed}, uploadrequest.Header: {described}}, Body: http.NoBody,
	})
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close() // an answer to HEAD has no body
	location := resp.Header.Get("Location")
	job, ok := event.ParseJobID(location[strings.LastIndex(location, "/")+1:])
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return "", nil
	case resp.StatusCode != http.StatusOK || !ok:
		return "", fault.Unreachable(r.Dispatcher.name, fmt.Errorf("look up a cached result: status %d, location %q", resp.StatusCode, location))
	default:
		return job, nil
	}
}
