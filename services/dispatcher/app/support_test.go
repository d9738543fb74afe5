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
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/contract"
)

const (
	consumer = "dispatcher-stored"
	public   = "https://sori.example/tokens/webhook/analysis-complete"
	content  = "RIFF, as far as the dispatcher cares"
)

// rig is a corner with an analysis server and what the uploader would leave.
type rig struct {
	*testkit.Kit
	t        *testing.T
	bus      *bus.Bus
	client   *minio.Client
	bucket   string
	analyzer *analyzer
	url      string // of the dispatcher, once it runs
	http     *http.Client
}

// document is that of the API: what the dispatcher answers and what it sends are
// held to it. It is read, not imported: the other side has no more.
var document = sync.OnceValues(func() (*contract.Document, error) {
	return contract.Read("../../gateway/internal/api/openapi.yaml")
})

func newRig(t *testing.T) *rig {
	t.Helper()
	k := testkit.New(t)
	client, bucket := k.Bucket()
	described, err := document()
	must(t, err)
	return &rig{
		Kit: k, t: t, client: client, bucket: bucket, analyzer: newAnalyzer(t, described),
		http: &http.Client{Transport: &contract.Transport{
			Base: http.DefaultTransport, Document: described, Report: func(err error) { t.Error(err) },
		}},
		bus: k.Bus("uploader", event.Jobs(), event.Dead(), event.Staging()),
	}
}

// run starts the service.
func (r *rig) run(changes map[string]string) *testkit.Instance {
	r.t.Helper()
	settings := map[string]string{"TARGET_SERVER_URL": r.analyzer.URL + "/analyze", "WEBHOOK_URL": public}
	for name, value := range changes {
		settings[name] = value
	}
	i := r.Run(app.Run, settings)
	r.url = i.URL
	return i
}

// put leaves an object in the bucket.
func (r *rig) put(key, body string) {
	r.t.Helper()
	_, err := r.client.PutObject(r.Context(), r.bucket, key, strings.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
	must(r.t, err)
}

// recording is a job up to the event that the dispatcher hears, which is not yet said.
func (r *rig) recording() event.Stored {
	r.t.Helper()
	job := r.NewJob()
	s := event.Stored{JobID: job, TokenID: 7, Bucket: r.bucket, Key: "audio/" + job + "_소리 1.wav", MediaType: "audio/wav", Size: int64(len(content))}
	r.put(s.Key, content)
	r.append(event.Received{JobID: job, TokenID: 7})
	return s
}

// store says it.
func (r *rig) store() event.Stored {
	r.t.Helper()
	s := r.recording()
	r.append(s)
	return s
}

// append adds an event to the end of a job's log.
func (r *rig) append(e event.Event) {
	r.t.Helper()
	_, err := r.bus.Decide(r.Context(), e.Job(), nil, func(event.Log) (event.Event, error) { return e, nil })
	must(r.t, err)
}

// dispatched brings a new job to the analysis server and returns its callback URL.
func (r *rig) dispatched() (job, callback string) {
	r.t.Helper()
	s := r.store()
	testkit.Await[event.Dispatched](r.Kit, r.bus, s.JobID)
	return s.JobID, r.analyzer.of(s.JobID)[0].field("webhook_url")
}

// count is how many messages a job has on a subject, over the whole stream.
func (r *rig) count(subject string) int {
	r.t.Helper()
	n := 0
	for _, m := range r.Letters(event.Jobs()) {
		if m.Subject == subject {
			n++
		}
	}
	return n
}

// here is a callback URL at the instance that runs instead of the public host.
func (r *rig) here(callback string) string {
	return strings.Replace(callback, "https://sori.example", r.url, 1)
}

// reply is an answer to a callback.
type reply struct {
	code   int
	header http.Header
	body   map[string]any
}

// call posts a body to a callback URL, as the analysis server does.
func (r *rig) call(callback string, body any, headers ...string) reply {
	r.t.Helper()
	got, err := r.post(callback, body, headers...)
	must(r.t, err)
	return got
}

// post is call for other goroutines than the test's.
func (r *rig) post(callback string, body any, headers ...string) (reply, error) {
	raw, ok := body.(string)
	if !ok {
		encoded, err := json.Marshal(body)
		if err != nil {
			return reply{}, err
		}
		raw = string(encoded)
	}
	req, err := http.NewRequest(http.MethodPost, r.here(callback), strings.NewReader(raw))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	got := reply{code: resp.StatusCode, header: resp.Header}
	_ = json.Unmarshal(answer, &got.body) // checked by who expects one
	return got, err
}

// changed is a callback URL with one parameter set, or taken out where empty.
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

// asked is one request that the analysis server got.
type asked struct {
	at     time.Time
	header http.Header
	body   []byte
}

// field is one field of the request, in either format.
func (a asked) field(name string) string {
	if form, err := url.ParseQuery(string(a.body)); err == nil && a.header.Get("Content-Type") != "application/json" {
		return form.Get(name)
	}
	var fields map[string]string
	_ = json.Unmarshal(a.body, &fields)
	return fields[name]
}

// analyzer is an analysis server that answers as the test says.
type analyzer struct {
	*httptest.Server

	check func(asked)

	mu     sync.Mutex
	got    []asked
	polled []string                                    // the paths that were asked for a status
	answer func(w http.ResponseWriter, a asked, n int) // n counts a job's requests from 1
	status func(n int) string                          // what the n-th look at a status is told; empty is 404
}

func newAnalyzer(t *testing.T, described *contract.Document) *analyzer {
	t.Helper()
	a := &analyzer{answer: accept, check: func(a asked) {
		if err := described.CheckWebhook("analysis", a.header, a.body); err != nil {
			t.Error(err)
		}
	}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func accept(w http.ResponseWriter, _ asked, _ int) { w.WriteHeader(http.StatusAccepted) }

func (a *analyzer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		a.tell(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	this := asked{at: time.Now(), header: r.Header.Clone(), body: body}
	a.check(this)
	a.mu.Lock()
	a.got = append(a.got, this)
	a.mu.Unlock()
	a.answer(w, this, len(a.of(this.field("job_id"))))
}

func (a *analyzer) tell(w http.ResponseWriter, r *http.Request) {
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

// polls are the paths that were asked for a status so far.
func (a *analyzer) polls() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.polled)
}

// all are the requests so far.
func (a *analyzer) all() []asked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.got)
}

// of are the requests for one job so far.
func (a *analyzer) of(job string) []asked {
	var of []asked
	for _, one := range a.all() {
		if one.field("job_id") == job {
			of = append(of, one)
		}
	}
	return of
}

// fetch reads what a URL leads to.
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
