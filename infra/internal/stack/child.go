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

// Port returns the port on which the server listens.
func (c *child) Port() int { return c.port }

// stop closes the server's input, which signals the server to stop. If the server still runs after the grace period, it gets
// SIGTERM, and after one more second SIGKILL.
func (c *child) stop(ctx context.Context, grace time.Duration) error {
	c.Stop(ctx, proc.Step{Grace: grace}, proc.Step{Signal: syscall.SIGTERM, Grace: time.Second})
	return nil
}

// get sends one GET request and decodes the JSON of the response into answer, unless answer is nil.
// A status other than 200 is an error. The connection is not kept alive.
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
