package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
)

// servers is a NATS cluster without services, with a bus that is connected to each of its
// servers.
type servers struct {
	*stack.Stack
	ctx   context.Context //nolint:containedctx // the test's context, with a time limit
	buses []*bus.Bus
	js    jetstream.JetStream
}

func newServers(t *testing.T) servers {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s := servers{Stack: harnesstest.StartStack(ctx, t, nodes), ctx: ctx}
	for _, url := range strings.Split(s.NATSURL, ",") {
		cfg := bus.Config{Connection: bus.Connection{URL: config.Secret(url)}, Provision: true, Replicas: nodes, JobsMaxAge: time.Hour, JobsMaxBytes: 64 << 20, StagingMaxBytes: 64 << 20}
		b, err := bus.Open(cfg, "test", zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		s.buses = append(s.buses, b)
	}
	s.insist(t, func() error { return s.buses[0].Ensure(ctx, event.Jobs()) })
	nc, err := nats.Connect(s.NATSURL, nats.MaxReconnects(-1), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if s.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return s
}

func newJob(t *testing.T) string {
	t.Helper()
	job, err := event.NewJobID()
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// leader returns the server that is the leader of the job log's stream. It repeats the
// request, because requests are lost while the cluster elects a leader.
func (s servers) leader(t *testing.T) (leader stack.Part) {
	t.Helper()
	testkit.Eventually(t, func() error {
		ctx, cancel := context.WithTimeout(s.ctx, answersIn)
		defer cancel()
		stream, err := s.js.Stream(ctx, event.Jobs().Name)
		if err != nil {
			return err
		}
		if leader = stack.Part(stream.CachedInfo().Cluster.Leader); leader == "" {
			return errors.New("no leader")
		}
		return nil
	})
	return leader
}

// follower returns the index of a server that is not the leader of the job log's stream.
func (s servers) follower(t *testing.T) int {
	t.Helper()
	leader := s.leader(t)
	return slices.IndexFunc([]int{0, 1, 2}, func(i int) bool { return stack.Node(i) != leader })
}

// driver returns a JetStream client that is connected to one server.
func (s servers) driver(t *testing.T, server int) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(strings.Split(s.NATSURL, ",")[server], nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	// The timeout is for answers that are lost with the leader.
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(fillTakes))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// fillTakes is the time limit for the answer to a message that fill publishes.
const fillTakes = 30 * time.Second

// fill publishes messages to the job log's stream that belong to no job's log.
func fill(t *testing.T, js jetstream.JetStream, messages int) {
	t.Helper()
	var last jetstream.PubAckFuture
	for range messages {
		var err error
		last, err = js.PublishAsync(event.Subject(event.Uploading{JobID: newJob(t)}), []byte("{}"), jetstream.WithStallWait(patience))
		if err != nil {
			t.Fatal(err)
		}
	}
	select { // an error is ignored: it does not matter if a failed leader has lost messages
	case <-last.Ok():
	case <-last.Err():
	}
}

// pause pauses a server that takes part in direct gets of the stream of jobs. A new replica does so
// only after some time. So pause sends a direct get through another server: if the get times out, it
// was routed to the paused server. If not, pause resumes the server and tries again.
func (s servers) pause(t *testing.T, server int, other jetstream.JetStream) {
	t.Helper()
	for {
		s.signal(t, server, syscall.SIGSTOP)
		for range 10 {
			_, err := other.Conn().Request("$JS.API.DIRECT.GET."+event.Jobs().Name, []byte(`{"seq":1}`), 200*time.Millisecond)
			if errors.Is(err, nats.ErrTimeout) {
				return
			}
			if err != nil || s.ctx.Err() != nil {
				t.Fatal(err)
			}
		}
		s.signal(t, server, syscall.SIGCONT)
		<-time.After(200 * time.Millisecond)
	}
}

func (s servers) signal(t *testing.T, server int, sig syscall.Signal) {
	t.Helper()
	if err := s.Signal(stack.Node(server), sig); err != nil {
		t.Fatal(err)
	}
}

// A replica that lags behind still answers direct gets. The log must have its newest event even then.
func TestALogHoldsWhatWasTakenWhicheverServerAnswers(t *testing.T) {
	t.Parallel()
	s := newServers(t)
	lagging := s.follower(t)
	other := (lagging + 1) % nodes
	b, js, job := s.buses[other], s.driver(t, other), newJob(t)
	var seq uint64
	s.insist(t, func() (err error) {
		seq, err = joblog.New(b).Append(s.ctx, event.Received{JobID: job, TokenID: 1}, 0)
		return err
	})
	for attempt := 1; attempt <= 5; attempt++ {
		s.pause(t, lagging, js)
		fill(t, js, 10_000)
		e := event.Attempted{JobID: job, Attempt: attempt}
		s.insist(t, func() (err error) {
			seq, err = joblog.New(b).Append(s.ctx, e, seq)
			return err
		})
		s.signal(t, lagging, syscall.SIGCONT)
		for range 5 {
			s.holdsNewest(t, b, e, seq)
		}
	}
}

// holdsNewest checks that every method that may read from a lagging replica still finds the newest event of the log.
func (s servers) holdsNewest(t *testing.T, b *bus.Bus, e event.Attempted, seq uint64) {
	t.Helper()
	s.insist(t, func() error {
		log, err := joblog.New(b).Read(s.ctx, e.JobID)
		if err == nil && (log.Seq() != seq || len(log) != 2) {
			t.Errorf("after %d the log is %+v", seq, log)
		}
		return err
	})
	s.insist(t, func() error {
		seen := 0
		_, err := joblog.New(b).Update(s.ctx, e.JobID, nil, func(log event.Log) (event.Event, error) {
			seen = log.Attempt()
			return nil, nil
		})
		if err == nil && seen != e.Attempt {
			t.Errorf("it is decided on attempt %d of %d", seen, e.Attempt)
		}
		return err
	})
	s.insist(t, func() error {
		again, err := joblog.New(b).Append(s.ctx, e, 0)
		if err == nil && again != seq {
			t.Errorf("what was taken as %d is found as %d", seq, again)
		}
		return err
	})
}

// insist calls the function try until it succeeds. An error other than fault.Unavailable fails the test.
// Leaders may fail without a kill, too, if the machine is busy.
func (s servers) insist(t *testing.T, try func() error) {
	t.Helper()
	for {
		err := try()
		if err == nil {
			return
		}
		if !fault.Is(err, fault.Unavailable) || s.ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// The stream is created while one server is down, or after that server has returned. In
// both cases the returned server becomes a replica of it.
func TestAStreamThatHasTooFewServersIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newServers(t)
	away := stack.Node(s.follower(t))
	if err := s.Signal(away, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Exited()
	b := s.buses[0]
	if stack.Node(0) == away {
		b = s.buses[1]
	}
	for range 3 { // before and after the other servers have noticed that the server is down
		began := time.Now()
		if err := b.Ensure(s.ctx, event.Dead()); err != nil && !fault.Is(err, fault.Unavailable) {
			t.Errorf("with two servers of three: %v", err)
		}
		if took := time.Since(began); took > ensureTakes {
			t.Errorf("with two servers of three it is not known for %v whether a stream is there", took)
		}
	}
	if err := s.Restart(s.ctx, away); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitNodes(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.insist(t, func() error { return b.Ensure(s.ctx, event.Dead()) })
}

// ensureTakes is the time limit for Ensure, to succeed or to return Unavailable, while a server is
// down. It is generous, because other tests run on the machine at the same time.
const ensureTakes = 30 * time.Second

// Writers on every server race to end each job while a leader is killed. They repeat
// requests that were not answered.
func TestOfManyWritersOneEndsAJobWhileLeadersFall(t *testing.T) {
	t.Parallel()
	const jobs = 150
	s := newServers(t)
	var ids []string
	for range jobs {
		job := newJob(t)
		s.insist(t, func() error {
			_, err := joblog.New(s.buses[0]).Append(s.ctx, event.Received{JobID: job, TokenID: 1}, 0)
			return err
		})
		ids = append(ids, job)
	}
	var mu sync.Mutex
	winners := map[string][]string{}
	var wg sync.WaitGroup
	for i, b := range s.buses {
		for _, writer := range []string{"a", "b"} {
			code := fmt.Sprintf("%s%d", writer, i)
			wg.Go(func() {
				for _, job := range ids {
					if s.endsJob(t, b, job, code) {
						mu.Lock()
						winners[job] = append(winners[job], code)
						mu.Unlock()
					}
				}
			})
		}
	}
	leader := s.leader(t)
	if err := s.Signal(leader, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Exited()
	if err := s.Restart(s.ctx, leader); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	histories, err := invariants.Checker{Bus: s.buses[0]}.Histories(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range ids {
		if len(histories[job]) != 2 || len(winners[job]) != 1 || histories[job].Check() != nil {
			t.Errorf("job %s: %v, won by %v", job, histories[job], winners[job])
		}
	}
}

// endsJob ends a job with a code unless another writer has ended it, and reports whether
// the job has ended with the code. It repeats the request until it is answered.
func (s servers) endsJob(t *testing.T, b *bus.Bus, job, code string) bool {
	t.Helper()
	for {
		log, err := joblog.New(b).Update(s.ctx, job, nil, func(log event.Log) (event.Event, error) {
			if _, ended := log.Terminal(); ended {
				return nil, nil
			}
			return event.Failed{JobID: job, Code: code}, nil
		})
		if err == nil {
			failed, _ := event.Last[event.Failed](log)
			return failed.Code == code
		}
		if !fault.Is(err, fault.Unavailable) || s.ctx.Err() != nil {
			t.Errorf("job %s: %v", job, err)
			return false
		}
	}
}
