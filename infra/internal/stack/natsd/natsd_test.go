package natsd_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/loopback"
	"sori.internal/infra/internal/stack/natsd"
	"sori.internal/infra/internal/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, opts natsd.Options) *natsd.Server {
	t.Helper()
	opts.Log = zerolog.Nop()
	srv, err := natsd.Start(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Stop(context.WithoutCancel(t.Context())) })
	return srv
}

func connect(t *testing.T, srv *natsd.Server) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func TestMessagesSurviveARestartOnTheSamePort(t *testing.T) {
	t.Parallel()
	opts := natsd.Options{Dir: t.TempDir()}
	first := start(t, opts)
	_, js := connect(t, first)
	// More room than a machine has: the limit is no reservation.
	if _, err := js.CreateStream(testContext(t), jetstream.StreamConfig{
		Name: "S", Subjects: []string{"s.>"}, MaxBytes: 200 << 30,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(testContext(t), "s.1", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	<-first.Done()
	opts.Port = loopback.Port{Fixed: first.Port()}
	_, js = connect(t, start(t, opts))
	st, err := js.Stream(testContext(t), "S")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := st.GetMsg(testContext(t), 1); err != nil || string(m.Data) != "kept" {
		t.Errorf("message = %v, %v", m, err)
	}
}

func TestThePayloadLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int32{0, 4 << 20} {
		nc, _ := connect(t, start(t, natsd.Options{Dir: t.TempDir(), MaxPayload: limit}))
		want := int64(limit)
		if limit == 0 {
			want = 1 << 20
		}
		if nc.MaxPayload() != want {
			t.Errorf("limit = %d, want %d", nc.MaxPayload(), want)
		}
	}
}

func TestATakenPortIsRefused(t *testing.T) {
	t.Parallel()
	srv := start(t, natsd.Options{Dir: t.TempDir()})
	_, err := natsd.Start(testContext(t), natsd.Options{
		Dir: t.TempDir(), Port: loopback.Port{Fixed: srv.Port()}, Log: zerolog.Nop(),
	})
	if !errors.Is(err, loopback.ErrTaken) {
		t.Errorf("start on a taken port: %v, want %v", err, loopback.ErrTaken)
	}
}

func TestAStoreThatCannotOpenFailsTheStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := natsd.Start(testContext(t), natsd.Options{Dir: file, Log: zerolog.Nop()}); err == nil {
		t.Error("started with a file for a store")
	}
}
