package testkit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/lifecycle"
	"sori.internal/shared/testkit"
)

// recorder records the errors that a check reports, and runs the check's cleanups.
type recorder struct {
	testing.TB
	complaints []string
	cleanups   []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Failed() bool     { return len(r.complaints) > 0 }
func (r *recorder) Logf(format string, args ...any) {
	r.complaints = append(r.complaints, "log: "+fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.complaints = append(r.complaints, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatal(args ...any) {
	r.complaints = append(r.complaints, fmt.Sprint(args...))
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Fatal(fmt.Sprintf(format, args...))
}

// complaintsOf runs a test, with its cleanups, and returns everything that it reports.
func complaintsOf(t *testing.T, test func(*recorder)) string {
	t.Helper()
	r, ended := &recorder{TB: t}, make(chan struct{})
	go func() { // Fatal ends the goroutine
		defer close(ended)
		test(r)
	}()
	<-ended
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
	return strings.Join(r.complaints, "\n")
}

func TestAServiceThatDoesNotStartFailsTheTestWithItsReasonAndItsLog(t *testing.T) {
	t.Parallel()
	got := complaintsOf(t, func(r *recorder) {
		testkit.New(r).Run(func(_ context.Context, p lifecycle.Process) error {
			fmt.Fprintln(p.Stderr, "looked for the port")
			return errors.New("the port is taken")
		}, nil)
		r.Errorf("Run has returned")
	})
	for _, want := range []string{"the service did not start: the port is taken", "the services logged:\nlooked for the port"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if strings.Contains(got, "Run has returned") {
		t.Error("the test goes on without the service")
	}
}

func TestAComponentThatFailsFailsTheTest(t *testing.T) {
	t.Parallel()
	got := complaintsOf(t, func(r *recorder) {
		testkit.New(r).Start(func(context.Context) error { return errors.New("out of memory") })
	})
	if !strings.Contains(got, "the component ended with out of memory") {
		t.Errorf("%q", got)
	}
}

func TestAMissingREADMEFailsTheTest(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "README.md")
	if got := complaintsOf(t, func(r *recorder) { testkit.CheckSettings(r, missing, &settings{}) }); !strings.Contains(got, missing) {
		t.Errorf("%q", got)
	}
}

// With settings that are only half read, the test would check something else than it says.
func TestSettingsThatCannotBeReadFailTheTest(t *testing.T) {
	t.Parallel()
	got := complaintsOf(t, func(r *recorder) {
		var cfg struct {
			Bytes int `env:"NATS_URL"`
		}
		testkit.New(r).Load(&cfg)
	})
	if !strings.Contains(got, "NATS_URL") {
		t.Errorf("%q", got)
	}
}

func TestATestWithoutServersSaysHowToRunIt(t *testing.T) { //nolint:paralleltest // it sets a variable of the whole process
	t.Setenv(testkit.EnvNATS, "")
	got := complaintsOf(t, func(r *recorder) { testkit.New(r) })
	if !strings.Contains(got, testkit.EnvNATS) || !strings.Contains(got, "go run ./infra/local test") {
		t.Errorf("%q", got)
	}
}

type settings struct {
	Addr   string        `env:"HTTP_ADDR" envDefault:":8000"`
	Grace  time.Duration `env:"GRACE" envDefault:"20s"`
	Secret string        `env:"SECRET,required"`
	Prefix string        `env:"PREFIX"`
}

const table = "# x\n\n| setting | default | meaning |\n|---|---|---|\n| `HTTP_ADDR` | `:8000` | where |\n| `GRACE` | `20s` | how long |\n| `SECRET` | required | it |\n| `PREFIX` |  | of what |\n"

func TestASettingsTableMustSayWhatTheCodeDoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		readme string
		want   []string // texts that the errors must contain
	}{
		"as it is":         {table, nil},
		"a missing row":    {strings.Replace(table, "| `GRACE` | `20s` | how long |\n", "", 1), []string{"GRACE is missing"}},
		"another default":  {strings.Replace(table, "20s", "15s", 1), []string{"GRACE has the default"}},
		"no backticks":     {strings.Replace(table, "`20s`", "20s", 1), []string{"GRACE has the default"}},
		"not required":     {strings.Replace(table, "required", "", 1), []string{"SECRET has the default"}},
		"required after":   {strings.Replace(table, "| `PREFIX` |  |", "| `PREFIX` | required |", 1), []string{"PREFIX has the default"}},
		"an unknown name":  {table + "| `OLD_NAME` | `1` | gone |\n", []string{"OLD_NAME is no setting"}},
		"no table":         {"# x\n", []string{"HTTP_ADDR is missing", "GRACE is missing", "SECRET is missing", "PREFIX is missing"}},
		"others around it": {"| what | happens |\n|---|---|\n| `a thing` | it |\n\n" + table, nil},
	} {
		file := filepath.Join(t.TempDir(), "README.md")
		if err := os.WriteFile(file, []byte(c.readme), 0o600); err != nil {
			t.Fatal(err)
		}
		r := &recorder{TB: t}
		testkit.CheckSettings(r, file, &settings{})
		if len(r.complaints) != len(c.want) {
			t.Errorf("%s: %q", name, r.complaints)
		}
		for _, want := range c.want {
			if !slices.ContainsFunc(r.complaints, func(s string) bool { return strings.Contains(s, want) }) {
				t.Errorf("%s: %q lacks %q", name, r.complaints, want)
			}
		}
	}
}

func TestAProxyPassesHoldsAndCuts(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	}))
	t.Cleanup(server.Close)
	proxy := testkit.New(t).Proxy(server.URL)
	send := func() (string, error) {
		resp, err := http.Post(proxy.URL, "text/plain", strings.NewReader(strings.Repeat("x", 1<<20)))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	passes := func() {
		t.Helper()
		if got, err := send(); err != nil || got != "1048576" {
			t.Errorf("%q %v", got, err)
		}
	}
	passes()
	proxy.Cut()
	if got, err := send(); err == nil {
		t.Errorf("through a cut: %q", got)
	}
	proxy.Restore()
	passes()
	held, done := proxy.Hold(1000), make(chan error, 1)
	go func() {
		_, err := send()
		done <- err
	}()
	<-held
	select {
	case err := <-done:
		t.Errorf("while it holds: %v", err)
	default:
	}
	proxy.Restore()
	if err := <-done; err != nil {
		t.Error(err)
	}
	held = proxy.Hold(1000)
	go func() {
		_, err := send()
		done <- err
	}()
	<-held
	proxy.Cut()
	if err := <-done; err == nil {
		t.Error("a request outlives the cut")
	}
}

func TestEveryCornerIsItsOwn(t *testing.T) {
	t.Parallel()
	a, b := testkit.New(t), testkit.New(t)
	if a.Namespace() == b.Namespace() || a.Settings(nil)["S3_BUCKET_NAME"] == b.Settings(nil)["S3_BUCKET_NAME"] {
		t.Error("two tests share a corner")
	}
	if first := a.Database(); first == b.Database() || first != a.Database() {
		t.Error("two tests share a database, or one has two")
	}
	if changed := a.Settings(map[string]string{"LOG_LEVEL": "warn"}); changed["LOG_LEVEL"] != "warn" || a.Settings(nil)["LOG_LEVEL"] != "debug" {
		t.Error("a change stays")
	}
	if _, _, err := net.SplitHostPort(a.Settings(nil)["HTTP_ADDR"]); err != nil {
		t.Error(err)
	}
}
