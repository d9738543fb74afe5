package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"sori.internal/services/tracker/app"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/principal"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/contract"
)

// env is a test environment of the tracker: its dependencies, and a bus for publishing events. The
// answers of the tracker are validated against the OpenAPI document.
type env struct {
	service *testkit.Instance // the tracker that was started last
	*testkit.Kit
	t       testing.TB
	bus     *bus.Bus
	jobs    *joblog.Store
	staging *staging.Store
	url     string
	http    *contract.Transport

	signer principal.Signer
}

// varyBy is the Vary header of answers about jobs.
const varyBy = "Accept-Language, Authorization"

// as returns the signed header with which the gateway forwards a request of a principal.
func (c *env) as(p principal.Principal) map[string]string {
	c.t.Helper()
	signed, err := c.signer.Sign(p, time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	return map[string]string{principal.Header: signed}
}

// nobody returns an empty principal header, for which env.sign sends a request without a principal.
func nobody() map[string]string { return map[string]string{principal.Header: ""} }

// sign adds the principal of an admin to a request that has no principal header. It removes an
// empty principal header.
func (c *env) sign(h http.Header) {
	c.t.Helper()
	switch given, ok := h[principal.Header]; {
	case !ok:
		h.Set(principal.Header, c.as(principal.Open())[principal.Header])
	case given[0] == "":
		h.Del(principal.Header)
	}
}

func open(t testing.TB, changes map[string]string) *env {
	t.Helper()
	kit := testkit.New(t)
	kit.MigratedDatabase()
	c := newEnv(t, kit)
	c.url = c.replica(changes)
	return c
}

// newEnv makes the environment without starting a tracker.
func newEnv(t testing.TB, kit *testkit.Kit) *env {
	t.Helper()
	described, err := contract.Sori()
	if err != nil {
		t.Fatal(err)
	}
	var signs principal.Config
	kit.Load(&signs)
	b := kit.Bus("test", event.Jobs(), event.Dead(), event.Staging())
	return &env{
		Kit: kit, t: t, bus: b, jobs: joblog.New(b), staging: staging.New(b), signer: principal.NewSigner(signs),
		http: &contract.Transport{
			Base: http.DefaultTransport, Document: described, Report: func(err error) { t.Error(err) },
			Exempt: func(r *http.Response) bool { return "http://"+r.Request.URL.Host == kit.Settings(nil)["S3_ENDPOINT"] },
		},
	}
}

// replica starts one more tracker and waits until it is ready.
func (c *env) replica(changes map[string]string) string {
	c.t.Helper()
	c.service = c.Run(app.Run, changes)
	url := c.service.URL
	testkit.Eventually(c.t, func() error {
		if status := c.get(url+"/readyz", nil).status; status != http.StatusOK {
			return fmt.Errorf("not ready: %d", status)
		}
		return nil
	})
	return url
}

// metrics returns the metrics of the tracker that was started last.
func (c *env) metrics() string {
	c.t.Helper()
	resp, err := http.Get(c.service.Admin(c.t) + "/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %v", resp.Status, err)
	}
	return string(text)
}

// db returns a database connection of the test.
func (c *env) db() *sqlx.DB {
	c.t.Helper()
	db, err := sqlx.Open("postgres", c.Database())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = db.Close() })
	return db
}

// exec changes the database directly.
func (c *env) exec(query string, args ...any) {
	c.t.Helper()
	if _, err := c.db().ExecContext(c.Context(), query, args...); err != nil {
		c.t.Fatal(err)
	}
}

// testJob publishes the events of one job and requests the job from the tracker.
type testJob struct {
	*env
	id  string
	seq uint64
}

func (c *env) job() *testJob {
	c.t.Helper()
	id, err := event.NewJobID()
	if err != nil {
		c.t.Fatal(err)
	}
	return &testJob{env: c, id: id}
}

// attemptedJob makes a job whose first attempt has begun.
func (c *env) attemptedJob() *testJob {
	c.t.Helper()
	j := c.job()
	j.received()
	j.stored()
	j.attempted(1)
	return j
}

func (l *testJob) publish(e event.Event) {
	l.t.Helper()
	if e.Name().Progress() {
		if err := l.bus.Publish(l.Context(), e); err != nil {
			l.t.Fatal(err)
		}
		return
	}
	seq, err := l.jobs.Append(l.Context(), e, l.seq)
	if err != nil {
		l.t.Fatal(err)
	}
	l.seq = seq
}

func (l *testJob) received() {
	l.publish(event.Received{JobID: l.id, TokenID: 7, FileName: "녹음 1.wav", MediaType: "audio/wav", Size: 1000, SHA256: "ab", Chunks: 1})
}

func (l *testJob) uploading(n int64) { l.publish(event.Uploading{JobID: l.id, Bytes: n, Size: 1000}) }

func (l *testJob) stored() {
	l.publish(event.Stored{JobID: l.id, TokenID: 7, Bucket: "b", Key: "audio/k.wav", MediaType: "audio/wav", Size: 1000, SHA256: "ab", Duration: 2})
}

func (l *testJob) attempted(n int) { l.publish(event.Attempted{JobID: l.id, Attempt: n}) }

func (l *testJob) waiting(n int, until time.Time) {
	l.publish(event.Waiting{JobID: l.id, Attempt: n, Until: until, Code: "analysis-unavailable"})
}

func (l *testJob) dispatched(n int) { l.publish(event.Dispatched{JobID: l.id, Attempt: n}) }

func (l *testJob) progressed(percent int, message string) {
	l.publish(event.Progressed{JobID: l.id, Attempt: 1, Percent: percent, Message: message})
}

func (l *testJob) completed(result string) {
	l.publish(event.Completed{JobID: l.id, Attempt: 1, Result: json.RawMessage(result)})
}

func (l *testJob) failed() {
	l.publish(event.Failed{JobID: l.id, Attempt: 1, Code: "analysis-failed", Detail: "no speech", Retryable: true})
}

// resultURL and progressURL return the URLs of the job on the first replica.
func (l *testJob) resultURL() string   { return l.url + "/tokens/analysis-result/" + l.id }
func (l *testJob) progressURL() string { return l.url + "/tokens/analysis-progress/" + l.id }

// answer is an HTTP response. body has the members of a result or of a problem document.
type answer struct {
	status int
	header http.Header
	raw    string
	body   struct {
		JobID     string          `json:"job_id"`
		TokenID   string          `json:"token_id"`
		Status    string          `json:"status"`
		Stage     string          `json:"stage"`
		Progress  int             `json:"progress"`
		Result    json.RawMessage `json:"result"`
		Warnings  []string        `json:"warnings"`
		Message   string          `json:"message"`
		Analysis  string          `json:"analysis_message"`
		Error     json.RawMessage `json:"error"`
		CreatedAt time.Time       `json:"created_at"`
		UpdatedAt time.Time       `json:"updated_at"`
		NextTry   time.Time       `json:"next_attempt_at"`
		Cached    bool            `json:"cached"`
		Code      string          `json:"code"`
	}
}

func (c *env) get(url string, headers map[string]string) answer {
	c.t.Helper()
	return c.request(http.MethodGet, url, headers)
}

func (c *env) request(method, url string, headers map[string]string) answer {
	c.t.Helper()
	resp := c.send(c.Context(), method, url, headers)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	_ = json.Unmarshal(raw, &a.body) // body stays empty if the answer is not JSON
	return a
}

func (c *env) send(ctx context.Context, method, url string, headers map[string]string) *http.Response {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	c.sign(req.Header)
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// version returns the job's version from the ETag header; -1 if the header has no version.
func (a answer) version() int64 {
	number, _, _ := strings.Cut(strings.Trim(a.header.Get("ETag"), `"`), "-")
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return -1
	}
	return v
}

// awaitStatus waits until the job has the given status and progress.
func (l *testJob) awaitStatus(status string, progress int) answer {
	l.t.Helper()
	var a answer
	testkit.Eventually(l.t, func() error {
		a = l.get(l.resultURL(), nil)
		if a.body.Status != status || a.body.Progress != progress || a.version() < 1 {
			return fmt.Errorf("the job is %d %s", a.status, a.raw)
		}
		return nil
	})
	return a
}

func TestTheReadmeListsEverySetting(t *testing.T) {
	t.Parallel()
	testkit.CheckSettings(t, "../README.md", &app.Config{})
}
