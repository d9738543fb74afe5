package app_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/services/dispatcher/app"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/contract"
)

const (
	consumer = "dispatcher-stored"
	public   = "https://sori.example/tokens/webhook/analysis-complete"
	content  = "RIFF, as far as the dispatcher is concerned"
)

// env is a test environment with an analysis server and the dependencies of the uploader.
type env struct {
	*testkit.Kit
	t        *testing.T
	bus      *bus.Bus
	jobs     *joblog.Store
	staging  *staging.Store
	client   *minio.Client
	bucket   string
	analyzer *analyzer
	url      string // URL of the dispatcher, once it runs
	service  *testkit.Instance
	http     *http.Client
}

func newEnv(t *testing.T) *env {
	t.Helper()
	k := testkit.New(t)
	client, bucket := k.Bucket()
	described, err := contract.Sori() // the OpenAPI document: requests and responses of the dispatcher are validated against it
	must(t, err)
	b := k.Bus("uploader", event.Jobs(), event.Dead(), event.Staging(), event.Queue())
	return &env{
		Kit: k, t: t, bus: b, jobs: joblog.New(b), staging: staging.New(b), client: client, bucket: bucket, analyzer: newAnalyzer(t, described),
		http: &http.Client{Transport: &contract.Transport{
			Base: http.DefaultTransport, Document: described, Report: func(err error) { t.Error(err) },
		}},
	}
}

// run starts the service.
func (env *env) run(changes map[string]string) *testkit.Instance {
	env.t.Helper()
	settings := map[string]string{"TARGET_SERVER_URL": env.analyzer.URL + "/analyze", "WEBHOOK_URL": public}
	for name, value := range changes {
		settings[name] = value
	}
	i := env.Run(app.Run, settings)
	env.url, env.service = i.URL, i
	return i
}

// put stores an object.
func (env *env) put(key, body string) {
	env.t.Helper()
	_, err := env.client.PutObject(env.Context(), env.bucket, key, strings.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
	must(env.t, err)
}

// recording stores a recording and returns its event `stored`, which is not appended yet.
func (env *env) recording() event.Stored {
	env.t.Helper()
	job := env.NewJob()
	s := event.Stored{JobID: job, TokenID: 7, Bucket: env.bucket, Key: "audio/" + job + "_소리 1.wav", MediaType: "audio/wav", Size: int64(len(content))}
	env.put(s.Key, content)
	env.append(event.Received{JobID: job, TokenID: 7})
	return s
}

// store stores a recording and appends the event `stored`.
func (env *env) store() event.Stored {
	env.t.Helper()
	s := env.recording()
	env.append(s)
	return s
}

// append adds an event to the end of a job's log.
func (env *env) append(e event.Event) {
	env.t.Helper()
	env.Append(env.bus, e)
}

// handleAgain makes consumers handle every event again, and checks that nothing is published.
func (env *env) handleAgain(consumers ...string) {
	env.t.Helper()
	before := len(env.Messages(event.Jobs()))
	for _, name := range consumers {
		env.HandleAgain(name)
	}
	if now := len(env.Messages(event.Jobs())); now != before {
		env.t.Errorf("%d messages became %d", before, now)
	}
}

// busyFor makes the analysis server answer 503 with the given Retry-After.
func (env *env) busyFor(seconds string) {
	env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
		w.Header().Set("Retry-After", seconds)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// dispatched makes the analysis server accept a new job. It returns the job and its callback URL.
func (env *env) dispatched() (job, callback string) {
	env.t.Helper()
	s := env.store()
	testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
	return s.JobID, env.analyzer.requestsOf(s.JobID)[0].field("webhook_url")
}

// count returns the number of messages of a subject in the whole stream.
func (env *env) count(subject string) int {
	env.t.Helper()
	n := 0
	for _, m := range env.Messages(event.Jobs()) {
		if m.Subject == subject {
			n++
		}
	}
	return n
}

// local returns a callback URL with the address of the running instance instead of the public host.
func (env *env) local(callback string) string {
	return strings.Replace(callback, "https://sori.example", env.url, 1)
}

// reply is the answer to a callback.
type reply struct {
	code   int
	header http.Header
	body   map[string]any
}

// call posts a body to a callback URL, as the analysis server does.
func (env *env) call(callback string, body any, headers ...string) reply {
	env.t.Helper()
	got, err := env.post(callback, body, headers...)
	must(env.t, err)
	return got
}

// post does the same as call, for goroutines other than the test's.
func (env *env) post(callback string, body any, headers ...string) (reply, error) {
	raw, ok := body.(string)
	if !ok {
		encoded, err := json.Marshal(body)
		if err != nil {
			return reply{}, err
		}
		raw = string(encoded)
	}
	req, err := http.NewRequest(http.MethodPost, env.local(callback), strings.NewReader(raw))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := env.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	got := reply{code: resp.StatusCode, header: resp.Header}
	_ = json.Unmarshal(answer, &got.body) // got.body stays nil if the answer is not JSON
	return got, err
}

// changed returns a callback URL with one parameter changed, or removed if value is empty.
func changed(t *testing.T, callback, name, value string) string {
	t.Helper()
	u, err := url.Parse(callback)
	must(t, err)
	q := u.Query()
	if q.Set(name, value); value == "" {
		q.Del(name)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// request is a request that the analysis server has received.
type request struct {
	at     time.Time
	header http.Header
	body   []byte
}

// field returns a field of the request body, which is a form or JSON.
func (a request) field(name string) string {
	if form, err := url.ParseQuery(string(a.body)); err == nil && a.header.Get("Content-Type") != "application/json" {
		return form.Get(name)
	}
	var fields map[string]string
	_ = json.Unmarshal(a.body, &fields)
	return fields[name]
}

// analyzer is a stub of the analysis server. The test sets its answers.
type analyzer struct {
	*httptest.Server

	check func(request)

	mu           sync.Mutex
	got          []request
	polled       []string                                      // the paths of the polls, oldest first
	canceled     []string                                      // the paths of the DELETE requests that cancel analyses
	cancelStatus int                                           // the status of the answer to a DELETE; 0 means 204
	answer       func(w http.ResponseWriter, a request, n int) // n is the number of the job's request, from 1
	status       func(n int) string                            // returns the body of the answer to the n-th poll; "" means 404
}

func newAnalyzer(t *testing.T, described *contract.Document) *analyzer {
	t.Helper()
	a := &analyzer{answer: accept, check: func(a request) {
		if err := described.CheckWebhook("analysis", a.header, a.body); err != nil {
			t.Error(err)
		}
	}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func accept(w http.ResponseWriter, _ request, _ int) { w.WriteHeader(http.StatusAccepted) }

func (a *analyzer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		a.answerPoll(w, r)
		return
	}
	if r.Method == http.MethodDelete {
		a.answerCancel(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	this := request{at: time.Now(), header: r.Header.Clone(), body: body}
	a.check(this)
	a.mu.Lock()
	a.got = append(a.got, this)
	a.mu.Unlock()
	a.answer(w, this, len(a.requestsOf(this.field("job_id"))))
}

func (a *analyzer) answerPoll(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.polled = append(a.polled, r.URL.RequestURI())
	n := len(a.polled)
	a.mu.Unlock()
	text := a.status(n)
	if text == "" {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = io.WriteString(w, text)
}

// polls returns the paths of the polls so far.
func (a *analyzer) polls() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.polled)
}

// all returns the requests so far.
func (a *analyzer) all() []request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.got)
}

// requestsOf returns the requests for one job that have arrived so far.
func (a *analyzer) requestsOf(job string) []request {
	var of []request
	for _, one := range a.all() {
		if one.field("job_id") == job {
			of = append(of, one)
		}
	}
	return of
}

// fetch gets a URL and returns the body.
func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	must(t, err)
	defer resp.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body.String())
	}
	return body.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func parsed(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	must(t, err)
	return u
}
