package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/fault"
	"sori.internal/shared/trace"
)

// StatusURL is where the server tells how an analysis stands: a URL in which the
// ids of the job, the server's own and ours, are left open. Empty is nowhere.
type StatusURL string

// The places of the ids.
const (
	ownPlace = "{analysis_job_id}"
	jobPlace = "{job_id}"
)

// UnmarshalText takes the setting ANALYSIS_STATUS_URL. What is wrong with it is
// told without showing it: a URL may carry credentials.
func (s *StatusURL) UnmarshalText(text []byte) error {
	*s = StatusURL(text)
	if *s == "" {
		return nil
	}
	u, err := url.Parse(s.of("1", "1"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("it must be an absolute http or https URL")
	}
	if !strings.Contains(string(*s), ownPlace) && !strings.Contains(string(*s), jobPlace) {
		return errors.New("it must name " + ownPlace + " or " + jobPlace)
	}
	return nil
}

// Key tells one status URL from another without showing it.
func (s StatusURL) Key() string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// of is the URL for one job.
func (s StatusURL) of(job, serverID string) string {
	escaped := strings.ReplaceAll(url.QueryEscape(serverID), "+", "%20") // fits a path and a query alike
	return strings.NewReplacer(ownPlace, escaped, jobPlace, job).Replace(string(s))
}

// needsOwn reports whether the URL has a place for the server's own id.
func (s StatusURL) needsOwn() bool { return strings.Contains(string(s), ownPlace) }

// statusTimeout bounds how long the server may take to tell a status, which it is asked
// for to be sure of it soon.
const statusTimeout = 10 * time.Second

// Status implements analysis.Analyzer.
func (c *Client) Status(ctx context.Context, job, serverID string) ([]byte, error) {
	if c.status == "" || serverID == "" && c.status.needsOwn() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.status.of(job, serverID), nil)
	if err != nil {
		return nil, fmt.Errorf("ask for a status: %w", withoutURL(err))
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set(trace.Header, trace.Parent(ctx))
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fault.Away("analysis server", fmt.Errorf("ask for a status: %w", withoutURL(err)))
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone {
		return nil, analysis.ErrUnknownAnalysis
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for a status: status %d", resp.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, c.maxStatus+1))
	if err != nil {
		return nil, fmt.Errorf("read a status: %w", err)
	}
	if int64(len(answer)) > c.maxStatus {
		return nil, fmt.Errorf("read a status: more than %d bytes", c.maxStatus)
	}
	return answer, nil
}
