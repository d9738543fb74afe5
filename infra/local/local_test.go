package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	analyzerapp "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/command"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/parts"
	"sori.internal/shared/testkit"
)

// asLocal contains arguments. If it is set, the test binary runs the command local with them.
const asLocal = "SORI_TEST_LOCAL_ARGS"

func TestMain(m *testing.M) {
	for _, runChild := range []func() (bool, int){parts.RunChild, analyzerapp.RunChild} {
		if ran, code := runChild(); ran {
			os.Exit(code)
		}
	}
	if args, ok := os.LookupEnv(asLocal); ok {
		os.Args = append(os.Args[:1], strings.Fields(args)...)
		main()
	}
	os.Exit(m.Run())
}

// running is a started command.
type running struct {
	cmd    *exec.Cmd
	dir    string
	screen string // the file with its stdout
	ended  chan error
}

// folder creates a state folder that PostgreSQL's user can reach.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sori-local-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// newCommand returns the command local, which runs in this test binary. It uses the
// reference analysis server, regardless of the environment of the tests.
func newCommand(t *testing.T, dir, args string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	// The console is not built, because that takes long and other tests check it.
	cmd.Env = append(os.Environ(), asLocal+"="+args+" -dir "+dir, consoleSetting+"="+filepath.Join(dir, "no-console"), targetSetting+"=")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

func start(t *testing.T, dir, args string, env ...string) *running {
	t.Helper()
	r := &running{cmd: newCommand(t, dir, args, env...), dir: dir, screen: filepath.Join(t.TempDir(), "screen"), ended: make(chan error, 1)}
	screen, err := os.Create(r.screen)
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	r.cmd.Stdout, r.cmd.Stderr = screen, os.Stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.ended <- r.cmd.Wait() }()
	t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	testkit.Eventually(t, func() error {
		_, err := os.Stat(filepath.Join(dir, command.File))
		return err
	})
	return r
}

func (r *running) endpoints(t *testing.T) command.Endpoints {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(r.dir, command.File))
	if err != nil {
		t.Fatal(err)
	}
	var e command.Endpoints
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// interrupt sends SIGINT, and checks that the command exits with 0 and removes its endpoints file.
func (r *running) interrupt(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(time.Minute): // longer than all grace periods of the command
		t.Fatal("it does not end")
	}
	if _, err := os.Stat(filepath.Join(r.dir, command.File)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", command.File, err)
	}
}

func upload(t *testing.T, gateway string) string {
	t.Helper()
	job, err := (&client.Client{Base: gateway}).Upload(t.Context(), 1, loadgen.NewRecording(100*time.Millisecond).Form())
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func completed(t *testing.T, gateway, job string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		j, err := (&client.Client{Base: gateway}).Job(t.Context(), job, 0)
		if err == nil && j.Status != client.Completed {
			err = fmt.Errorf("job %s is %s", job, j.Status)
		}
		return err
	})
}

func TestASecondStartFindsWhatTheFirstLeft(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	first := start(t, dir, "-port 0")
	job := upload(t, first.endpoints(t).Gateway)
	completed(t, first.endpoints(t).Gateway, job)
	gateway := first.endpoints(t).Gateway
	first.interrupt(t)
	screen, err := os.ReadFile(first.screen)
	if err != nil || bytes.Count(screen, []byte("\n")) > 30 || !bytes.Contains(screen, []byte("Requests are not authenticated")) || !bytes.Contains(screen, []byte(gateway+"/tokens/1/upload-audio")) {
		t.Errorf("the screen is %s, %v", screen, err)
	}
	second := start(t, dir, "-port 0")
	completed(t, second.endpoints(t).Gateway, job)
	completed(t, second.endpoints(t).Gateway, upload(t, second.endpoints(t).Gateway))
	second.interrupt(t)
}

// A killed run loses the analyses that its server had accepted.
func TestAnAnalysisThatAKilledRunHasLostIsRepeated(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	first := start(t, dir, "-port 0", "BEHAVIOUR_DELAY=1h")
	e := first.endpoints(t)
	job := upload(t, e.Gateway)
	nc, err := nats.Connect(e.NATSAdmin)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, func() error { // wait until the dispatcher has stored that the status URL has answered
		answered, err := js.KeyValue(t.Context(), "ANALYSIS_STATUS")
		if err != nil {
			return err
		}
		_, err = answered.Keys(t.Context())
		return err
	})
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.ended
	if err := os.Remove(filepath.Join(dir, command.File)); err != nil {
		t.Fatal(err)
	}
	second := start(t, dir, "-port 0")
	completed(t, second.endpoints(t).Gateway, job)
	second.interrupt(t)
}

func TestAFrontendOfThisMachineMayUseTheGatewayAndTheBucket(t *testing.T) {
	t.Parallel()
	r := start(t, folder(t), "-port 0")
	e := r.endpoints(t)
	asked := func(method, url string, origin string) http.Header {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", "PUT")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.Header
	}
	bucket := e.S3 + "/" + e.S3Bucket + "/audio/x"
	for origin, want := range map[string]bool{
		"http://localhost:3000": true, "http://127.0.0.1:5173": true, "http://[::1]:8080": true, "http://localhost": true,
		"https://localhost:3000": false, "http://localhost.evil.net:3000": false, "null": false,
	} {
		for _, url := range []string{e.Gateway + "/tokens/", bucket} {
			if got := asked("OPTIONS", url, origin).Get("Access-Control-Allow-Origin"); got != map[bool]string{true: origin}[want] {
				t.Errorf("%s: %s may write as %q", url, origin, got)
			}
		}
	}
	r.interrupt(t)
}

func TestTwoRunSideBySide(t *testing.T) {
	t.Parallel()
	one, two := start(t, folder(t), ""), start(t, folder(t), "")
	a, b := one.endpoints(t), two.endpoints(t)
	job := upload(t, a.Gateway)
	completed(t, a.Gateway, job)
	resp, err := http.Get(b.Gateway + "/tokens/analysis-result/" + job)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the other one knows the job: %s", resp.Status)
	}
	one.interrupt(t)
	completed(t, b.Gateway, upload(t, b.Gateway))
	two.interrupt(t)
}

func TestDepsTellTheServicesTheirSettings(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	deps := start(t, dir, "deps")
	for _, name := range []string{"gateway", "uploader", "dispatcher", "tracker"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".env"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); !ok || name == "" || value == "" {
				t.Errorf("%s.env has the line %q", name, line)
			}
		}
		if !strings.Contains(string(text), "HTTP_ADDR=127.0.0.1:") || !strings.Contains(string(text), "NATS_URL=") {
			t.Errorf("%s.env is %s", name, text)
		}
	}
	deps.interrupt(t)
}

func TestAFailingTestsExitCodeIsPassedOn(t *testing.T) {
	t.Parallel()
	err := exec.CommandContext(t.Context(), "sh", "-c", "exit 3").Run()
	if got := exitCode(fmt.Errorf("wrapped: %w", err)); got != 3 {
		t.Errorf("exit code %d", got)
	}
	if exitCode(nil) != 0 || exitCode(errors.New("broken")) != 1 {
		t.Error("no failure and any other failure")
	}
}

func TestWhatEndedItIsSaidInOneLine(t *testing.T) {
	t.Parallel()
	running, interrupted := t.Context(), func() context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("interrupt signal received"))
		return ctx
	}()
	for want, c := range map[string]struct {
		ctx context.Context
		err error
	}{
		"": {running, nil},
		"sori: stopped: interrupt signal received":                             {interrupted, nil},
		"sori: nats ended: exit status 2; postgres ended: exit status 1":       {running, errors.Join(errors.New("nats ended: exit status 2"), errors.New("postgres ended: exit status 1"))},
		"sori: stopped: interrupt signal received; go test: signal: interrupt": {interrupted, errors.New("go test: signal: interrupt")},
	} {
		if got := ending(c.ctx, c.err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAWrongSettingEndsTheRunnerWithASentence(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"TARGET_SERVER_URL=analysis.example": "TARGET_SERVER_URL must be an absolute http or https URL",
		"BEHAVIOUR_DELAY=soon":               "analyzer: ",
	} {
		said, err := newCommand(t, folder(t), "-port 0", setting).CombinedOutput()
		last := said[bytes.LastIndexByte(bytes.TrimSpace(said), '\n')+1:]
		if err == nil || !bytes.HasPrefix(last, []byte("sori: ")) || !bytes.Contains(last, []byte(want)) {
			t.Errorf("with %s: %v, it said %s", setting, err, said)
		}
	}
}

func TestAnAnalysisServerOfTheCallersTakesThePlaceOfTheReferenceServer(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.FormValue("webhook_url")
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	dir := folder(t)
	r := start(t, dir, "-port 0", targetSetting+"="+server.URL+"/analyze")
	e := r.endpoints(t)
	if e.Analyzer != server.URL+"/analyze" {
		t.Errorf("the analysis server is told as %s", e.Analyzer)
	}
	job := upload(t, e.Gateway)
	callback, err := http.Post(<-asked, "application/json", strings.NewReader(`{"analysis_results":{"mine":true}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer callback.Body.Close()
	completed(t, e.Gateway, job)
	r.interrupt(t)
	screen, err := os.ReadFile(r.screen)
	if err != nil || !bytes.Contains(screen, []byte("the analysis server of "+targetSetting)) {
		t.Errorf("the screen is %s, %v", screen, err)
	}
}

func TestWhatIsUnknownIsRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"sing"}, {"-port", "x"}, {"deps", "extra"}, {"-port", "70000"}, {"tail", "-dir", "/nonexistent"}} {
		if err := run(context.Background(), args); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}
