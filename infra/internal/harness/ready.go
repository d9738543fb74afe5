package harness

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"sori.internal/shared/wait"
)

const (
	readyPatience = 2 * time.Minute       // limit of the wait until a program is ready; Ready stops waiting when the process ends
	readyPause    = 10 * time.Millisecond // pause between two requests
)

// WaitReady returns when the program at url answers /readyz with 200.
func WaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for !ready(ctx, url) {
		if wait.For(ctx, readyPause) != nil {
			return fmt.Errorf("wait for %s: %w", url, context.Cause(ctx))
		}
	}
	return nil
}

func ready(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Ready returns when the process answers /readyz with 200. It returns an error if the process ends before.
func (p *Process) Ready(ctx context.Context) error {
	r := p.current()
	if r == nil {
		return fmt.Errorf("wait for %s: %w", p.name, ErrNotRunning)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-r.Done():
			cancel(r.Err())
		case <-ctx.Done():
		}
	}()
	if err := WaitReady(ctx, p.url); err != nil {
		return fmt.Errorf("start %s (its log is %s): %w", p.name, p.log, err)
	}
	return nil
}
