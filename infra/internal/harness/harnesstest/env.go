// Package harnesstest starts Sori for a test: in the test's process (Env), as processes on the
// dependencies of the test kit (StartProcesses), or as processes with a separate stack of
// dependencies (StartSystem).
package harnesstest

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack/proc"
	dispatcher "sori.internal/services/dispatcher/app"
	gateway "sori.internal/services/gateway/app"
	tracker "sori.internal/services/tracker/app"
	uploader "sori.internal/services/uploader/app"
	"sori.internal/shared/testkit"
)

// Env is a complete installation in the test's process: the four services and the reference analysis
// server, on the dependencies of the test kit.
type Env struct {
	*testkit.Kit
	Gateway    string // base URLs
	Tracker    string
	Dispatcher string
	Metrics    string // base URL of the gateway's metrics
	Analyzer   *analyzer.Server
	Token      int64 // the id of a token, which Start has created

	// Client checks the gateway's responses against the OpenAPI document.
	Client *http.Client
	API    *client.Client // sends requests through Client
}

// Options are the settings of an Env that differ from the defaults.
type Options struct {
	Settings   map[string]string // settings of all services
	Dispatcher map[string]string // settings of the dispatcher, in addition to Settings
	Behaviour  analyzer.Behaviour
	Credential string // credential of the requests of Env.API, if Settings enable authentication
	Poll       bool   // the dispatcher has the URL of the analysis server's status route

	// Front, if set, is a middleware around the analysis server's handler: the
	// dispatcher sends its requests to the handler that Front returns.
	Front func(http.Handler) http.Handler

	// Pooler, if set, is called with the URL of the database, and returns the URL of a
	// connection pooler, with which the services connect.
	Pooler func(database string) string
}

// Start starts the services and the analysis server and creates a token. All stop at the end of the test.
func Start(t *testing.T, o Options) *Env {
	t.Helper()
	k := testkit.New(t)
	database := k.Database()
	if o.Pooler != nil {
		o.Settings = k.Settings(o.Settings)
		o.Settings["DATABASE_URL"] = o.Pooler(database)
	}
	k.Bucket()
	administrator := k.Settings(o.Settings)
	if o.Pooler != nil || os.Getenv(testkit.EnvPooler) != "" { // a pooler accepts only the users that its test has configured
		delete(administrator, "DATABASE_URL")
	}
	accounts, err := harness.Provision(k.Context(), administrator)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkPermissions(t, k) })
	as := accounts.Settings
	w := &Env{Kit: k, Analyzer: startAnalyzer(t, k, o.Behaviour)}
	w.Tracker = k.Run(tracker.Run, as(k.Settings(o.Settings), harness.Tracker)).URL
	settings, target := k.Settings(o.Settings), w.Analyzer.URL()
	maps.Copy(settings, o.Dispatcher)
	if o.Front != nil {
		target = front(t, o.Front, target)
	}
	settings["TARGET_SERVER_URL"] = target + "/analyze"
	if o.Poll {
		settings["ANALYSIS_STATUS_URL"] = target + "/status/{analysis_job_id}"
	}
	// WEBHOOK_URL contains the dispatcher's address, so the port is chosen before the start.
	addr := freeAddr(t)
	settings["HTTP_ADDR"], settings["WEBHOOK_URL"] = addr, "http://"+addr+"/tokens/webhook/analysis-complete"
	w.Dispatcher = k.Run(dispatcher.Run, as(settings, harness.Dispatcher)).URL
	stores := k.Run(uploader.Run, as(k.Settings(o.Settings), harness.Uploader)).URL
	settings = k.Settings(o.Settings)
	settings["TRACKER_URL"], settings["DISPATCHER_URL"], settings["UPLOADER_URL"] = w.Tracker, w.Dispatcher, stores
	running := k.Run(gateway.Run, as(settings, harness.Gateway))
	w.Gateway, w.Metrics = running.URL+strings.TrimSuffix(settings["BASE_PATH"], "/"), running.Admin(t)
	w.awaitReady(t)
	w.Client = w.contractClient(t)
	w.API = &client.Client{Base: w.Gateway, HTTP: w.Client, Credential: o.Credential}
	w.Token = w.NewToken(t)
	return w
}

// checkPermissions fails the test if the server has denied a service a subject, or if a service
// would have to change what was provisioned.
func checkPermissions(t *testing.T, k *testkit.Kit) {
	t.Helper()
	for line := range strings.Lines(k.Logged()) {
		if strings.Contains(strings.ToLower(line), "permissions violation") {
			t.Errorf("NATS denied: %s", line)
		}
		if strings.Contains(line, "run sorictl provision") {
			t.Errorf("not as the service needs it: %s", line)
		}
	}
}

// front starts a proxy for the server at a URL and returns the proxy's URL. The parameter before is a middleware of the proxy.
func front(t *testing.T, before func(http.Handler) http.Handler, server string) string {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(before(httputil.NewSingleHostReverseProxy(to)))
	t.Cleanup(s.Close)
	return s.URL
}

// freeAddr returns a loopback address whose port no other test gets and no outgoing connection uses.
func freeAddr(t *testing.T) string {
	t.Helper()
	ports, err := proc.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return proc.Address(ports[0])
}

func startAnalyzer(t *testing.T, k *testkit.Kit, b analyzer.Behaviour) *analyzer.Server {
	t.Helper()
	vars := k.Settings(nil)
	cfg := analyzer.Default()
	cfg.Worker = os.Getenv(proc.ProgramVariable) // the workers run in the program of the local runner
	cfg.HTTPAddr, cfg.Behaviour, cfg.ShutdownTimeout = "127.0.0.1:0", b, 5*time.Second
	cfg.S3Endpoint, cfg.AccessKey = vars["S3_ENDPOINT"], vars["AWS_ACCESS_KEY_ID"]
	cfg.SecretKey = analyzer.Secret(vars["AWS_SECRET_ACCESS_KEY"])
	cfg.MaxAudioBytes = 5 << 30 // the same limit as in harness.Environment
	s, err := analyzer.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // the test's context ends before its cleanups run
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the analyzer ended with: %v", err)
		}
	})
	<-s.Ready()
	return s
}

func (w *Env) awaitReady(t *testing.T) {
	t.Helper()
	for _, url := range []string{w.Tracker, w.Dispatcher, w.Gateway} {
		if err := harness.WaitReady(w.Context(), url); err != nil {
			t.Fatal(err)
		}
	}
}

// NewToken creates a token.
func (w *Env) NewToken(t *testing.T) int64 {
	t.Helper()
	id, err := w.API.CreateToken(w.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return id
}
