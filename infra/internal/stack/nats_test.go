package stack_test

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

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
)

func startNATS(t *testing.T, port proc.Port, set stack.NATSSettings) *stack.NATSServer {
	t.Helper()
	srv, err := stack.StartNATS(testContext(t), port, set, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Stop(context.WithoutCancel(t.Context())) })
	return srv
}

func connect(t *testing.T, srv *stack.NATSServer) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(srv.URL(), nats.Timeout(time.Minute))
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
	set := stack.NATSSettings{Dir: t.TempDir()}
	first := startNATS(t, proc.Port{}, set)
	_, js := connect(t, first)
	// MaxBytes may be larger than the disk, because it reserves no space on it.
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
	_, js = connect(t, startNATS(t, proc.Port{Fixed: first.Port()}, set))
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
		nc, _ := connect(t, startNATS(t, proc.Port{}, stack.NATSSettings{Dir: t.TempDir(), MaxPayload: limit}))
		want := int64(limit)
		if limit == 0 {
			want = 1 << 20
		}
		if nc.MaxPayload() != want {
			t.Errorf("limit = %d, want %d", nc.MaxPayload(), want)
		}
	}
}

func TestATakenPortIsRefusedByNATS(t *testing.T) {
	t.Parallel()
	srv := startNATS(t, proc.Port{}, stack.NATSSettings{Dir: t.TempDir()})
	_, err := stack.StartNATS(testContext(t), proc.Port{Fixed: srv.Port()}, stack.NATSSettings{Dir: t.TempDir()}, zerolog.Nop())
	if !errors.Is(err, proc.ErrPortTaken) {
		t.Errorf("start on a taken port: %v, want %v", err, proc.ErrPortTaken)
	}
}

func TestAStoreThatCannotOpenFailsTheStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := stack.StartNATS(testContext(t), proc.Port{}, stack.NATSSettings{Dir: file}, zerolog.Nop()); err == nil {
		t.Error("started with a file for a store")
	}
}
