package bus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

func consumer(name string, handle func(context.Context, bus.Delivery) error) bus.Consumer {
	return bus.Consumer{
		Name: name, Filters: []string{event.Filter(event.NameReceived)}, Concurrency: 4,
		AckWait: 2 * time.Second, Grace: 10 * time.Second, Handle: handle,
	}
}

func TestEveryKindHasItsVerdict(t *testing.T) {
	t.Parallel()
	want := map[fault.Kind]bus.Verdict{
		fault.Internal: bus.Retry, fault.Exhausted: bus.Retry, fault.Unavailable: bus.Retry, fault.Conflict: bus.Retry,
		fault.Invalid: bus.Reject, fault.Unauthenticated: bus.Reject, fault.Forbidden: bus.Reject,
		fault.NotFound: bus.Reject, fault.Gone: bus.Reject, fault.TooLarge: bus.Reject, fault.Unsupported: bus.Reject,
		fault.Malformed: bus.Reject, fault.MethodNotAllowed: bus.Reject, fault.PreconditionFailed: bus.Reject,
		fault.HeaderTooLarge: bus.Reject, fault.Misdirected: bus.Reject, fault.ChecksumMismatch: bus.Reject, fault.RateLimited: bus.Retry, fault.RequestTimeout: bus.Reject,
	}
	for _, k := range fault.Kinds() {
		verdict, listed := want[k]
		if got := bus.VerdictOn(fault.New(k, "c", "d"), 1); got != verdict || !listed {
			t.Errorf("%s: %s", k, got)
		}
	}
	if bus.VerdictOn(nil, 1) != bus.Ack {
		t.Error("no error is no ack")
	}
	if bus.VerdictOn(errors.New("a defect"), 10) != bus.Reject {
		t.Error("a defect is retried for ever")
	}
	if bus.VerdictOn(fault.Unreachable("database", nil), 1000) != bus.Retry {
		t.Error("an unavailable dependency makes a dead letter")
	}
}

func TestDelaysGrowToAMinuteAndSpreadOut(t *testing.T) {
	t.Parallel()
	for n := range uint64(100) {
		low, high := time.Hour, time.Duration(0)
		for range 200 {
			d := bus.Delay(n)
			low, high = min(low, d), max(high, d)
		}
		if low < 125*time.Millisecond || high > time.Minute {
			t.Errorf("try %d: %v to %v", n, low, high)
		}
		if n > 12 && (low < 30*time.Second || high-low < 5*time.Second) {
			t.Errorf("try %d: %v to %v", n, low, high)
		}
	}
}

func TestAnEventIsHandledAgainAfterAFailureAndThenNotAnyMore(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	job := k.Receive(b)
	tries := make(chan uint64, 10)
	k.Start(func(ctx context.Context) error {
		return b.Consume(ctx, consumer("c", func(_ context.Context, d bus.Delivery) error {
			tries <- d.Attempt
			switch {
			case d.Job != job || d.Event != (event.Received{JobID: job}):
				t.Errorf("delivery %+v", d)
			case d.Attempt == 1:
				return fault.Unreachable("storage", nil)
			case d.Attempt == 2:
				panic("a defect")
			}
			return nil
		}))
	})
	for want := uint64(1); want <= 3; want++ {
		if got := <-tries; got != want {
			t.Errorf("try %d, want %d", got, want)
		}
	}
	k.Settled("c")
	if len(tries) != 0 {
		t.Errorf("%d further tries", len(tries))
	}
}

func TestAHandlerKnowsWhenItsEventIsRedelivered(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]time.Duration{"by the backoff": 0, "by the fault": 1500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, b := open(t)
			k.Receive(b)
			due, late := make(chan time.Time, 1), make(chan time.Duration, 10)
			k.Start(func(ctx context.Context) error {
				return b.Consume(ctx, consumer("c", func(_ context.Context, d bus.Delivery) error {
					if d.Attempt > 1 {
						late <- time.Since(<-due)
					}
					if d.Attempt == 4 {
						return nil
					}
					if d.Backoff <= 0 || d.Backoff > 2*time.Second {
						t.Errorf("delivery %d has the backoff %v", d.Attempt, d.Backoff)
					}
					due <- time.Now().Add(max(d.Backoff, after))
					return &fault.Error{Kind: fault.Unavailable, RetryAfter: after}
				}))
			})
			for range 3 {
				if by := <-late; by < -20*time.Millisecond || by > 5*time.Second {
					t.Errorf("it came %v after it was due", by)
				}
			}
		})
	}
}

func TestAFailureThatIsLoggedAlreadyIsLoggedAtDebug(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	k.Receive(b)
	k.Start(func(ctx context.Context) error {
		return b.Consume(ctx, consumer("silent", func(_ context.Context, d bus.Delivery) error {
			if d.Attempt == 1 {
				return &fault.Error{Kind: fault.Unavailable, Code: "resting", Logged: true}
			}
			return nil
		}))
	})
	k.Settled("silent")
	if logged := k.Logged(); strings.Contains(logged, `"level":"warn"`) || !strings.Contains(logged, "resting") {
		t.Error(logged)
	}
}

func TestAMessageThatNoRetryCanProcessBecomesADeadLetterWithItsReason(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	js := k.JetStream()
	unreadable := k.NewJob()
	_, err := js.PublishMsg(k.Context(), &nats.Msg{
		Subject: k.Namespace().Subject(event.SubjectOf(unreadable, event.NameReceived)), Data: []byte("\xff{"),
		Header: nats.Header{"traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
	})
	must(t, err)
	refused := k.Receive(b)
	var mu sync.Mutex
	rejected := map[string]string{}
	k.Start(func(ctx context.Context) error {
		c := consumer("rejecting", func(context.Context, bus.Delivery) error {
			return fault.Wrap(fault.Invalid, "data-refused", "The data cannot be stored.", errors.New("password=hunter2"))
		})
		c.OnDeadLetter = func(_ context.Context, d bus.Delivery, f *fault.Error) error {
			mu.Lock()
			defer mu.Unlock()
			if rejected[d.Job] == "" { // the first call for a job fails, so that its message is redelivered
				rejected[d.Job] = "once"
				return fault.Unreachable("message bus", nil)
			}
			rejected[d.Job] = f.Code
			return nil
		}
		return b.Consume(ctx, c)
	})
	k.Settled("rejecting")
	mu.Lock()
	defer mu.Unlock()
	if rejected[unreadable] != "unreadable-event" || rejected[refused] != "data-refused" {
		t.Errorf("rejected %v", rejected)
	}
	dead, err := js.Stream(k.Context(), k.Namespace().Stream("AUDIO_DEAD"))
	must(t, err)
	info, err := dead.Info(k.Context())
	must(t, err)
	if info.State.Msgs != 2 {
		t.Fatalf("%d dead letters", info.State.Msgs)
	}
	codes := []string{}
	for seq := range uint64(2) {
		m, err := dead.GetMsg(k.Context(), seq+1)
		must(t, err)
		codes = append(codes, m.Header.Get("Sori-Code"))
		if m.Header.Get("Sori-Reason") == "" || m.Header.Get("Sori-Sequence") == "" ||
			!strings.HasPrefix(m.Header.Get("Sori-Subject"), "audio.jobs.") || len(m.Header["traceparent"]) != 1 {
			t.Errorf("headers %v", m.Header)
		}
		for _, v := range m.Header {
			if strings.Contains(strings.Join(v, ""), "hunter2") {
				t.Error("a dead letter shows its cause")
			}
		}
	}
	slices.Sort(codes)
	if !slices.Equal(codes, []string{"data-refused", "unreadable-event"}) {
		t.Errorf("codes %v", codes)
	}
}

func TestAnEventWhoseHandlerOutlastsTheAckWaitIsNotRedelivered(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	k.Receive(b)
	handled := make(chan uint64, 10)
	release := time.After(5 * time.Second) // longer than twice the AckWait of the consumer
	k.Start(func(ctx context.Context) error {
		return b.Consume(ctx, consumer("slow", func(_ context.Context, d bus.Delivery) error {
			handled <- d.Attempt
			<-release
			return nil
		}))
	})
	k.Settled("slow")
	if n := len(handled); n != 1 {
		t.Errorf("handled %d times", n)
	}
}

func TestAStopFinishesRunningHandlersAndAnotherReplicaTakesTheRest(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	const jobs = 30
	for range jobs {
		k.Receive(b)
	}
	var mu sync.Mutex
	done := map[string]int{}
	begun, release := make(chan struct{}, jobs), make(chan struct{})
	handle := func(ctx context.Context, d bus.Delivery) error {
		begun <- struct{}{}
		<-release
		if err := ctx.Err(); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		done[d.Job]++
		return nil
	}
	stop := k.Start(func(ctx context.Context) error { return b.Consume(ctx, consumer("replicas", handle)) })
	<-begun
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	stop()
	mu.Lock()
	finished := len(done)
	mu.Unlock()
	if finished == 0 || finished == jobs {
		t.Errorf("the stopped replica finished %d of %d", finished, jobs)
	}
	k.Start(func(ctx context.Context) error { return b.Consume(ctx, consumer("replicas", handle)) })
	k.Settled("replicas")
	mu.Lock()
	defer mu.Unlock()
	if len(done) != jobs {
		t.Errorf("%d of %d handled", len(done), jobs)
	}
	for job, n := range done {
		if n != 1 {
			t.Errorf("%s handled %d times", job, n)
		}
	}
}

func TestALostConsumerIsMadeAgainAndReplays(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	first := k.Receive(b)
	seen := make(chan string, 10)
	k.Start(func(ctx context.Context) error {
		return b.Consume(ctx, consumer("lost", func(_ context.Context, d bus.Delivery) error {
			seen <- d.Job
			return nil
		}))
	})
	if got := <-seen; got != first {
		t.Errorf("seen %s", got)
	}
	k.Settled("lost")
	must(t, k.JetStream().DeleteConsumer(k.Context(), k.Namespace().Stream("AUDIO_JOBS"), "lost"))
	if got := <-seen; got != first {
		t.Errorf("after the loss %s", got)
	}
	second := k.Receive(b)
	if got := <-seen; got != second {
		t.Errorf("then %s", got)
	}
}

func TestAConsumerContinuesAsSoonAsItReconnects(t *testing.T) {
	t.Parallel()
	k, direct := open(t)
	var cfg bus.Config
	k.Load(&cfg)
	proxy := k.Proxy(cfg.URL.Reveal())
	cfg.URL = config.Secret(proxy.URL)
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	seen := make(chan string, 10)
	k.Start(func(ctx context.Context) error {
		return b.Consume(ctx, consumer("returns", func(_ context.Context, d bus.Delivery) error {
			seen <- d.Job
			return nil
		}))
	})
	first := k.Receive(direct)
	if got := <-seen; got != first {
		t.Errorf("seen %s", got)
	}
	k.Settled("returns") // waits for the ack of the first event; without it the event would be delivered again
	proxy.Cut()
	second := k.Receive(direct)
	proxy.Restore()
	select {
	case got := <-seen:
		if got != second {
			t.Errorf("then %s", got)
		}
	case <-time.After(8 * time.Second): // shorter than the ten seconds after which the client library reports missing heartbeats
		t.Error("the consumer waits for missed heartbeats")
	}
}

func TestAHandlerOfOneTypeOfEventTakesNoOther(t *testing.T) {
	t.Parallel()
	var taken []string
	handle := bus.On(func(_ context.Context, e event.Stored, d bus.Delivery) error {
		taken = append(taken, e.JobID+d.Job)
		return nil
	})
	if err := handle(t.Context(), bus.Delivery{Event: event.Stored{JobID: "a"}, Job: "b"}); err != nil {
		t.Error(err)
	}
	err := handle(t.Context(), bus.Delivery{Event: event.Received{JobID: "c"}})
	if f := fault.As(err); f == nil || f.Code != "unexpected-event" || bus.VerdictOn(err, 1) != bus.Reject {
		t.Errorf("an event of another type: %v", err)
	}
	if !slices.Equal(taken, []string{"ab"}) {
		t.Errorf("taken: %v", taken)
	}
}

func TestTheStateOfAConsumerIsWhatItHasSettled(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	if _, found, err := b.ConsumerState(k.Context(), "c"); found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	hold := make(chan struct{})
	k.Start(func(ctx context.Context) error {
		return b.Consume(ctx, consumer("c", func(_ context.Context, d bus.Delivery) error {
			if d.Seq > 1 {
				<-hold
			}
			return nil
		}))
	})
	t.Cleanup(func() { close(hold) })
	k.Receive(b)
	k.Settled("c")
	k.Receive(b)
	testkit.Eventually(t, func() error {
		s, found, err := b.ConsumerState(k.Context(), "c")
		if err == nil && (!found || s != (bus.ConsumerState{AckFloor: 1, AckPending: 1})) {
			err = errors.New("not yet")
		}
		return err
	})
	info, err := b.Stream(event.Jobs()).Info(k.Context())
	if err != nil || info.FirstSeq != 1 || info.LastSeq != 2 || info.Messages != 2 || time.Since(info.FirstTime).Abs() > time.Minute {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestAConsumerThatDoesNotExistHasSettledEverything(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	if done, err := b.Settled(k.Context(), "nobody", 7); err != nil || !done {
		t.Errorf("%v %v", done, err)
	}
}
