package target

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// StubAnalyzer is an analysis server that accepts every job, and calls back only when its user finishes the job (see Held and
// Complete).
type StubAnalyzer struct {
	server *http.Server
	url    string
	served chan error
	client *http.Client

	mu   sync.Mutex
	jobs map[string]chan string // the callback URLs of jobs that have arrived or for which Held waits
}

// StartStubAnalyzer starts a stub on a free port.
func StartStubAnalyzer(ctx context.Context) (*StubAnalyzer, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the stub analyzer: %w", err)
	}
	h := &StubAnalyzer{
		url: "http://" + l.Addr().String() + "/analyze", served: make(chan error, 1), jobs: map[string]chan string{},
		client: &http.Client{Transport: &http.Transport{}},
	}
	h.server = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { h.served <- h.server.Serve(l) }()
	return h, nil
}

// Close ends the server.
func (h *StubAnalyzer) Close() error {
	err := h.server.Close()
	h.client.CloseIdleConnections()
	if served := <-h.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("close the stub analyzer: %w", err)
	}
	return nil
}

// URL returns the value for TARGET_SERVER_URL.
func (h *StubAnalyzer) URL() string { return h.url }

// ServeHTTP accepts a job.
func (h *StubAnalyzer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	job, callback := r.FormValue("job_id"), r.FormValue("webhook_url")
	if job == "" || callback == "" {
		http.Error(w, "job_id and webhook_url are needed", http.StatusBadRequest)
		return
	}
	select {
	case h.job(job) <- callback:
	default: // a repeated request for the same job
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprintf(w, `{"job_id":"held-%s"}`, job) // a write error does not matter: the status has been sent
}

func (h *StubAnalyzer) job(id string) chan string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs[id] == nil {
		h.jobs[id] = make(chan string, 1)
	}
	return h.jobs[id]
}

// Held waits until the job has arrived, and returns a function that finishes the job: finish calls back with a result, which
// is JSON, and returns when the response to the callback has arrived. If the result is empty, finish sends a small fixed result.
func (h *StubAnalyzer) Held(ctx context.Context, job string) (finish func(ctx context.Context, result string) error, err error) {
	select {
	case callback := <-h.job(job):
		h.mu.Lock()
		delete(h.jobs, job)
		h.mu.Unlock()
		return func(ctx context.Context, result string) error { return h.finish(ctx, callback, result) }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for job %s to be dispatched: %w", job, context.Cause(ctx))
	}
}

// Complete waits until the job has arrived, and finishes it with a result.
func (h *StubAnalyzer) Complete(ctx context.Context, job, result string) error {
	finish, err := h.Held(ctx, job)
	if err != nil {
		return err
	}
	return finish(ctx, result)
}

func (h *StubAnalyzer) finish(ctx context.Context, callback, result string) error {
	body := []byte(`{"status":"completed","analysis_results":` + cmp.Or(result, `{"duration":3.2,"speech_rate":4.1}`) + `}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, callback, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call back: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		return fmt.Errorf("call back: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return fmt.Errorf("call back: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("call back: status %d: %s", resp.StatusCode, text)
	}
	return nil
}
