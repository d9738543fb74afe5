package httpd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/fault"
	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/metrics"
)

func newMux(log io.Writer) *httpd.Mux {
	m := httpd.NewMux(httpd.Info{Name: "sori-test", Version: "v1", Links: map[string]string{"health": "/health"}},
		health.New(nil, zerolog.Nop()), metrics.New(), zerolog.New(log))
	m.Handle("GET /things/{id}", func(w http.ResponseWriter, r *http.Request) error {
		return httpd.JSON(w, 200, r.PathValue("id"))
	})
	m.Handle("GET /broken", func(http.ResponseWriter, *http.Request) error { return errors.New("password=hunter2") })
	m.Handle("GET /panic", func(http.ResponseWriter, *http.Request) error { panic("password=hunter2") })
	m.Handle("POST /echo", func(w http.ResponseWriter, r *http.Request) error {
		body, err := httpd.Body(w, r, 4)
		if err != nil {
			return err
		}
		return httpd.JSON(w, 200, string(body))
	})
	return m
}

func get(m http.Handler, method, path, body string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	m.ServeHTTP(rec, httptest.NewRequest(method, path, strings.NewReader(body)))
	return rec
}

func TestEveryPathAnswersWithAndWithoutATrailingSlash(t *testing.T) {
	t.Parallel()
	m := newMux(io.Discard)
	for path, want := range map[string]int{
		"/": 200, "/things/7": 200, "/things/7/": 200, "/livez": 200, "/health": 200, "/readyz": 503,
		"/nothing": 404, "/things/7/8": 404,
	} {
		rec := get(m, "GET", path, "")
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
		if rec.Header().Get(httpd.RequestIDHeader) == "" {
			t.Errorf("%s: no request id", path)
		}
		if want == 404 && rec.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s", path, rec.Header().Get("Content-Type"))
		}
	}
}

func TestAFailureIsAProblemAndItsCauseStaysInTheLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	m := newMux(&log)
	for _, path := range []string{"/broken", "/panic"} {
		rec := get(m, "GET", path, "")
		var p struct{ Code, Detail string }
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code != 500 || p.Code != "internal" || p.Detail == "" {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
		if strings.Contains(rec.Body.String(), "hunter2") {
			t.Errorf("%s shows its cause: %s", path, rec.Body)
		}
	}
	if !strings.Contains(log.String(), "hunter2") {
		t.Error("the causes are not in the log")
	}
}

func TestABodyPastItsLimitIsRefused(t *testing.T) {
	t.Parallel()
	m := newMux(io.Discard)
	if rec := get(m, "POST", "/echo", "1234"); rec.Code != 200 {
		t.Errorf("at the limit: %d", rec.Code)
	}
	rec := get(m, "POST", "/echo", "12345")
	if rec.Code != 413 || !strings.Contains(rec.Body.String(), `"max_bytes":4`) {
		t.Errorf("past it: %d %s", rec.Code, rec.Body)
	}
}

func TestOnlyAPlainRequestIDIsKept(t *testing.T) {
	t.Parallel()
	if got := httpd.RequestID("abc-1.2_Z"); got != "abc-1.2_Z" {
		t.Error(got)
	}
	for _, bad := range []string{"", "a b", "a\r\nSet-Cookie: x", "한", strings.Repeat("a", 65)} {
		if got := httpd.RequestID(bad); got == bad || len(got) != 36 {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func TestAStoppedServerFinishesWhatIsOpen(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	addr := make(chan net.Addr, 1)
	s := &httpd.Server{
		Addr: "127.0.0.1:0", Grace: 10 * time.Second, Listening: func(a net.Addr) { addr <- a }, Log: zerolog.Nop(),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-release
			_, _ = io.WriteString(w, "done")
		}),
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	url := "http://" + (<-addr).String()
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get(url)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-begun
	stop()
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("answer %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestReportGivesEachKindItsLevel(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		var out bytes.Buffer
		log := zerolog.New(&out)
		httpd.Report(&log, fault.New(k, "c", "d"))
		want := `"level":"debug"`
		if k == fault.Internal {
			want = `"level":"error"`
		} else if k.Retryable() {
			want = `"level":"warn"`
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: %s", k, out.String())
		}
	}
}
