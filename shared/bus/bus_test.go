package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
	"sori.internal/shared/trace"
)

func open(t *testing.T) (*testkit.Kit, *bus.Bus) {
	t.Helper()
	k := testkit.New(t)
	return k, k.Bus("tester", event.Jobs(), event.Dead(), event.Staging())
}

func newJob(t *testing.T) string {
	t.Helper()
	id, err := event.NewJobID()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnEventTravelsAsACloudEventInBinaryMode(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	job := newJob(t)
	ctx := trace.Continue(k.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if _, err := b.Append(ctx, event.Received{JobID: job, TokenID: 7}, 0); err != nil {
		t.Fatal(err)
	}
	stream, err := k.JetStream().Stream(ctx, k.Namespace().Stream("AUDIO_JOBS"))
	must(t, err)
	msg, err := stream.GetLastMsgForSubject(ctx, k.Namespace().Subject("audio.jobs."+job+".received"))
	must(t, err)
	for header, want := range map[string]string{
		"ce-specversion": "1.0", "ce-id": job + ".received", "ce-source": "/tester", "ce-type": "audio.job.received.v1",
		"ce-subject": job, "content-type": "application/json", "Nats-Msg-Id": job + ".received",
	} {
		if got := msg.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, msg.Header.Get("ce-time")); err != nil {
		t.Error(err)
	}
	if p := msg.Header["traceparent"]; len(p) != 1 || !strings.Contains(p[0], "0af7651916cd43dd8448eb211c80319c") {
		t.Errorf("traceparent %v", p)
	}
	var body map[string]any
	if err := json.Unmarshal(msg.Data, &body); err != nil || body["token_id"] != 7.0 {
		t.Errorf("body %s", msg.Data)
	}
}

func TestAnAppendNeedsTheLogToEndWhereItsWriterThought(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	ctx, job := k.Context(), newJob(t)
	first, err := b.Append(ctx, event.Received{JobID: job}, 0)
	must(t, err)
	again, err := b.Append(ctx, event.Received{JobID: job}, 0)
	if err != nil || again != first {
		t.Errorf("a repetition: %d %v", again, err)
	}
	if _, err := b.Append(ctx, event.Stored{JobID: job}, first+7); !errors.Is(err, event.ErrLogConflict) {
		t.Errorf("from a log that never was: %v", err)
	}
	second, err := b.Append(ctx, event.Stored{JobID: job}, first)
	must(t, err)
	if _, err := b.Append(ctx, event.Canceled{JobID: job}, first); !errors.Is(err, event.ErrLogConflict) {
		t.Errorf("from an old log: %v", err)
	}
	must(t, b.Tell(ctx, event.Uploading{JobID: job, Bytes: 1, Size: 2})) // progress is in no log
	log, err := b.Log(ctx, job)
	must(t, err)
	if len(log) != 2 || log.Seq() != second || log[0].Event != (event.Received{JobID: job}) {
		t.Errorf("log %+v", log)
	}
	if log, err := b.Log(ctx, newJob(t)); err != nil || len(log) != 0 {
		t.Errorf("a job that does not exist has the log %+v, %v", log, err)
	}
}

func TestOfManyWritersOneEndsAJob(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	ctx := k.Context()
	for range 20 {
		job := newJob(t)
		_, err := b.Append(ctx, event.Received{JobID: job}, 0)
		must(t, err)
		endings := []event.Event{
			event.Completed{JobID: job, Attempt: 1, Result: json.RawMessage(`{}`)}, event.Canceled{JobID: job},
			event.Failed{JobID: job, Attempt: 1, Code: "x"}, event.Failed{JobID: job, Code: "y"},
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		wins := 0
		for _, e := range endings {
			wg.Go(func() {
				won := false
				_, err := b.Decide(ctx, job, nil, func(log event.Log) (event.Event, error) {
					if _, ended := log.Terminal(); ended {
						won = false
						return nil, nil
					}
					won = true
					return e, nil
				})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if won {
					wins++
				}
			})
		}
		wg.Wait()
		log, err := b.Log(ctx, job)
		must(t, err)
		if wins != 1 || len(log) != 2 {
			t.Fatalf("%d writers won, log %+v", wins, log)
		}
	}
}

func TestADecisionsOwnErrorIsReturnedAndAddsNothing(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	job, refused := newJob(t), errors.New("refused")
	if _, err := b.Decide(k.Context(), job, nil, func(event.Log) (event.Event, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	if log, err := b.Log(k.Context(), job); err != nil || len(log) != 0 {
		t.Errorf("%v %v", log, err)
	}
}

// Two writers may say the same of a job in different words. Deduplication would tell
// both that theirs was taken.
func TestADecisionThatSomebodyElseMadeIsNotTakenForOnesOwn(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	job := newJob(t)
	seq, err := b.Append(k.Context(), event.Received{JobID: job}, 0)
	must(t, err)
	known := event.Log{{Event: event.Received{JobID: job}, Seq: seq}}
	for _, code := range []string{"first", "second"} {
		log, err := b.Decide(k.Context(), job, known, func(log event.Log) (event.Event, error) {
			if _, ended := log.Terminal(); ended {
				return nil, nil
			}
			return event.Failed{JobID: job, Code: code}, nil
		})
		must(t, err)
		if failed, _ := event.Last[event.Failed](log); failed.Code != "first" || len(log) != 2 {
			t.Errorf("%s: %+v", code, log)
		}
	}
}

func TestALogOfAStreamThatDoesNotAnswerIsUnavailable(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	if log, err := k.Bus("tester").Log(k.Context(), newJob(t)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v %v", log, err)
	}
}

func TestAFullLogRefusesRatherThanForgets(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	var cfg bus.Config
	k.Load(&cfg)
	cfg.JobsMaxBytes = 16 << 10
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	must(t, b.Ensure(k.Context(), event.Jobs()))
	var stored []string
	for range 1000 {
		job := newJob(t)
		_, err = b.Append(k.Context(), event.Received{JobID: job, FileName: strings.Repeat("x", 200)}, 0)
		if err != nil {
			break
		}
		stored = append(stored, job)
	}
	if f := fault.As(err); f == nil || f.Kind != fault.Exhausted || f.Code != "bus-full" {
		t.Fatalf("after %d: %v", len(stored), err)
	}
	for _, job := range stored {
		if log, err := b.Log(k.Context(), job); err != nil || len(log) != 1 {
			t.Fatalf("an accepted job is gone: %v %v", log, err)
		}
	}
}

func TestABusThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	var cfg bus.Config
	k.Load(&cfg)
	cfg.URL = "nats://user:hunter2@127.0.0.1:1"
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	ctx, cancel := context.WithTimeout(k.Context(), time.Second)
	defer cancel()
	job := newJob(t)
	_, appendErr := b.Append(ctx, event.Received{JobID: job}, 0)
	_, logErr := b.Log(ctx, job)
	_, stageErr := b.Stage(ctx, job, strings.NewReader("x"))
	for what, err := range map[string]error{
		"append": appendErr, "log": logErr, "stage": stageErr, "ping": b.Ping(ctx), "ready": b.Ready(ctx), "ensure": b.Ensure(ctx, event.Jobs()),
	} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s shows the password", what)
		}
	}
}

func TestBroadcastsReachWhoListensAndNobodyElse(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	l := b.Listen(16)
	heard := make(chan string, 16)
	ctx, stop := context.WithCancel(k.Context())
	done := make(chan error, 1)
	go func() {
		done <- l.Run(ctx, func(subject string, body []byte) { heard <- subject + " " + string(body) })
	}()
	must(t, l.Add(ctx, "audio.live.a"))
	must(t, l.Add(ctx, "audio.live.a")) // a second time is once
	must(t, b.Broadcast("audio.live.b", []byte("0")))
	must(t, b.Broadcast("audio.live.a", []byte("1")))
	must(t, l.Add(ctx, "audio.live.b"))
	must(t, b.Broadcast("audio.live.b", []byte("2")))
	for _, want := range []string{"audio.live.a 1", "audio.live.b 2"} {
		if got := <-heard; got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	must(t, l.Remove("audio.live.a"))
	must(t, l.Remove("audio.live.a"))
	must(t, b.Broadcast("audio.live.a", []byte("3")))
	must(t, b.Broadcast("audio.live.b", []byte("4")))
	if got := <-heard; got != "audio.live.b 4" {
		t.Errorf("heard %q", got)
	}
	stop()
	must(t, <-done)
}

func TestReadinessNeedsTheStreamsAndChangesNoneOfThem(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	_, err := b.Append(k.Context(), event.Received{JobID: newJob(t)}, 0)
	must(t, err)
	_, err = b.Stage(k.Context(), newJob(t), strings.NewReader("x"))
	must(t, err)
	must(t, b.Ready(k.Context()))
	for _, s := range []event.Stream{event.Jobs(), event.Staging()} {
		if extent, err := b.Extent(k.Context(), s); err != nil || extent.Messages != 1 {
			t.Errorf("%s: %+v %v", s.Name, extent, err)
		}
		must(t, k.JetStream().DeleteStream(k.Context(), k.Namespace().Stream(s.Name)))
		if err := b.Ready(k.Context()); err == nil {
			t.Errorf("it is ready without %s", s.Name)
		}
		must(t, b.Ensure(k.Context(), s))
	}
	must(t, b.Ready(k.Context()))
}

func TestNothingNeedsADeadlineOfItsCaller(t *testing.T) {
	t.Parallel()
	_, b := open(t)
	must(t, b.Ping(t.Context()))
	must(t, b.Ready(t.Context()))
	must(t, b.Ensure(t.Context(), event.Jobs()))
	must(t, b.Listen(1).Add(t.Context(), "audio.live.a"))
	_, err := b.Log(t.Context(), newJob(t))
	must(t, err)
}

func TestEnsuringTwiceKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	job := newJob(t)
	_, err := b.Append(k.Context(), event.Received{JobID: job}, 0)
	must(t, err)
	must(t, b.Ensure(k.Context(), event.Jobs(), event.Dead(), event.Staging()))
	if log, err := b.Log(k.Context(), job); err != nil || len(log) != 1 {
		t.Fatalf("%v %v", log, err)
	}
	stream, err := k.JetStream().Stream(k.Context(), k.Namespace().Stream("AUDIO_JOBS"))
	must(t, err)
	if c := stream.CachedInfo().Config; c.Discard != jetstream.DiscardNew || c.Storage != jetstream.FileStorage || c.Duplicates != 5*time.Minute {
		t.Errorf("%+v", c)
	}
}

func TestEnsuringChangesWhatIsOursToSayAndNothingElse(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	js, name := k.JetStream(), k.Namespace().Stream("AUDIO_JOBS")
	config := func() jetstream.StreamConfig {
		stream, err := js.Stream(k.Context(), name)
		must(t, err)
		return stream.CachedInfo().Config
	}
	operators := config()
	operators.MaxConsumers, operators.MaxBytes = 50, 1<<20
	_, err := js.UpdateStream(k.Context(), operators)
	must(t, err)
	must(t, b.Ensure(k.Context(), event.Jobs()))
	if c := config(); c.MaxConsumers != 50 || c.MaxBytes != 64<<20 {
		t.Errorf("%+v", c)
	}
}
