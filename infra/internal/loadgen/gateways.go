package loadgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/shared/wait"
)

// Gateways are clients of several gateways. Consecutive requests use them in turn. They are safe for concurrent use.
type Gateways []*client.Client

// token is the id of the first token of a catalogue.
const token = 1

// NewGateways returns clients of the gateways at the URLs. All of them use the given HTTP clients, and so share connections.
func NewGateways(urls []string, requests, streams *http.Client) Gateways {
	all := make(Gateways, len(urls))
	for i, url := range urls {
		all[i] = &client.Client{Base: url, HTTP: requests, Streams: streams}
	}
	return all
}

// Dial returns clients of the gateways with a new HTTP client. It does not connect.
func Dial(urls []string) Gateways {
	return NewGateways(urls, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, nil)
}

// at returns the gateway for the n-th request.
func (g Gateways) at(n int) *client.Client { return g[n%len(g)] }

// Upload sends one upload to the token 1, at the gateway for the n-th request. It returns the job or, if the
// response is a 503 with a code and a Retry-After header, that code. Any other response is an error.
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

// Watch follows a job until it ends, as an EventSource does: whenever the stream ends before the job
// has ended, Watch connects again, to the next gateway, with the last event id that it has seen. It
// returns an error if the progress decreases or a frame is malformed.
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
		if wait.For(ctx, reconnectAfter) != nil {
			return errors.Join(wrong, fmt.Errorf("missed its end: %w", ctx.Err()))
		}
	}
	return wrong
}

// follow opens a stream and calls the function see for each of its frames, until the stream ends.
func follow(ctx context.Context, c *client.Client, job, lastID string, see func(client.Job) error) error {
	stream, err := c.Stream(ctx, job, lastID, "")
	if err != nil {
		return err
	}
	defer stream.Close()
	return frames(stream, lastID, see)
}

// frames calls the function see for each frame of a stream, until the stream ends. If the stream breaks, frames
// returns nil, because the viewer connects again. It returns an error for a frame that cannot be
// decoded, and the error of see.
func frames(stream io.Reader, lastID string, see func(client.Job) error) error {
	err := client.ReadFrames(stream, lastID, see)
	if errors.Is(err, client.ErrBroken) {
		return nil
	}
	return err
}
