// Package testkit connects tests to real servers and isolates each test on them: with a namespace
// on NATS, a database on Postgres, a bucket on S3.
//
// `go run ./infra/local test` starts the servers and passes their addresses in the environment. A
// test without these addresses fails; nothing is skipped.
package testkit

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/objectstore"
)

// Environment variables with the addresses of the dependencies. The user of the database must have
// the permission to create databases.
const (
	EnvNATS      = "SORI_TEST_NATS_URL"
	EnvDatabase  = "SORI_TEST_DATABASE_URL"
	EnvPooler    = "SORI_TEST_POOLER" // optional: host:port of a pooler between the services and the database
	EnvS3        = "SORI_TEST_S3_ENDPOINT"
	EnvS3Access  = "SORI_TEST_S3_ACCESS_KEY"
	EnvS3Secret  = "SORI_TEST_S3_SECRET_KEY"
	adviceToTest = "is not set: run the tests with `go run ./infra/local test`"
)

// waitLimit limits every wait of a test. It is long, so that tests do not fail on a busy machine,
// but it still ends a test that hangs.
const waitLimit = 2 * time.Minute

// Kit is the environment of one test: its own namespace, database and bucket.
type Kit struct {
	t    testing.TB
	name string // unique, only a-z and 0-9
	vars map[string]string

	database string // URL of the database, without a pooler

	output *output
}

// New makes the environment of a test and removes it when the test ends. The parts of the
// environment are created when they are first used.
func New(t testing.TB) *Kit {
	t.Helper()
	var id [6]byte
	_, _ = rand.Read(id[:])
	k := &Kit{t: t, name: "t" + hex.EncodeToString(id[:]), output: &output{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the services logged:\n%s", k.Logged())
		}
	})
	k.vars = map[string]string{
		"NATS_URL": need(t, EnvNATS), "NATS_NAMESPACE": k.name,
		"JOBS_MAX_BYTES": "67108864", "STAGING_MAX_BYTES": "268435456",
		// Results are not cached: tests upload the same recording again and again, and count its
		// analyses.
		"RESULT_CACHE_TTL": "0", "RESULT_CACHE_BYTES": "16777216",
		"AWS_ACCESS_KEY_ID": need(t, EnvS3Access), "AWS_SECRET_ACCESS_KEY": need(t, EnvS3Secret),
		"S3_ENDPOINT": need(t, EnvS3), "S3_BUCKET_NAME": k.name,
		"WEBHOOK_SECRET": "test-secret-of-enough-length-0123", "PRINCIPAL_SECRET": "test-secret-of-enough-length-0123", "LOG_LEVEL": "debug", "LOG_FORMAT": "json",
		"HTTP_ADDR": "127.0.0.1:0", "ADMIN_ADDR": "127.0.0.1:0",
	}
	t.Cleanup(k.dropStreams)
	return k
}

func need(t testing.TB, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s %s", name, adviceToTest)
	}
	return v
}

// T returns the test that the kit belongs to.
func (k *Kit) T() testing.TB { return k.t }

// Context returns a context that ends with the test, or after the time limit of all waits.
func (k *Kit) Context() context.Context {
	ctx, cancel := context.WithTimeout(k.t.Context(), waitLimit)
	k.t.Cleanup(cancel)
	return ctx
}

// Settings returns the settings of a service in this environment; changes replace or add settings.
func (k *Kit) Settings(changes map[string]string) map[string]string {
	vars := maps.Clone(k.vars)
	maps.Copy(vars, changes)
	return vars
}

// Load reads the settings of this environment into cfg.
func (k *Kit) Load(cfg any) {
	k.t.Helper()
	if err := config.Load(config.Map(k.vars), cfg); err != nil {
		k.t.Fatal(err)
	}
}

// Log returns a logger whose lines are shown if the test fails.
func (k *Kit) Log() zerolog.Logger { return zerolog.New(k.output).With().Timestamp().Logger() }

// Bus opens a bus in the namespace of the test, under the name of a service, and ensures the
// streams.
func (k *Kit) Bus(service string, streams ...event.Stream) *bus.Bus {
	k.t.Helper()
	var cfg bus.Config
	k.Load(&cfg)
	b, err := bus.Open(cfg, service, k.Log())
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = b.Close() })
	if err := b.Ensure(k.Context(), streams...); err != nil {
		k.t.Fatal(err)
	}
	return b
}

// dialNATS connects to NATS. The library's limit of two seconds is too short for a busy machine.
func (k *Kit) dialNATS() (*nats.Conn, error) {
	return nats.Connect(k.vars["NATS_URL"], nats.Timeout(waitLimit))
}

// JetStream returns a JetStream client of the NATS library, for tests that need more than package
// bus. The caller must add the namespace (Namespace) to names and subjects.
func (k *Kit) JetStream() jetstream.JetStream {
	k.t.Helper()
	nc, err := k.dialNATS()
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		k.t.Fatal(err)
	}
	return js
}

// Namespace returns the namespace of the test.
func (k *Kit) Namespace() event.Namespace { return event.Namespace(k.name) }

func (k *Kit) dropStreams() {
	nc, err := k.dialNATS()
	if err != nil {
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit) // the test's context has ended
	defer cancel()
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if strings.HasPrefix(name, k.name+"_") {
			_ = js.DeleteStream(ctx, name)
		}
	}
}

// Bucket creates the bucket of the test and returns a client for it.
func (k *Kit) Bucket() (*minio.Client, string) {
	k.t.Helper()
	var cfg objectstore.Config
	k.Load(&cfg)
	client, err := objectstore.Open(cfg)
	if err != nil {
		k.t.Fatal(err)
	}
	if err := objectstore.EnsureBucket(k.Context(), client, cfg.Bucket, cfg.Region); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { emptyBucket(client, cfg.Bucket) })
	return client, cfg.Bucket
}

func emptyBucket(client *minio.Client, bucket string) {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit) // the test's context has ended
	defer cancel()
	for o := range client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
		_ = client.RemoveObject(ctx, bucket, o.Key, minio.RemoveObjectOptions{})
	}
	_ = client.RemoveBucket(ctx, bucket)
}

// Instance is a service that runs in the process of the test.
type Instance struct {
	URL   string // http://host:port
	admin func() string
	stop  func() error
}

// Admin returns the URL of the service's metrics. It fails the test if the service does not serve
// them.
func (i *Instance) Admin(t testing.TB) string {
	t.Helper()
	url := i.admin()
	if url == "" {
		t.Fatal("the service does not serve its metrics")
	}
	return url
}

// Stop stops the service as SIGTERM does, and waits until it has ended.
func (i *Instance) Stop() error { return i.stop() }

// Run starts a service in this environment, with changes to its settings, and returns when the
// service listens. The service is stopped when the test ends, and must stop without an error.
func (k *Kit) Run(run func(context.Context, lifecycle.Process) error, changes map[string]string) *Instance {
	k.t.Helper()
	ctx, cancel := context.WithCancel(context.Background()) // the test's own context ends before its cleanups
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	admin := make(chan string, 1)
	go func() {
		ended <- run(ctx, lifecycle.Process{
			Lookup: config.Map(k.Settings(changes)), Stderr: k.output,
			Listening: func(a net.Addr) { listening <- a }, AdminListening: func(a net.Addr) { admin <- "http://" + a.String() },
		})
	}()
	var err error
	stopped := make(chan struct{})
	go func() { err = <-ended; close(stopped) }()
	stop := func() error { cancel(); <-stopped; return err }
	k.t.Cleanup(func() {
		if err := stop(); err != nil {
			k.t.Errorf("the service ended with: %v", err)
		}
	})
	select {
	case addr := <-listening:
		return &Instance{URL: "http://" + addr.String(), stop: stop, admin: sync.OnceValue(func() string {
			select {
			case url := <-admin:
				return url
			case <-time.After(waitLimit):
				return ""
			}
		})}
	case <-stopped:
		k.t.Fatalf("the service did not start: %v", err)
	case <-time.After(waitLimit):
		k.t.Fatal("the service does not listen")
	}
	return nil
}

// output stores the log of the services, which is shown if the test fails. Unlike the test's own
// log, it may be written to after the end of the test.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// Logged returns what the services of this environment have logged so far.
func (k *Kit) Logged() string {
	k.output.mu.Lock()
	defer k.output.mu.Unlock()
	return k.output.buf.String()
}

// Eventually calls check repeatedly until it returns nil. If it never does, Eventually fails the
// test with the last error. It is for states of other processes that send no signal.
func Eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.After(waitLimit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v: %v", waitLimit, err)
		}
	}
}
