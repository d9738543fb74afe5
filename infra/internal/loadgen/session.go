package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/shared/wait"
)

// session is the state of one client with one job.
type session struct {
	clients  *Clients
	next     int  // number of the gateway for the next request
	owner    int  // number of the owner of the job
	intrudes bool // another owner tries to use the upload

	upload upload
	name   string // name of the file
	file   []byte // bytes of the file while it is uploaded; nil afterwards
	sum    string // SHA-256 of the file, in hexadecimal

	job  string
	last client.Job // the version of the job that was seen last
	seen int64      // the number of the version in last; -1 before the first one
}

// gateway returns a client of the gateway for the next request, with the credential of the job's owner.
func (s *session) gateway() *client.Client {
	g := *s.clients.gateways.at(s.next)
	s.next++
	if all := s.clients.opt.Credentials; len(all) > 0 {
		g.Credential = all[s.owner%len(all)]
	}
	return &g
}

// retry sends a request, to one gateway after the other, until it is answered, and reports whether the answer is as
// expected. A problem for which refused returns true is expected, too; any other is recorded as a violation. A request
// that fails without an answer, or whose answer allows a later attempt (client.Problem.Retryable), is repeated and is
// no violation.
func (s *session) retry(ctx context.Context, what string, send func(*client.Client) error, refused func(*client.Problem) bool) bool {
	for ctx.Err() == nil {
		err := send(s.gateway())
		if err == nil {
			return true
		}
		if p, answered := errors.AsType[*client.Problem](err); answered && !p.Retryable() {
			if refused(p) {
				return true
			}
			s.clients.ledger.violate(Answers, "%s: %v", what, p)
			return false
		}
		_ = wait.For(ctx, retryAfter)
	}
	return false
}

// control sends a request to cancel or to retry the job, and reports whether the answer was as expected.
// A refusal because of the job's status (409 or 410) is expected.
func (s *session) control(ctx context.Context, action string) bool {
	return s.retry(ctx, action+" of job "+s.job, func(c *client.Client) error {
		err := c.Control(ctx, s.job, action, false)
		if err == nil {
			s.clients.ledger.count(Action(action))
		}
		return err
	}, func(p *client.Problem) bool {
		return (p.Status == http.StatusConflict || p.Status == http.StatusGone) && p.Code != ""
	})
}

// erase sends a request to erase the job. A 410 is a success: an earlier attempt, whose answer was lost, has erased the job.
func (s *session) erase(ctx context.Context) {
	erased := s.retry(ctx, "erasure of job "+s.job, func(c *client.Client) error { return c.Erase(ctx, s.job) },
		func(p *client.Problem) bool { return p.Status == http.StatusGone })
	if erased {
		s.clients.ledger.end(s.job, client.Erased)
		s.clients.ledger.count(Erased)
	}
}

// await follows or polls the job until it has ended, and reports whether it has seen the end.
func (s *session) await(ctx context.Context, watch bool) bool {
	look := s.poll
	if watch {
		look = s.follow
	}
	s.last.Status = client.Processing
	for ctx.Err() == nil {
		if err := look(ctx); err != nil {
			s.clients.ledger.violate(Answers, "job %s: %v", s.job, err)
			return false
		}
		if s.last.Status != client.Processing {
			s.clients.ledger.end(s.job, s.last.Status)
			return true
		}
		_ = wait.For(ctx, retryAfter)
	}
	return false
}

// pollFor is the wait parameter of a long poll: how long the answer may be delayed.
const pollFor = 5 * time.Second

// poll reads the job with a long poll.
func (s *session) poll(ctx context.Context) error {
	j, err := s.gateway().Job(ctx, s.job, pollFor)
	if err != nil {
		return unexpected(err)
	}
	return s.see(j)
}

// follow reads a stream until it ends, as an EventSource does. It returns no error if the service is
// unavailable or the stream ends early.
func (s *session) follow(ctx context.Context) error {
	ctx, done := s.clients.stream(ctx)
	defer done()
	lastID := ""
	if s.seen >= 0 {
		lastID = strconv.FormatInt(s.seen, 10)
	}
	stream, err := s.gateway().Stream(ctx, s.job, lastID, "")
	if p, answered := errors.AsType[*client.Problem](err); answered && p.Status == http.StatusNoContent && lastID != "" {
		return nil // lastID is the id of the terminal event: the retry of the job is not recorded yet
	}
	if err != nil {
		return unexpected(err)
	}
	defer stream.Close()
	return frames(stream, lastID, s.see)
}

// unexpected returns err if the server answered with a problem that is not retryable (client.Problem.Retryable), else nil.
func unexpected(err error) error {
	if p, answered := errors.AsType[*client.Problem](err); answered && !p.Retryable() {
		return err
	}
	return nil
}

// see records a version of the job. A version older than the last one is a violation.
func (s *session) see(f client.Job) error {
	version, err := strconv.ParseInt(f.ID, 10, 64)
	if err != nil {
		return fmt.Errorf("version %q: %w", f.ID, err)
	}
	if f.JobID != s.job {
		return fmt.Errorf("an answer is about job %s", f.JobID)
	}
	if version < s.seen {
		s.clients.ledger.violate(Versions, "job %s went back from version %d to %d", s.job, s.seen, version)
	}
	if f.Progress < s.last.Progress {
		s.clients.ledger.drop(s.job)
	}
	s.seen, s.last = version, f
	return nil
}
