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

	"sori.internal/infra/internal/stack"
)

// oneTry bounds what a cluster without a leader never answers.
const oneTry = 3 * time.Second

// replicated makes a stream on all three servers, or finds it. It tries until they
// have a leader.
func replicated(t *testing.T, js jetstream.JetStream) (st jetstream.Stream) {
	t.Helper()
	eventually(t, "a leader", func() (made bool) {
		ctx, cancel := context.WithTimeout(testContext(t), oneTry)
		defer cancel()
		var err error
		st, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "R3", Subjects: []string{"r3.>"}, Replicas: 3})
		return err == nil
	})

	return st
}

func leaderOf(t *testing.T, st jetstream.Stream) stack.Part {
	t.Helper()
	info, err := st.Info(testContext(t))
	if err != nil {
		t.Fatal(err)
	}

	return stack.Part(info.Cluster.Leader)
}

// publish tries until the stream has a leader that takes a message.
func publish(t *testing.T, js jetstream.JetStream, text string) {
	t.Helper()
	eventually(t, "a leader", func() bool {
		ctx, cancel := context.WithTimeout(testContext(t), oneTry)
		defer cancel()
		_, err := js.Publish(ctx, "r3."+text, []byte(text), jetstream.WithMsgID(text))
		return err == nil
	})
}

func holds(t *testing.T, st jetstream.Stream, texts ...string) {
	t.Helper()
	for i, text := range texts {
		m, err := st.GetMsg(testContext(t), uint64(i+1))
		if err != nil || string(m.Data) != text {
			t.Errorf("message %d = %v, %v; want %q", i+1, m, err, text)
		}
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
	killed := leaderOf(t, st)
	if err := s.Signal(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-s.Exited(); !strings.HasPrefix(err.Error(), string(killed)+" ended") {
		t.Error(err)
	}
	publish(t, js, "two")
	if now := leaderOf(t, st); now == killed {
		t.Errorf("%s leads and is dead", now)
	}
	restart(t, s, killed)
	lost, err := s.MetaLeader(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Lose(testContext(t), lost); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, string(lost))); !os.IsNotExist(err) {
		t.Errorf("the store of a lost server: %v", err)
	}
	publish(t, js, "three")
	restart(t, s, lost)
	holds(t, st, "one", "two", "three")
	stop(t, s)
	if len(s.Exited()) > 0 {
		t.Errorf("what was asked for was reported as an end: %v", <-s.Exited())
	}

	again := start(t, stack.Options{Dir: dir, NATSNodes: 3})
	holds(t, replicated(t, bus(t, again.Endpoints)), "one", "two", "three")
}

// restart brings a server of a cluster back, up to date.
func restart(t *testing.T, s *stack.Stack, part stack.Part) {
	t.Helper()
	if err := s.Restart(testContext(t), part); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitNodes(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyAServerOfAClusterCanBeLost(t *testing.T) {
	t.Parallel()
	s := start(t, stack.Options{Dir: newDir(t)})
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
