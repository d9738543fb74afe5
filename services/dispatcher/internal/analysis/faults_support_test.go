package analysis_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/services/dispatcher/internal/analyzerclient"
	"sori.internal/services/dispatcher/internal/cache"
	"sori.internal/services/dispatcher/internal/objects"
	"sori.internal/services/dispatcher/internal/queue"
	"sori.internal/shared/bus"
	"sori.internal/shared/coordination"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
)

// env has the real dependencies of a Dispatcher, except for the analysis server, which is a stub.
type env struct {
	*testkit.Kit
	ctx     context.Context //nolint:containedctx // the test's
	bus     *bus.Bus
	server  *server
	objects objectstore.Config
	deps    analysis.Dependencies // without slots, cache and faults
	results *cache.Results
	cache   *objects.Versions
}

// usedLog is a stream of logs that is filled to a fixed fraction.
type usedLog float64

func (u usedLog) MaxUsed() float64 { return float64(u) }

func newEnv(t *testing.T) *env {
	t.Helper()
	k := testkit.New(t)
	env := &env{Kit: k, ctx: k.Context(), server: newServer(t)}
	env.bus = k.Bus("dispatcher", event.Jobs(), event.Staging(), event.Queue(), event.Results(), event.Shared())
	k.Load(&env.objects)
	s3, _ := k.Bucket()
	var err error
	env.results, err = cache.NewResults(env.bus)
	must(t, err)
	env.cache = objects.NewVersions(s3, env.objects)
	env.deps = analysis.Dependencies{
		Jobs: joblog.New(env.bus), Progress: env.bus, Staging: staging.New(env.bus),
		Links:    objects.New(s3, env.objects, objects.Presigned, time.Hour),
		Analyzer: env.server.client(t, k),
		Signer:   analysis.NewSigner(&url.URL{Scheme: "https", Host: "sori.example"}, analysis.SignerOptions{Secrets: []string{"secret"}, Valid: time.Hour, Now: time.Now}),
		Queue:    queue.New(env.bus), Sharing: cache.NewSharing(env.bus), LogUsage: usedLog(0),
	}
	return env
}

// request is a request that the analysis server has received.
type request struct {
	job     string
	attempt string // the job and the number of the attempt
	webhook string
}

// server is a stub of the analysis server. The test sets its answers.
type server struct {
	*httptest.Server

	mu       sync.Mutex
	requests []request
	canceled []string
	polls    int
	answer   func(r request) (status int, body string)
	status   func(n int) string // body of the answer to the n-th poll
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// client makes the client of the server.
func (s *server) client(t *testing.T, k *testkit.Kit) *analyzerclient.Client {
	t.Helper()
	target, err := url.Parse(s.URL)
	must(t, err)
	return analyzerclient.New(analyzerclient.Options{
		Target: target, Format: analyzerclient.Form, Timeout: time.Minute, Concurrency: 8,
		BreakerFailures: 100, BreakerDelay: time.Minute, MaxStatusBytes: 1 << 20, Log: k.Log(),
		Status: analyzerclient.StatusURL(s.URL + "/{job_id}"),
	})
}

// reset forgets all requests, and accepts further requests without an outcome.
func (s *server) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.canceled, s.polls = nil, nil, 0
	s.answer = func(request) (int, string) { return http.StatusAccepted, "" }
	s.status = func(int) string { return `{"status":"processing"}` }
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		got := request{job: r.FormValue("job_id"), attempt: r.Header.Get("Idempotency-Key"), webhook: r.FormValue("webhook_url")}
		s.mu.Lock()
		s.requests = append(s.requests, got)
		s.mu.Unlock()
		status, body := s.answer(got)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodDelete {
		s.canceled = append(s.canceled, strings.TrimPrefix(r.URL.Path, "/"))
		return
	}
	s.polls++
	_, _ = w.Write([]byte(s.status(s.polls)))
}

// attempts returns the first request of each attempt, oldest first.
func (s *server) attempts() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first []request
	for _, r := range s.requests {
		if !slices.ContainsFunc(first, func(f request) bool { return f.attempt == r.attempt }) {
			first = append(first, r)
		}
	}
	return first
}

// settings are the settings of a Dispatcher.
type settings struct {
	cache bool
	slots int     // 0: no limit
	used  usedLog // used fraction of the stream of logs
}

// start makes a Dispatcher, as a process that starts does.
func (h *history) start(s settings) {
	deps := h.deps
	deps.LogUsage = s.used
	deps.StatusSeen = coordination.NewFlag(h.bus, "ANALYSIS_STATUS", h.name)
	h.caches, h.queues = h.caches || s.cache, h.queues || s.slots > 0
	if s.slots > 0 {
		deps.Slots = queue.NewSlots(h.bus, "ANALYSIS_SLOTS", s.slots)
	}
	if s.cache {
		deps.Results, deps.Versions = h.results, h.cache
		deps.Counts = analysis.CacheCounts{Hit: func() {}, Miss: func() {}, Shared: func() {}}
	}
	h.core = analysis.New(inject(h.faults, deps), analysis.Options{MaxAttempts: 2, PollInterval: time.Nanosecond})
}

// position returns the sequence that follows that of the last message in the stream of jobs.
func (env *env) position() uint64 {
	env.T().Helper()
	info, err := env.bus.Stream(event.Jobs()).Info(env.ctx)
	must(env.T(), err)
	return info.LastSeq + 1
}

// isEmpty checks that a stream has no messages.
func (h *history) isEmpty(s event.Stream) {
	info, err := h.bus.Stream(s).Info(h.ctx)
	must(h.T(), err)
	if info.Messages != 0 {
		h.errorf("%d messages are left in %s", info.Messages, s.Name)
	}
}

func (h *history) errorf(format string, args ...any) {
	h.T().Helper()
	h.T().Errorf("%s: %s", h.name, fmt.Sprintf(format, args...))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
