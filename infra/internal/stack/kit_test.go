package stack_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack"
)

// patience is the time limit for a step. It is much longer than any step takes.
const patience = time.Minute

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// newDir returns a temporary folder that other users can traverse, unlike that of t.TempDir.
func newDir(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "stack-") //nolint:usetesting // PostgreSQL's user must be able to traverse it
	if err == nil {
		err = os.Chmod(root, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "state")
	t.Cleanup(func() {
		if err := errors.Join(stack.Remove(dir), os.RemoveAll(root)); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func start(t *testing.T, opts stack.Options) *stack.Stack {
	t.Helper()
	opts.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	opts.Fast = true
	begun := time.Now()
	s, err := stack.Start(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready in %v", time.Since(begun).Round(time.Millisecond))
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *stack.Stack) {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	t.Logf("stopped in %v", time.Since(begun).Round(time.Millisecond))
}

func database(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func bucket(t *testing.T, e stack.Endpoints) *minio.Client {
	t.Helper()
	u, err := url.Parse(e.S3Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(e.S3AccessKey, e.S3SecretKey, ""), Region: e.S3Region,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bus(t *testing.T, e stack.Endpoints) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(e.NATSURL, nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// write writes the text as a row, an object and a message.
func write(t *testing.T, e stack.Endpoints, text string) {
	t.Helper()
	ctx := testContext(t)
	if _, err := database(t, e.DatabaseURL).ExecContext(ctx,
		"CREATE TABLE IF NOT EXISTS kept (value text)"); err != nil {
		t.Fatal(err)
	}
	if _, err := database(t, e.DatabaseURL).ExecContext(ctx, "INSERT INTO kept VALUES ($1)", text); err != nil {
		t.Fatal(err)
	}
	c := bucket(t, e)
	if ok, err := c.BucketExists(ctx, "kept"); err != nil {
		t.Fatal(err)
	} else if !ok {
		if err := c.MakeBucket(ctx, "kept", minio.MakeBucketOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.PutObject(ctx, "kept", "a/"+text, strings.NewReader(text), int64(len(text)),
		minio.PutObjectOptions{ContentType: "audio/wav"}); err != nil {
		t.Fatal(err)
	}
	js := bus(t, e)
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "kept."+text, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// read checks that the row, the object and the message that write has written exist.
func read(t *testing.T, e stack.Endpoints, text string) {
	t.Helper()
	ctx := testContext(t)
	var n int
	if err := database(t, e.DatabaseURL).QueryRowContext(ctx,
		"SELECT count(*) FROM kept WHERE value = $1", text).Scan(&n); err != nil || n != 1 {
		t.Errorf("rows = %d, %v; want 1", n, err)
	}
	o, err := bucket(t, e).GetObject(ctx, "kept", "a/"+text, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	body, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(body, []byte(text)) {
		t.Errorf("object = %q, %v; want %q", body, err, text)
	}
	if info, err := o.Stat(); err != nil || info.ContentType != "audio/wav" {
		t.Errorf("content type = %q, %v; want audio/wav", info.ContentType, err)
	}
	st, err := bus(t, e).Stream(ctx, "KEPT")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := st.GetLastMsgForSubject(ctx, "kept."+text); err != nil || string(m.Data) != text {
		t.Errorf("message = %v, %v; want %q", m, err, text)
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx := testContext(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// workingIn lists the processes whose working directory is below a folder.
func workingIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Skip("no /proc to look into") // not Linux
	}
	var found []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err == nil && strings.HasPrefix(cwd, dir) {
			found = append(found, e.Name()+" in "+cwd)
		}
	}
	return found
}
