package stack_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack"
)

// ask repeats a request until it is answered, because requests to a leader that fails are lost.
func ask(t *testing.T, what string, question func(context.Context) error) {
	t.Helper()
	eventually(t, what, func() bool {
		ctx, cancel := context.WithTimeout(testContext(t), 2*time.Second)
		defer cancel()
		return question(ctx) == nil
	})
}

// replicated returns a stream with replicas on all three servers. It creates the stream if it does not exist.
func replicated(t *testing.T, js jetstream.JetStream) (st jetstream.Stream) {
	t.Helper()
	ask(t, "a stream", func(ctx context.Context) (err error) {
		st, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "R3", Subjects: []string{"r3.>"}, Replicas: 3})
		return err
	})
	return st
}

func leaderOf(t *testing.T, st jetstream.Stream) (leader stack.Part) {
	t.Helper()
	ask(t, "a leader", func(ctx context.Context) error {
		info, err := st.Info(ctx)
		if err == nil {
			leader = stack.Part(info.Cluster.Leader)
		}
		return err
	})
	return leader
}

func publish(t *testing.T, js jetstream.JetStream, text string) {
	t.Helper()
	ask(t, "a stream that takes a message", func(ctx context.Context) error {
		_, err := js.Publish(ctx, "r3."+text, []byte(text), jetstream.WithMsgID(text))
		return err
	})
}

func holds(t *testing.T, st jetstream.Stream, texts ...string) {
	t.Helper()
	for i, text := range texts {
		ask(t, "message "+text, func(ctx context.Context) error {
			m, err := st.GetMsg(ctx, uint64(i+1))
			if err == nil && string(m.Data) != text {
				t.Errorf("message %d = %q; want %q", i+1, m.Data, text)
			}
			return err
		})
	}
}

func TestAClusterLosesNothingWithOneOfItsServers(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, stack.Options{Dir: dir, NATSNodes: 3})
	if parts := s.Parts(); !slices.Equal(parts, []stack.Part{stack.Node(0), stack.Node(1), stack.Node(2), stack.S3, stack.Postgres}) {
		t.Errorf("parts = %v", parts)
	}
	if len(strings.Split(s.NATSURL, ",")) != 3 || s.PID(stack.NATS) != 0 {
		t.Errorf("url = %s", s.NATSURL)
	}
	js := bus(t, s.Endpoints)
	st := replicated(t, js)
	publish(t, js, "one")
	lost := leaderOf(t, st)
	if err := s.Lose(testContext(t), lost); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, string(lost))); !os.IsNotExist(err) {
		t.Errorf("the store of a lost server: %v", err)
	}
	publish(t, js, "two")
	if now := leaderOf(t, st); now == lost {
		t.Errorf("%s leads and is lost", now)
	}
	if err := s.Restart(testContext(t), lost); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitNodes(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if leader, err := s.MetaLeader(testContext(t)); err != nil || !slices.Contains(s.Parts(), leader) {
		t.Errorf("the leader of all is %q, %v", leader, err)
	}
	holds(t, st, "one", "two")
	stop(t, s)
	if len(s.Exited()) > 0 {
		t.Errorf("what was asked for was reported as an end: %v", <-s.Exited())
	}

	again := start(t, stack.Options{Dir: dir, NATSNodes: 3})
	holds(t, replicated(t, bus(t, again.Endpoints)), "one", "two")
}

// A stack of which one server does not start must not leave the others running.
func TestAClusterOfWhichOneServerDoesNotStartLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, string(stack.Node(1))), nil, 0o600); err != nil { // not a folder: it cannot be a store
		t.Fatal(err)
	}
	_, err := stack.Start(testContext(t), stack.Options{Dir: dir, NATSNodes: 3, Log: zerolog.Nop(), Fast: true})
	if err == nil || !strings.Contains(err.Error(), "start nats") {
		t.Errorf("start: %v, want the failure of the server", err)
	}
	if left := workingIn(t, dir); len(left) > 0 {
		t.Errorf("processes left after a failed start: %v", left)
	}
}

func TestOnlyAPartOfTheStackCanBeLostSignalledOrRestarted(t *testing.T) {
	t.Parallel()
	s := start(t, stack.Options{Dir: newDir(t)})
	const stranger = stack.Part("mail")
	for what, err := range map[string]error{
		"signal": s.Signal(stranger, syscall.SIGKILL), "restart": s.Restart(testContext(t), stranger),
		"pause": s.PauseAll(stranger), "continue": s.ContinueAll(stranger),
	} {
		if err == nil || !strings.Contains(err.Error(), string(stranger)) {
			t.Errorf("%s: %v, want an error that names the part", what, err)
		}
	}
	for _, part := range []stack.Part{stack.NATS, stack.S3, stack.Node(0)} {
		if err := s.Lose(testContext(t), part); err == nil {
			t.Errorf("%s was lost", part)
		}
	}
	if _, err := s.MetaLeader(testContext(t)); err == nil {
		t.Error("a single server has a leader")
	}
	write(t, s.Endpoints, "one")
}
