package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/contract"
)

// env is a running gateway with a token. Every answer of the gateway is checked against the OpenAPI
// document.
type env struct {
	t       *testing.T
	kit     *testkit.Kit
	bus     *bus.Bus
	jobs    *joblog.Store
	staging *staging.Store
	url     string
	service *testkit.Instance
	stop    func() error
	token   int64
	http    *contract.Transport
}

// stubHeader marks the answers of stub services. The gateway forwards them unchanged, and the tests
// do not check them against the document.
const stubHeader = "X-Played"

// settings returns the settings of a gateway whose other services do not run, with changes.
func settings(kit *testkit.Kit, changes map[string]string) map[string]string {
	vars := map[string]string{
		"TRACKER_URL": "http://127.0.0.1:1", "DISPATCHER_URL": "http://127.0.0.1:1",
		"REFERENCE_PREFIXES": "s3://refs/, s3://b/, s3://no-such-bucket-here/, s3://x/, s3://A_B/, s3://" + kit.Settings(nil)["S3_BUCKET_NAME"] + "/",
	}
	maps.Copy(vars, changes)
	return vars
}

func start(t *testing.T, changes map[string]string) *env {
	t.Helper()
	kit := testkit.New(t)
	kit.MigratedDatabase()
	vars := settings(kit, changes)
	i := kit.Run(app.Run, vars)
	g := newEnv(t, kit, i)
	g.http.Prefix = strings.TrimSuffix(vars["BASE_PATH"], "/")
	g.url += g.http.Prefix
	g.ready()
	token := g.create(`{"token_name":"인사","actor_name":"하나","start_time":0,"end_time":1.5,
		"s3_textgrid_url":"s3://refs/1.TextGrid","s3_pitch_url":"s3://refs/1.json"}`)
	g.token = int64(token["id"].(float64))
	return g
}

func newEnv(t *testing.T, kit *testkit.Kit, i *testkit.Instance) *env {
	t.Helper()
	described, err := contract.Sori()
	if err != nil {
		t.Fatal(err)
	}
	b := kit.Bus("test")
	return &env{t: t, kit: kit, url: i.URL, service: i, stop: i.Stop, bus: b, jobs: joblog.New(b), staging: staging.New(b), http: &contract.Transport{
		Base: http.DefaultTransport, Document: described, Report: func(err error) { t.Error(err) },
		Exempt: func(r *http.Response) bool { return r.Header.Get(stubHeader) != "" },
	}}
}

// inSubtest returns the same gateway, whose checks report to a subtest.
func (g *env) inSubtest(t *testing.T) *env {
	t.Helper()
	part := *g
	part.t = t
	return &part
}

func (g *env) ready() {
	g.t.Helper()
	testkit.Eventually(g.t, func() error {
		r, err := g.try(g.kit.Context(), "GET", "/readyz", nil, nil)
		if err == nil && r.StatusCode != http.StatusOK {
			err = fmt.Errorf("readyz: %s", r.Status)
		}
		return err
	})
}

// reply is an answer with its whole body, which has been read.
type reply struct {
	*http.Response
	text []byte
}

func (r reply) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(r.text, v); err != nil {
		t.Fatalf("%s: %v: %s", r.Status, err, r.text)
	}
}

func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	r.decode(t, &m)
	return m
}

func (g *env) do(method, path string, body io.Reader, header map[string]string) reply {
	g.t.Helper()
	r, err := g.try(g.kit.Context(), method, path, body, header)
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

// try sends a request. A body is JSON, unless the header says otherwise.
func (g *env) try(ctx context.Context, method, path string, body io.Reader, header map[string]string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, body)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if body == nil {
		req.Header.Del("Content-Type")
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := g.http.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{Response: resp, text: text}, err
}

// metrics returns the metrics of the gateway.
func (g *env) metrics() string {
	g.t.Helper()
	resp, err := http.Get(g.service.Admin(g.t) + "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		g.t.Fatalf("%s: %v", resp.Status, err)
	}
	return string(text)
}

// send sends JSON.
func (g *env) send(method, path, body string) reply {
	g.t.Helper()
	return g.do(method, path, strings.NewReader(body), map[string]string{"Content-Type": "application/json"})
}

func (g *env) ask(path string) reply {
	g.t.Helper()
	return g.do("GET", path, nil, nil)
}

// get requests a path and checks that the answer is 200.
func (g *env) get(path string) reply {
	g.t.Helper()
	r := g.ask(path)
	if r.StatusCode != http.StatusOK {
		g.t.Fatalf("get %s: %s: %s", path, r.Status, r.text)
	}
	return r
}

// add creates an entry of the catalogue and returns its path.
func (g *env) add(list, body string) string {
	g.t.Helper()
	r := g.send("POST", list, body)
	if r.StatusCode != http.StatusCreated {
		g.t.Fatalf("add to %s: %s: %s", list, r.Status, r.text)
	}
	return r.Header.Get("Location")
}

// create creates a token.
func (g *env) create(body string) map[string]any {
	g.t.Helper()
	r := g.send("POST", "/tokens/", body)
	if r.StatusCode != http.StatusCreated {
		g.t.Fatalf("create token: %s: %s", r.Status, r.text)
	}
	return r.json(g.t)
}

// part is a part of a form. header replaces the header that is made from name and file.
type part struct {
	name, file string
	header     string // value of Content-Disposition
	content    []byte
}

func form(parts ...part) (body []byte, contentType string) {
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for _, p := range parts {
		h := textproto.MIMEHeader{}
		switch {
		case p.header != "":
			h.Set("Content-Disposition", p.header)
		case p.file != "":
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename="%s"`, p.name, p.file))
		default:
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q`, p.name))
		}
		pw, _ := w.CreatePart(h)
		_, _ = pw.Write(p.content)
	}
	_ = w.Close()
	return buf.Bytes(), w.FormDataContentType()
}

// wav returns a recording of n bytes.
func wav(n int) []byte {
	head := "RIFF\xff\xff\xff\x7fWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\xbb\x00\x00\x00\x77\x01\x00\x02\x00\x10\x00data\xff\xff\xff\x7f"
	b := make([]byte, max(n, len(head)))
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	copy(b, head)
	return b
}

func (g *env) path() string { return fmt.Sprintf("/tokens/%d/upload-audio", g.token) }

func (g *env) upload(header map[string]string, parts ...part) reply {
	g.t.Helper()
	body, contentType := form(parts...)
	h := map[string]string{"Content-Type": contentType}
	for k, v := range header {
		h[k] = v
	}
	return g.do("POST", g.path(), bytes.NewReader(body), h)
}

// received returns the event `received` of an accepted job.
func (g *env) received(job string) event.Received {
	g.t.Helper()
	log, err := g.jobs.Read(g.kit.Context(), job)
	if err != nil {
		g.t.Fatal(err)
	}
	r, ok := event.Last[event.Received](log)
	if !ok {
		g.t.Fatalf("job %s has no received", job)
	}
	return r
}

func (g *env) staged(r event.Received) []byte {
	g.t.Helper()
	body, err := g.staging.Open(g.kit.Context(), r.Staged())
	if err != nil {
		g.t.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// assertNothingStored checks that nothing was published and nothing is staged.
func (g *env) assertNothingStored() {
	g.t.Helper()
	js := g.kit.JetStream()
	for _, s := range []event.Stream{event.Jobs(), event.Staging()} {
		testkit.Eventually(g.t, func() error {
			stream, err := js.Stream(g.kit.Context(), g.kit.Namespace().Stream(s.Name))
			if err != nil {
				return err
			}
			if n := stream.CachedInfo().State.Msgs; n != 0 {
				return fmt.Errorf("%s holds %d messages", s.Name, n)
			}
			return nil
		})
	}
}

// invalid checks that a reply names the broken rules, each as "pointer: detail".
func (g *env) invalid(r reply, want ...string) {
	g.t.Helper()
	var got []string
	broken, _ := g.problem(r, http.StatusUnprocessableEntity, "validation-failed")["errors"].([]any)
	for _, v := range broken {
		m, _ := v.(map[string]any)
		got = append(got, fmt.Sprintf("%v: %v", m["pointer"], m["detail"]))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		g.t.Errorf("broken rules:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// problem checks that a reply is a problem document.
func (g *env) problem(r reply, status int, code string) map[string]any {
	g.t.Helper()
	if r.StatusCode != status || r.Header.Get("Content-Type") != "application/problem+json" {
		g.t.Fatalf("got %s, %s, want %d: %s", r.Status, r.Header.Get("Content-Type"), status, r.text)
	}
	m := r.json(g.t)
	if m["code"] != code || m["detail"] == "" || m["request_id"] != r.Header.Get("X-Request-Id") || m["status"] != float64(status) {
		g.t.Fatalf("got %s, want the code %s", r.text, code)
	}
	if status == http.StatusServiceUnavailable && r.Header.Get("Retry-After") == "" {
		g.t.Fatal("503 without Retry-After")
	}
	return m
}

// atOnce sends n equal requests concurrently.
func (g *env) atOnce(n int, method, path, body string, header map[string]string) []reply {
	g.t.Helper()
	answers := make([]reply, n)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			var err error
			if answers[i], err = g.try(g.kit.Context(), method, path, strings.NewReader(body), header); err != nil {
				g.t.Error(err)
			}
		})
	}
	wg.Wait()
	return answers
}

// oneSucceeds checks that one answer is a success and all others are problems.
func (g *env) oneSucceeds(answers []reply, success, refused int, code string) {
	g.t.Helper()
	succeeded := 0
	for _, r := range answers {
		if r.StatusCode == success {
			succeeded++
			continue
		}
		g.problem(r, refused, code)
	}
	if succeeded != 1 {
		g.t.Errorf("%d of %d requests succeeded", succeeded, len(answers))
	}
}
