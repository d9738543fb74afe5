package bus_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
	"sori.internal/shared/trace"
)

const traceID = "0af7651916cd43dd8448eb211c80319c"

// inTrace is a context in the trace of traceID.
func inTrace(k *testkit.Kit) context.Context {
	return trace.Continue(k.Context(), "00-"+traceID+"-b7ad6b7169203331-01")
}

// rejecting starts a consumer that refuses every event until it is mended, and
// hands on what it is given from then on.
func rejecting(t *testing.T, b *bus.Bus, name string) (mend func(), given <-chan bus.Delivery, traces <-chan string) {
	t.Helper()
	var mended atomic.Bool
	deliveries, ids := make(chan bus.Delivery, 10), make(chan string, 10)
	start(t, func(ctx context.Context) error {
		return b.Consume(ctx, consumer(name, func(ctx context.Context, d bus.Delivery) error {
			if !mended.Load() {
				return fault.Wrap(fault.Invalid, "data-refused", "The data cannot be stored.", errors.New("password=hunter2"))
			}
			deliveries <- d
			ids <- trace.ID(ctx)
			return nil
		}))
	})
	return func() { mended.Store(true) }, deliveries, ids
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.As(err).Code
}

func TestAReplayHandlesAnEventAgainAsTheLogHoldsIt(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	mend, given, traces := rejecting(t, b, "rejecting")
	job := newJob(t)
	seq, err := b.Append(inTrace(k), event.Received{JobID: job, TokenID: 7}, 0)
	must(t, err)
	settled(t, k, "rejecting")
	log, err := b.Log(k.Context(), job)
	must(t, err)
	letters, err := b.DeadLetters(k.Context(), "")
	must(t, err)
	if len(letters) != 1 {
		t.Fatalf("letters %+v", letters)
	}
	l := letters[0]
	if l.Consumer != "rejecting" || l.Job != job || l.EventSeq != seq || l.Code != "data-refused" || l.Reason == "" || l.Deliveries != 1 ||
		l.Trace != traceID || l.Subject != event.SubjectOf(job, event.NameReceived) || time.Since(l.At).Abs() > time.Minute || len(l.Body) == 0 {
		t.Errorf("letter %+v", l)
	}
	mend()
	must(t, b.Replay(k.Context(), l.Consumer, l.EventSeq))
	d := <-given
	if d.Event != (event.Received{JobID: job, TokenID: 7}) || d.Job != job || d.Seq != seq || !d.Time.Equal(log[0].Time) || d.Backoff != 0 {
		t.Errorf("given %+v, the log has %+v", d, log[0])
	}
	if id := <-traces; id != traceID {
		t.Errorf("replayed in the trace %s", id)
	}
	after, err := b.Extent(k.Context(), event.Jobs())
	must(t, err)
	if after.Last != seq || after.Messages != 1 {
		t.Errorf("the log has grown: %+v", after)
	}
}

func TestADroppedLetterIsGoneAndItsEventIsNot(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	rejecting(t, b, "rejecting")
	job := receive(t, k, b)
	settled(t, k, "rejecting")
	for _, c := range []struct {
		consumer string
		want     int
	}{{"", 1}, {"rejecting", 1}, {"another", 0}} {
		if letters, err := b.DeadLetters(k.Context(), c.consumer); err != nil || len(letters) != c.want {
			t.Errorf("%q has the letters %+v, %v", c.consumer, letters, err)
		}
	}
	l, err := b.DeadLetter(k.Context(), 1)
	if err != nil || l.Job != job {
		t.Errorf("letter %+v, %v", l, err)
	}
	must(t, b.DropLetter(k.Context(), 1))
	if _, err := b.DeadLetter(k.Context(), 1); !fault.Is(err, fault.NotFound) {
		t.Errorf("read after the drop: %v", err)
	}
	if err := b.DropLetter(k.Context(), 1); !fault.Is(err, fault.NotFound) {
		t.Errorf("dropped twice: %v", err)
	}
	if story := k.EventNames(b, job); !slices.Equal(story, []event.Name{event.NameReceived}) {
		t.Errorf("story %v", story)
	}
}

func TestAReplayThatFailsTellsWhyAndSettlesNothing(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	gaveUp := make(chan string, 10)
	answers := make(chan error, 10)
	start(t, func(ctx context.Context) error {
		c := consumer("rejecting", func(context.Context, bus.Delivery) error { return <-answers })
		c.OnDeadLetter = func(_ context.Context, d bus.Delivery, _ *fault.Error) error { gaveUp <- d.Job; return nil }
		return b.Consume(ctx, c)
	})
	answers <- fault.New(fault.Invalid, "data-refused", "")
	job := receive(t, k, b)
	settled(t, k, "rejecting")
	<-gaveUp
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
	letters, err := b.DeadLetters(k.Context(), "rejecting")
	if err != nil || len(letters) != 1 || len(gaveUp) != 0 || len(answers) != 0 {
		t.Errorf("letters %+v, %v; given up again %d times", letters, err, len(gaveUp))
	}
	if story := k.EventNames(b, job); len(story) != 1 {
		t.Errorf("story %v", story)
	}
}

func TestAReplayThatCannotBeIsTold(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	rejecting(t, b, "rejecting")
	_, err := k.JetStream().PublishMsg(k.Context(), &nats.Msg{
		Subject: k.Namespace().Subject(event.SubjectOf(newJob(t), event.NameReceived)), Data: []byte("\xff{"),
	})
	must(t, err)
	settled(t, k, "rejecting")
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
	k, b := open(t)
	batches := make(chan []bus.Delivery, 10)
	start(t, func(ctx context.Context) error {
		return b.ConsumeBatches(ctx, bus.Batches{
			Consumer: consumer("projection", nil), Size: 8,
			Handle: func(_ context.Context, ds []bus.Delivery) error { batches <- ds; return nil },
		})
	})
	job := receive(t, k, b)
	first := <-batches
	must(t, b.Replay(k.Context(), "projection", 1))
	second := <-batches
	if len(second) != 1 || second[0].Job != job || second[0].Seq != first[0].Seq || second[0].Event != first[0].Event {
		t.Errorf("first %+v, then %+v", first, second)
	}
}

func TestAStopWaitsForTheReplayInHand(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	var replaying atomic.Bool
	stop := start(t, func(ctx context.Context) error {
		return b.Consume(ctx, consumer("slow", func(ctx context.Context, _ bus.Delivery) error {
			if replaying.Load() {
				close(begun)
				<-goOn
			}
			return ctx.Err()
		}))
	})
	receive(t, k, b)
	settled(t, k, "slow")
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

func TestAScanShowsWhatAStreamHoldsNow(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	scan := func(bodies bool, filters ...string) (seen []bus.Message, traces []string) {
		t.Helper()
		must(t, b.Scan(k.Context(), event.Jobs(), bodies, filters, func(m bus.Message, id string) error {
			seen, traces = append(seen, m), append(traces, id)
			return nil
		}))
		return seen, traces
	}
	if seen, _ := scan(true, event.AllJobs); len(seen) != 0 {
		t.Errorf("an empty stream shows %+v", seen)
	}
	job := newJob(t)
	seq, err := b.Append(inTrace(k), event.Received{JobID: job}, 0)
	must(t, err)
	must(t, b.Tell(k.Context(), event.Uploading{JobID: job, Bytes: 1, Size: 2}))
	receive(t, k, b)
	seen, traces := scan(true, event.LogSubject(job), event.ProgressSubject(job))
	if len(seen) != 2 || seen[0].Seq != seq || seen[0].Subject != event.SubjectOf(job, event.NameReceived) || len(seen[1].Data) == 0 ||
		traces[0] != traceID || traces[1] != "" {
		t.Errorf("one job: %+v %v", seen, traces)
	}
	seen, _ = scan(false, event.AllJobs)
	if len(seen) != 2 || len(seen[0].Data) != 0 {
		t.Errorf("all logs without bodies: %+v", seen)
	}
	enough := errors.New("enough")
	if err := b.Scan(k.Context(), event.Jobs(), false, []string{event.AllJobs}, func(bus.Message, string) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a scan goes on after %v", err)
	}
	if err := b.Scan(k.Context(), event.Stream{Name: "NONE"}, false, nil, nil); codeOf(err) != "stream-not-found" {
		t.Errorf("no stream: %v", err)
	}
}

func TestAConsumersStandingIsWhatItHasSettled(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	if _, found, err := b.Standing(k.Context(), "c"); found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	hold := make(chan struct{})
	start(t, func(ctx context.Context) error {
		return b.Consume(ctx, consumer("c", func(_ context.Context, d bus.Delivery) error {
			if d.Seq > 1 {
				<-hold
			}
			return nil
		}))
	})
	t.Cleanup(func() { close(hold) })
	receive(t, k, b)
	settled(t, k, "c")
	receive(t, k, b)
	testkit.Eventually(t, func() error {
		s, found, err := b.Standing(k.Context(), "c")
		if err == nil && (!found || s != (bus.Standing{Floor: 1, InHand: 1})) {
			err = errors.New("not yet")
		}
		return err
	})
	extent, err := b.Extent(k.Context(), event.Jobs())
	if err != nil || extent.First != 1 || extent.Last != 2 || extent.Messages != 2 || time.Since(extent.Since).Abs() > time.Minute {
		t.Errorf("%+v, %v", extent, err)
	}
}
