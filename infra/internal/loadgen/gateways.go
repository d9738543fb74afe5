package loadgen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sori.internal/infra/internal/client"
)

// Gateways are clients of several gateways, which take turns. They are safe for concurrent use.
type Gateways []*client.Client

// token is the id of the first token of a catalogue.
const token = 1

// NewGateways makes clients of the gateways at these URLs, which share their connections.
func NewGateways(urls []string, requests, streams *http.Client) Gateways {
	all := make(Gateways, len(urls))
	for i, url := range urls {
		all[i] = &client.Client{Base: url, HTTP: requests, Streams: streams}
	}
	return all
}

// Dial makes clients with connections of their own.
func Dial(urls []string) Gateways {
	return NewGateways(urls, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, nil)
}

// at is the gateway whose turn is the n-th.
func (g Gateways) at(n int) *client.Client { return g[n%len(g)] }

// Upload uploads once to the first token, at the gateway whose turn is the n-th. It returns the job,
// or the code of an answer that asks properly to try again later; any other answer is an error.
func (g Gateways) Upload(ctx context.Context, n int, r Recording) (job, code string, err error) {
	job, err = g.at(n).Upload(ctx, token, r.Form())
	p, refused := errors.AsType[*client.Problem](err)
	if refused && p.Status == http.StatusServiceUnavailable && p.Code != "" && p.RetryAfter != "" {
		return "", p.Code, nil
	}
	return job, "", err
}

// reconnectAfter is how long an EventSource waits before it connects again.
const reconnectAfter = 500 * time.Millisecond

// Watch follows a job to its end as an EventSource does: whenever its stream ends before the job
// does it connects again, here to the next gateway, with the last id that it saw. An error says
// what such a viewer must never see.
func (g Gateways) Watch(ctx context.Context, job string) error {
	var wrong error
	last := client.Job{Progress: -1}
	see := func(f client.Job) error {
		if f.Progress < last.Progress {
			wrong = errors.Join(wrong, fmt.Errorf("progress went back from %d to %d", last.Progress, f.Progress))
		}
		last = f
		return nil
	}
	for n := 0; !last.Terminal(); n++ {
		err := follow(ctx, g.at(n), job, last.ID, see)
		if p, refused := errors.AsType[*client.Problem](err); refused && p.Status == http.StatusServiceUnavailable {
			err = nil
		}
		if err != nil {
			return errors.Join(wrong, err)
		}
		if !pause(ctx, reconnectAfter) {
			return errors.Join(wrong, fmt.Errorf("missed its end: %w", ctx.Err()))
		}
	}
	return wrong
}

// follow reads one stream to its end.
func follow(ctx context.Context, c *client.Client, job, lastID string, see func(client.Job) error) error {
	stream, err := c.Stream(ctx, job, lastID, "")
	if err != nil {
		return err
	}
	defer stream.Close()
	return frames(stream, lastID, see)
}

// frames reads a stream to its end. A stream that is cut is no error: the viewer connects again. A
// frame that cannot be read, or that see does not accept, is one.
func frames(stream io.Reader, lastID string, see func(client.Job) error) error {
	var wrong error
	_ = client.ReadEvents(stream, lastID, func(e client.Event) error {
		f := client.Job{ID: e.ID}
		if wrong = json.Unmarshal([]byte(e.Data), &f); wrong == nil {
			wrong = see(f)
		}
		return wrong
	})
	return wrong
}

// pause waits, and reports whether it was not cut short.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
