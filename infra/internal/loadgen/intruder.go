package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sori.internal/infra/internal/client"
)

// stranger returns a session for the same job with the credential of another owner: the one with the next number.
func (s *session) stranger() *session {
	return &session{clients: s.clients, next: s.next, owner: s.owner + 1, job: s.job}
}

// intrude sends every request about the job as another owner (stranger). Each request must be answered as for a job
// that does not exist, and the job must not be in that owner's list.
func (s *session) intrude(ctx context.Context) {
	stranger := s.stranger()
	for _, r := range []struct { // a slice and not a map, so that the order is the same for the same seed
		what string
		send func(*client.Client) error
	}{
		{"read", func(c *client.Client) error {
			_, err := c.Job(ctx, s.job, 0)
			return err
		}},
		{"follow", func(c *client.Client) error {
			stream, err := c.Stream(ctx, s.job, "", "")
			if err == nil {
				_ = stream.Close()
			}
			return err
		}},
		{"listen", func(c *client.Client) error {
			_, err := c.Do(ctx, client.Request{Path: "/jobs/" + s.job + "/audio"})
			return err
		}},
		{"cancel", func(c *client.Client) error { return c.Control(ctx, s.job, "cancel", false) }},
		{"retry", func(c *client.Client) error { return c.Control(ctx, s.job, "retry", true) }},
		{"erase", func(c *client.Client) error { return c.Erase(ctx, s.job) }},
	} {
		stranger.refused(ctx, fmt.Sprintf("%s job %s of owner %d as another", r.what, s.job, s.owner), r.send)
	}
	stranger.listed(ctx)
}

// intrudeParts sends requests for an upload in parts as another owner (stranger), and with the key of another upload.
func (s *session) intrudeParts(ctx context.Context, u client.PartsUpload, parts []client.Part) {
	other := u
	other.Key = "audio/" + strings.Map(func(r rune) rune { // a key with the id of another job
		if r == '1' {
			return '2'
		}
		return r
	}, u.Job) + "_" + s.name
	stranger := s.stranger()
	for _, r := range []struct { // a slice and not a map, so that the order is the same for the same seed
		what string
		as   *session
		make func() client.Request
	}{
		{"list the parts of", stranger, func() client.Request { return client.Request{Path: u.Path("")} }},
		{"sign a part of", stranger, func() client.Request { return client.Request{Path: u.Path("1")} }},
		{"complete", stranger, func() client.Request { return u.Completion(parts, nil) }},
		{"remove", stranger, func() client.Request { return client.Request{Method: http.MethodDelete, Path: u.Path("")} }},
		{"sign a part with another key of", s, func() client.Request { return client.Request{Path: other.Path("1")} }},
		{"complete with another key", s, func() client.Request { return other.Completion(parts, nil) }},
	} {
		r.as.refused(ctx, fmt.Sprintf("%s the upload of job %s", r.what, u.Job), func(c *client.Client) error {
			_, err := c.Do(ctx, r.make())
			return err
		})
	}
}

// refused sends a request until it is answered. Any answer but 404 is recorded as a violation.
func (s *session) refused(ctx context.Context, what string, send func(*client.Client) error) {
	s.clients.ledger.count(Intruded)
	s.retry(ctx, what, func(c *client.Client) error {
		err := send(c)
		p, answered := errors.AsType[*client.Problem](err)
		if err == nil || answered && !p.Retryable() && p.Status != http.StatusNotFound {
			s.clients.ledger.violate(Owners, "%s: %v", what, err)
			return nil
		}
		return err
	}, func(*client.Problem) bool { return true })
}

// pageSize is the number of jobs of a list that are searched.
const pageSize = 50

// listed records a violation if the job is among the newest in the owner's list.
func (s *session) listed(ctx context.Context) {
	s.retry(ctx, "list jobs", func(c *client.Client) error {
		page, err := c.Jobs(ctx, url.Values{"limit": {fmt.Sprint(pageSize)}})
		if slices.ContainsFunc(page.Jobs, func(j client.Job) bool { return j.JobID == s.job }) {
			s.clients.ledger.violate(Owners, "job %s is in the list of another owner", s.job)
		}
		return err
	}, func(*client.Problem) bool { return false })
}
