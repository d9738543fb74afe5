package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"sori.internal/services/gateway/internal/quota"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// Usage reads the usage of owners from the tracker.
type Usage struct {
	Tracker *Upstream
	Signer  principal.Signer
}

// usagePath is the path of the tracker's route for the usage. Clients cannot reach this route
// through the gateway.
const usagePath = "/internal/usage"

// maxUsageBody is the size of the largest answer: an answer repeats at most the jobs of the request.
const maxUsageBody = 64 << 10

// usageBody is the answer of the tracker.
type usageBody struct {
	Jobs     int64    `json:"jobs"`
	Staged   int64    `json:"staged_bytes"`
	Stored   int64    `json:"stored_bytes"`
	Log      int64    `json:"log_bytes"`
	Recorded []string `json:"recorded"`
}

// Usage implements quota.Source. It sends the request to the tracker with the owner as principal.
func (u Usage) Usage(ctx context.Context, owner string, jobs []string) (quota.Usage, []string, error) {
	signed, err := u.Signer.Sign(principal.Principal{Owner: owner, Scopes: []principal.Scope{principal.JobsRead}}, time.Now())
	if err != nil {
		return quota.Usage{}, nil, err
	}
	resp, err := u.Tracker.Forward(ctx, &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: usagePath, RawQuery: url.Values{"job": jobs}.Encode()},
		Header: http.Header{principal.Header: {signed}}, Body: http.NoBody,
	})
	if err != nil {
		return quota.Usage{}, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // an error is ignored: the body has been read, or is not used
	var body usageBody
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	} else {
		err = json.NewDecoder(io.LimitReader(resp.Body, maxUsageBody)).Decode(&body)
	}
	if err != nil {
		return quota.Usage{}, nil, fault.Unreachable(u.Tracker.name, fmt.Errorf("read the usage of an owner: %w", err))
	}
	return quota.Usage{Jobs: body.Jobs, Staged: body.Staged, Stored: body.Stored, Log: body.Log}, body.Recorded, nil
}
