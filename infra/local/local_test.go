package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

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
	case <-time.After(time.Minute): // longer than all of its grace periods
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
	if err != nil || bytes.Count(screen, []byte("\n")) > 30 || !bytes.Contains(screen, []byte("Nobody signs in")) || !bytes.Contains(screen, []byte(gateway+"/tokens/1/upload-audio")) {
		t.Errorf("the screen is %s, %v", screen, err)
	}
	second := start(t, dir, "-port 0")
	completed(t, second.endpoints(t).Gateway, job)
	completed(t, second.endpoints(t).Gateway, upload(t, second.endpoints(t).Gateway))
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

// answer sends a request with an API key, or without one, and returns the status and the body of the answer.
func answer(t *testing.T, method, url, key, contentType string, body io.Reader) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

func TestWithAuthOnlyUsersAreAnswered(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	r := start(t, dir, "-auth -port 0")
	gateway := r.endpoints(t).Gateway
	key := func(user string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, user+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	// The key of jun is made as the README says.
	status, made := answer(t, http.MethodPost, gateway+"/api-keys/", key("admin"), "application/json",
		strings.NewReader(`{"name": "laptop", "owner": "jun", "scopes": ["jobs:read", "jobs:write", "catalogue:read"]}`))
	var jun struct{ Key string }
	if err := json.Unmarshal([]byte(made), &jun); err != nil || status != http.StatusCreated {
		t.Fatalf("make a key: %d %s", status, made)
	}
	send := func(key string) (int, string) {
		t.Helper()
		form := loadgen.NewRecording(100 * time.Millisecond).Form()
		return answer(t, http.MethodPost, gateway+"/tokens/1/upload-audio", key, form.ContentType, form.Body)
	}
	if status, text := send(""); status != http.StatusUnauthorized {
		t.Errorf("an upload of nobody: %d %s", status, text)
	}
	status, text := send(key("mina"))
	var accepted client.Job
	if err := json.Unmarshal([]byte(text), &accepted); err != nil || status != http.StatusAccepted {
		t.Fatalf("an upload of mina: %d %s", status, text)
	}
	testkit.Eventually(t, func() error {
		job, err := (&client.Client{Base: gateway, Credential: key("mina")}).Job(t.Context(), accepted.JobID, 0)
		if err == nil && job.Status != client.Completed {
			err = fmt.Errorf("the job is %s", job.Status)
		}
		return err
	})
	for who, c := range map[string]struct {
		key  string
		want int
	}{
		"nobody": {"", http.StatusUnauthorized}, "mina": {key("mina"), http.StatusOK},
		"jun": {jun.Key, http.StatusNotFound}, "admin": {key("admin"), http.StatusOK},
	} {
		if status, text := answer(t, http.MethodGet, gateway+"/tokens/analysis-result/"+accepted.JobID, c.key, "", nil); status != c.want {
			t.Errorf("%s reads the job: %d %s", who, status, text)
		}
	}
	checkAuthScreen(t, r, key("mina"))
	mina := key("mina")
	r.interrupt(t)

	// The next start keeps the keys and the passwords.
	again := start(t, dir, "-auth -port 0")
	if key("mina") != mina {
		t.Error("the key of mina has changed")
	}
	if status, text := answer(t, http.MethodGet, again.endpoints(t).Gateway+"/jobs/", mina, "", nil); status != http.StatusOK || !strings.Contains(text, accepted.JobID) {
		t.Errorf("after a restart: %d %s", status, text)
	}
	again.interrupt(t)
}

// checkAuthScreen checks that the screen names the users, their passwords and a command with the key of
// mina, and that the provider of the screen answers.
func checkAuthScreen(t *testing.T, r *running, key string) {
	t.Helper()
	shown, err := os.ReadFile(r.screen)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"mina", "jun", "admin"} {
		password, err := os.ReadFile(filepath.Join(r.dir, user+".password"))
		if err != nil {
			t.Fatal(err)
		}
		if line := regexp.MustCompile(`(?m)^  ` + user + ` +password (\S+)`).FindSubmatch(shown); line == nil || string(line[1]) != strings.TrimSpace(string(password)) {
			t.Errorf("the screen does not name the password of %s: %s", user, shown)
		}
	}
	if bytes.Contains(shown, []byte(key)) || !bytes.Contains(shown, []byte(`-H "Authorization: Bearer $(cat `+filepath.Join(r.dir, "mina.key")+`)"`)) {
		t.Errorf("the screen is %s", shown)
	}
	status, text := answer(t, http.MethodGet, r.endpoints(t).Gateway+"/console/config.json", "", "", nil)
	var config struct{ OIDC struct{ Issuer string } }
	if err := json.Unmarshal([]byte(text), &config); err != nil || status != http.StatusOK || !bytes.Contains(shown, []byte(config.OIDC.Issuer)) {
		t.Fatalf("the console is told %d %s", status, text)
	}
	if status, text := answer(t, http.MethodGet, config.OIDC.Issuer+"/.well-known/openid-configuration", "", "", nil); status != http.StatusOK {
		t.Errorf("the provider: %d %s", status, text)
	}
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
