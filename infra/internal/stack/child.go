package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"sori.internal/infra/internal/stack/proc"
)

// child is a server that runs as a part of the stack (proc.StartPart).
type child struct {
	*proc.Process
	port int
}

// Port is the port that the server listens on.
func (c *child) Port() int { return c.port }

// stop ends the server, and asks less kindly when it has not ended within the grace.
func (c *child) stop(ctx context.Context, grace time.Duration) error {
	c.Stop(ctx, proc.Step{Grace: grace}, proc.Step{Signal: syscall.SIGTERM, Grace: time.Second})
	return nil
}

// get asks a server once, which must answer 200, and decodes the answer unless answer is nil. The
// connection is not kept.
func get(ctx context.Context, url string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", req.URL.Path, resp.StatusCode)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
