package deadletter_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"sori.internal/shared/bus"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
	"sori.internal/shared/trace"
)

const traceID = "0af7651916cd43dd8448eb211c80319c"

// inTrace returns a context in the trace with the id traceID.
func inTrace(k *testkit.Kit) context.Context {
	return trace.Continue(k.Context(), "00-"+traceID+"-b7ad6b7169203331-01")
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.As(err).Code
}

func TestAReplayHandlesAnEventAgainAsTheLogHoldsIt(t *testing.T) {
	t.Parallel()
	k, b, dead := open(t)
	accept, given, traces := rejecting(t, k, b, "rejecting")
	job := k.NewJob()
	seq, err := joblog.New(b).Append(inTrace(k), event.Received{JobID: job, TokenID: 7}, 0)
	must(t, err)
	k.Settled("rejecting")
	log, err := joblog.New(b).Read(k.Context(), job)
	must(t, err)
	letters, err := dead.List(k.Context(), "")
	must(t, err)
	if len(letters) != 1 {
		t.Fatalf("letters %+v", letters)
	}
	l := letters[0]
	if l.Consumer != "rejecting" || l.Job != job || l.EventSeq != seq || l.Code != "data-refused" || l.Reason == "" || l.Deliveries != 1 ||
		l.Trace != traceID || l.Subject != event.SubjectOf(job, event.NameReceived) || time.Since(l.At).Abs() > time.Minute || len(l.Body) != 0 {
		t.Errorf("letter %+v", l)
	}
	full, err := dead.Get(k.Context(), l.Seq)
	must(t, err)
	if len(full.Body) == 0 || full.EventSeq != seq {
		t.Errorf("letter with its body %+v", full)
	}
	accept()
	must(t, b.Replay(k.Context(), l.Consumer, l.EventSeq))
	d := <-given
	if d.Event != (event.Received{JobID: job, TokenID: 7}) || d.Job != job || d.Seq != seq || !d.Time.Equal(log[0].Time) || d.Backoff != 0 {
		t.Errorf("given %+v, the log has %+v", d, log[0])
	}
	if id := <-traces; id != traceID {
		t.Errorf("replayed in the trace %s", id)
	}
	after, err := b.Stream(event.Jobs()).Info(k.Context())
	must(t, err)
	if after.LastSeq != seq || after.Messages != 1 {
		t.Errorf("the log has grown: %+v", after)
	}
}

func TestAReplayThatFailsReturnsTheErrorAndSettlesNothing(t *testing.T) {
	t.Parallel()
	k, b, dead := open(t)
	rejections := make(chan string, 10)
	answers := make(chan error, 10)
	k.Start(func(ctx context.Context) error {
		c := consumer("rejecting", func(context.Context, bus.Delivery) error { return <-answers })
		c.OnDeadLetter = func(_ context.Context, d bus.Delivery, _ *fault.Error) error { rejections <- d.Job; return nil }
		return b.Consume(ctx, c)
	})
	answers <- fault.New(fault.Invalid, "data-refused", "")
	job := k.Receive(b)
	k.Settled("rejecting")
	<-rejections
	for _, kind := range fault.Kinds() {
		answers <- fault.Wrap(kind, "still-refused", "It cannot be stored.", errors.New("hunter2"))
		f := fault.As(b.Replay(k.Context(), "rejecting", 1))
		if f == nil || f.Kind != kind || f.Code != "still-refused" || f.Detail != "It cannot be stored." || f.Err != nil {
			t.Errorf("%s came as %+v", kind, f)
		}
	}
	answers <- errors.New("a defect")
	if f := fault.As(b.Replay(k.Context(), "rejecting", 1)); f.Kind != fault.Internal || f.Code != "internal" {
		t.Errorf("a defect came as %+v", f)
	}
	letters, err := dead.List(k.Context(), "rejecting")
	if err != nil || len(letters) != 1 || len(rejections) != 0 || len(answers) != 0 {
		t.Errorf("letters %+v, %v; rejected again %d times", letters, err, len(rejections))
	}
	if names := k.EventNames(b, job); len(names) != 1 {
		t.Errorf("names %v", names)
	}
}

func TestAReplayOfWhatDoesNotExistFails(t *testing.T) {
	t.Parallel()
	k, b, _ := open(t)
	rejecting(t, k, b, "rejecting")
	_, err := k.JetStream().PublishMsg(k.Context(), &nats.Msg{
		Subject: k.Namespace().Subject(event.SubjectOf(k.NewJob(), event.NameReceived)), Data: []byte("\xff{"),
	})
	must(t, err)
	k.Settled("rejecting")
	for _, c := range []struct {
		consumer string
		seq      uint64
		want     string
	}{{"rejecting", 1, "unreadable-event"}, {"rejecting", 9, "event-gone"}, {"rejecting", 0, "sequence-invalid"}, {"nobody", 1, "consumer-away"}} {
		if err := b.Replay(k.Context(), c.consumer, c.seq); codeOf(err) != c.want {
			t.Errorf("%d to %s: %v", c.seq, c.consumer, err)
		}
	}
}

func TestABatchConsumerTakesReplaysOneByOne(t *testing.T) {
	t.Parallel()
	k, b, _ := open(t)
	batches := make(chan []bus.Delivery, 10)
	k.Start(func(ctx context.Context) error {
		return b.ConsumeBatches(ctx, bus.Batches{
			Consumer: consumer("projection", nil), Size: 8,
			Handle: func(_ context.Context, ds []bus.Delivery) error { batches <- ds; return nil },
		})
	})
	job := k.Receive(b)
	first := <-batches
	must(t, b.Replay(k.Context(), "projection", 1))
	second := <-batches
	if len(second) != 1 || second[0].Job != job || second[0].Seq != first[0].Seq || second[0].Event != first[0].Event {
		t.Errorf("first %+v, then %+v", first, second)
	}
}

func TestAStopWaitsForTheReplayInProgress(t *testing.T) {
	t.Parallel()
	k, b, _ := open(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	var replaying atomic.Bool
	stop := k.Start(func(ctx context.Context) error {
		return b.Consume(ctx, consumer("slow", func(ctx context.Context, _ bus.Delivery) error {
			if replaying.Load() {
				close(begun)
				<-goOn
			}
			return ctx.Err()
		}))
	})
	k.Receive(b)
	k.Settled("slow")
	replaying.Store(true)
	done := make(chan error, 1)
	go func() { done <- b.Replay(k.Context(), "slow", 1) }()
	<-begun
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Error("stopped before the replay was done")
	case err := <-done:
		t.Errorf("answered before it was done: %v", err)
	default:
	}
	close(goOn)
	must(t, <-done)
	<-stopped
}

func TestAnEventOfATokenIsRejectedAndReplayedLikeOneOfAJob(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	b := k.Bus("tester", event.Jobs(), event.Dead(), event.Tokens())
	dead := deadletter.New(b)
	answers, given := make(chan error, 2), make(chan bus.Delivery, 2)
	k.Start(func(ctx context.Context) error {
		c := consumer("deleter", func(_ context.Context, d bus.Delivery) error { given <- d; return <-answers })
		c.Stream, c.Filters = event.Tokens(), []string{event.Filter(event.NameDeleted)}
		return b.Consume(ctx, c)
	})
	k.Receive(b) // this event has sequence 1 in its stream, like the token's event below
	answers <- fault.New(fault.Invalid, "data-refused", "")
	for range 2 { // the stream ignores the second event as a duplicate
		must(t, b.Publish(k.Context(), event.TokenDeleted{TokenID: 7}))
	}
	if d := <-given; d.Event != (event.TokenDeleted{TokenID: 7}) || d.Job != "" || d.Seq != 1 {
		t.Errorf("given %+v", d)
	}
	testkit.Eventually(t, func() error {
		letters, err := dead.List(k.Context(), "deleter")
		if err == nil && len(letters) != 1 {
			err = fault.New(fault.Internal, "no-letter", "")
		}
		return err
	})
	letters, err := dead.List(k.Context(), "deleter")
	must(t, err)
	if l := letters[0]; l.Subject != "audio.tokens.7.deleted" || l.EventSeq != 1 || l.Job != "" {
		t.Errorf("letter %+v", l)
	}
	answers <- nil
	must(t, b.Replay(k.Context(), "deleter", 1))
	if d := <-given; d.Event != (event.TokenDeleted{TokenID: 7}) {
		t.Errorf("replayed %+v", d)
	}
	m := k.Messages(event.Tokens())
	if len(m) != 1 || m[0].Header.Get("ce-id") != "token.7.deleted" || m[0].Header.Get("ce-subject") != "7" || m[0].Header.Get("ce-type") != "audio.token.deleted.v1" {
		t.Errorf("messages %+v", m)
	}
}
