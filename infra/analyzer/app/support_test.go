package app_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/infra/analyzer/app"
)

// start runs a server on a free port until the test ends. If change is not nil, start first changes the default
// settings with it.
func start(t *testing.T, change func(*app.Config)) *app.Server {
	t.Helper()
	cfg := app.Default()
	cfg.HTTPAddr = "127.0.0.1:0"
	cfg.WebhookBackoff = time.Millisecond
	cfg.FetchBackoff = time.Millisecond
	if change != nil {
		change(&cfg)
	}
	s, err := app.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

func behave(b app.Behaviour) func(*app.Config) {
	return func(c *app.Config) { c.Behaviour = b }
}

// sink is a server that receives the callbacks of the analyzer and serves the audio files.
type sink struct {
	*httptest.Server
	got     chan map[string]any // bodies of the callbacks that were accepted, in order
	mu      sync.Mutex
	refuse  []int // statuses that refuse the next callbacks, one for each
	fetches int
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{got: make(chan map[string]any, 10000)}
	speech, err := os.ReadFile("../internal/analysis/testdata/speech.flac")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /speech.flac", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		s.fetches++
		s.mu.Unlock()
		_, _ = w.Write(speech)
	})
	mux.HandleFunc("GET /junk", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "this is no audio") })
	mux.HandleFunc("GET /pitch.json", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"time":0,"hz":100},{"time":0.01,"hz":101},{"time":0.02,"hz":99},{"time":0.03,"hz":98},{"time":0.04,"hz":97}]`)
	})
	mux.HandleFunc("POST /hook", s.hook)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *sink) hook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	s.mu.Lock()
	if len(s.refuse) > 0 {
		status := s.refuse[0]
		s.refuse = s.refuse[1:]
		s.mu.Unlock()
		w.WriteHeader(status)
		return
	}
	s.mu.Unlock()
	var fields map[string]any
	if err == nil {
		err = json.Unmarshal(body, &fields)
	}
	if err != nil {
		fields = map[string]any{"status": "unreadable: " + err.Error()}
	}
	fields["query"], fields["traceparent"] = r.URL.RawQuery, r.Header.Get("Traceparent")
	s.got <- fields
}

// awaitOutcomes receives callbacks until the given number of outcomes has arrived, and returns all callbacks.
func (s *sink) awaitOutcomes(outcomes int) (all []map[string]any) {
	for outcomes > 0 {
		c := <-s.got
		all = append(all, c)
		if c["status"] != "processing" {
			outcomes--
		}
	}
	return all
}

func (s *sink) form() url.Values {
	return url.Values{
		"s3_audio_url": {s.URL + "/speech.flac"}, "video_id": {"7"}, "webhook_url": {s.URL + "/hook?job_id=j&attempt=1&sig=s"}, "job_id": {"j"},
	}
}

// post sends a form and returns the status, the headers and the fields of the response.
func post(t *testing.T, to string, form url.Values, headers ...string) (int, http.Header, map[string]any) {
	t.Helper()
	return send(t, http.MethodPost, to, "application/x-www-form-urlencoded", form.Encode(), headers...)
}

func send(t *testing.T, method, to, media, body string, headers ...string) (int, http.Header, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	reply, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	var fields map[string]any
	if err := json.NewDecoder(reply.Body).Decode(&fields); err != nil && reply.StatusCode != http.StatusNoContent {
		t.Fatalf("%s %s: %d, %v", method, to, reply.StatusCode, err)
	}
	return reply.StatusCode, reply.Header, fields
}
