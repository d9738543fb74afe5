package bus_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
	"sori.internal/shared/trace"
)

func TestAScanShowsWhatAStreamHoldsNow(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	scan := func(bodies bool, filters ...string) (seen []bus.Message, traces []string) {
		t.Helper()
		must(t, b.Stream(event.Jobs()).Scan(k.Context(), bodies, filters, func(m bus.Message) error {
			seen, traces = append(seen, m), append(traces, m.TraceID())
			return nil
		}))
		return seen, traces
	}
	if seen, _ := scan(true, event.AllJobs); len(seen) != 0 {
		t.Errorf("an empty stream shows %+v", seen)
	}
	job := k.NewJob()
	seq, err := joblog.New(b).Append(inTrace(k), event.Received{JobID: job}, 0)
	must(t, err)
	must(t, b.Publish(k.Context(), event.Uploading{JobID: job, Bytes: 1, Size: 2}))
	k.Receive(b)
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
	if err := b.Stream(event.Jobs()).Scan(k.Context(), false, []string{event.AllJobs}, func(bus.Message) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a scan goes on after %v", err)
	}
	if err := b.Stream(event.Stream{Name: "NONE"}).Scan(k.Context(), false, nil, nil); codeOf(err) != "stream-not-found" {
		t.Errorf("no stream: %v", err)
	}
}

const traceID = "0af7651916cd43dd8448eb211c80319c"

// inTrace returns a context in the trace with the id traceID.
func inTrace(k *testkit.Kit) context.Context {
	return trace.Continue(k.Context(), "00-"+traceID+"-b7ad6b7169203331-01")
}

// codeOf returns the code of an error, or "" if it has none.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.As(err).Code
}

func TestAStreamIsLookedUpOnce(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	name := k.Namespace().Stream(event.Jobs().Name)
	lookups, err := k.JetStream().Conn().SubscribeSync("$JS.API.STREAM.INFO." + name)
	must(t, err)
	must(t, k.JetStream().Conn().Flush())
	purge := func() {
		t.Helper()
		job := k.Receive(b)
		must(t, b.Stream(event.Jobs()).Purge(k.Context(), event.LogSubject(job), 0))
		if m, err := b.Stream(event.Jobs()).Last(k.Context(), event.SubjectOf(job, event.NameReceived)); m != nil || err != nil {
			t.Errorf("after the purge %+v, %v", m, err)
		}
	}
	for range 3 {
		purge()
	}
	must(t, k.JetStream().Conn().Flush())
	if n, _, err := lookups.Pending(); n != 1 || err != nil {
		t.Errorf("%d look-ups, %v", n, err)
	}
	must(t, k.JetStream().DeleteStream(k.Context(), name))
	must(t, b.Ensure(k.Context(), event.Jobs()))
	purge()
}

func TestABytesMessageIsStoredOnlyAfterTheOneThatItsPublisherExpects(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	b := k.Bus("tester", event.Shared())
	leader := func(job string, after uint64) (uint64, error) {
		return b.PublishBytesExpecting(k.Context(), event.LeaderSubject("key", job), []byte("{}"), event.LeaderSubject("key", "*"), after)
	}
	first, err := leader("1", 0)
	must(t, err)
	if _, err := leader("2", 0); !errors.Is(err, event.ErrLogConflict) {
		t.Errorf("a second one: %v", err)
	}
	second, err := leader("2", first)
	must(t, err)
	if _, err := leader("3", first); !errors.Is(err, event.ErrLogConflict) {
		t.Errorf("after an old one: %v", err)
	}
	m, err := b.Stream(event.Shared()).LastFromLeader(k.Context(), event.LeaderSubject("*", "2"))
	if err != nil || m == nil || m.Seq != second {
		t.Errorf("%+v %v", m, err)
	}
	ack, err := b.PublishBytes(event.FollowerSubject("key", "4"), []byte("{}"))
	must(t, err)
	must(t, ack.Wait(k.Context()))
	if ack.Seq != second+1 {
		t.Errorf("the message after %d has the sequence %d", second, ack.Seq)
	}
}

func TestOnlyTheStreamOfResultsDiscardsOldMessages(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	var cfg bus.Config
	k.Load(&cfg)
	cfg.ResultMaxBytes, cfg.ResultTTL = 64<<10, time.Hour
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	must(t, b.Ensure(k.Context(), event.Results()))
	var last uint64
	for n := range 10 {
		ack, err := b.PublishBytes(event.ResultSubject(7, "key", k.NewJob(), n), make([]byte, 16<<10))
		must(t, err)
		must(t, ack.Wait(k.Context()))
		last = ack.Seq
	}
	info, err := b.Stream(event.Results()).Info(k.Context())
	if err != nil || info.LastSeq != last || info.Messages == 0 || info.Messages > 4 {
		t.Errorf("%+v %v", info, err)
	}
	stream, err := k.JetStream().Stream(k.Context(), k.Namespace().Stream(event.Results().Name))
	must(t, err)
	if age := stream.CachedInfo().Config.MaxAge; age != time.Hour {
		t.Errorf("the messages are kept for %v", age)
	}
}

// Without the cache, nobody removes the results of erased jobs.
func TestResultsAreNotKeptWhenTheCacheIsTurnedOff(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	var cfg bus.Config
	k.Load(&cfg)
	for _, c := range []struct{ ttl, most time.Duration }{{24 * time.Hour, 24 * time.Hour}, {0, time.Minute}} {
		cfg.ResultTTL = c.ttl
		b, err := bus.Open(cfg, "tester", k.Log())
		must(t, err)
		t.Cleanup(func() { _ = b.Close() })
		must(t, b.Ensure(k.Context(), event.Results()))
		stream, err := k.JetStream().Stream(k.Context(), k.Namespace().Stream(event.Results().Name))
		must(t, err)
		if age := stream.CachedInfo().Config.MaxAge; age <= 0 || age > c.most {
			t.Errorf("with RESULT_CACHE_TTL=%v results are kept for %v", c.ttl, age)
		}
	}
}

func TestAMessageFollowsOnlyTheOneThatItsWriterKnows(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	b := k.Bus("uploader", event.Uploads())
	subject, other := event.UploadSubject(event.WayTus, "mina", k.NewJob()), event.UploadSubject(event.WayTus, "mina", k.NewJob())
	first, err := b.PublishBytesExpecting(k.Context(), subject, []byte("1"), subject, 0)
	must(t, err)
	_, err = b.PublishBytesExpecting(k.Context(), other, []byte("1"), other, 0)
	must(t, err)
	for _, wrong := range []uint64{0, first + 1} {
		if _, err := b.PublishBytesExpecting(k.Context(), subject, []byte("2"), subject, wrong); !errors.Is(err, event.ErrLogConflict) {
			t.Errorf("after %d: %v", wrong, err)
		}
	}
	second, err := b.PublishBytesExpecting(k.Context(), subject, []byte("3"), subject, first)
	must(t, err)
	m, err := b.Stream(event.Uploads()).LastFromLeader(k.Context(), subject)
	must(t, err)
	if m.Seq != second || string(m.Data) != "3" {
		t.Errorf("stored is %+v", m)
	}
	if messages := k.Messages(event.Uploads()); len(messages) != 3 { // the rejected messages are not stored
		t.Errorf("%d messages are stored", len(messages))
	}
}

// If the stream did not allow the header, it would refuse the event.
func TestAWaitingEventIsKeptOnlyForItsLifetime(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	lifetime := func(w event.Waiting) string {
		t.Helper()
		w.JobID = k.NewJob()
		must(t, b.Publish(k.Context(), w))
		m, err := b.Stream(event.Jobs()).LastFromLeader(k.Context(), event.Subject(w))
		if err != nil || m == nil {
			t.Fatalf("%+v, %v", m, err)
		}
		return m.Header.Get("Nats-TTL")
	}
	ttl, err := time.ParseDuration(lifetime(event.Waiting{Attempt: 1, Until: time.Now().Add(time.Hour), Code: "c"}))
	if err != nil || ttl < time.Hour || ttl > 2*time.Hour {
		t.Errorf("%v, %v", ttl, err)
	}
	if ttl := lifetime(event.Waiting{Attempt: 1, Since: time.Now(), Code: event.CodeSameRecording}); ttl != "" {
		t.Errorf("without a time: %s", ttl)
	}
}

// A NATS server that stops answers like this while it closes its files. If the error counted as a
// defect, a job that has waited for long would fail at once.
func TestAnErrorOfTheServerWhileALogIsReadIsNoDefect(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	const stream = "STOPPING"
	sub, err := k.JetStream().Conn().Subscribe("$JS.API.DIRECT.GET."+k.Namespace().Stream(stream), func(m *nats.Msg) {
		answer := nats.NewMsg(m.Reply)
		answer.Header.Set("Status", "500")
		answer.Header.Set("Description", "store closed")
		_ = m.RespondMsg(answer)
	})
	must(t, err)
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	must(t, k.JetStream().Conn().Flush())
	messages, err := b.Stream(event.Stream{Name: stream}).LastPerSubject(k.Context(), event.AllJobs)
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v, %v", messages, err)
	}
}

func TestLastOfAllReadsMoreSubjectsThanOneRequestReturns(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	b := k.Bus("uploader", event.Uploads())
	uploads := b.Stream(event.Uploads())
	if none, err := uploads.LastOfAll(k.Context(), event.UploadsOf(event.WayForm)); err != nil || len(none) != 0 {
		t.Errorf("of an empty stream: %d, %v", len(none), err)
	}
	const n = 2500 // more than NATS returns in one answer
	for i := range n {
		ack, err := b.PublishBytes(event.UploadSubject(event.WayForm, "mina", k.NewJob()), []byte(strconv.Itoa(i)))
		must(t, err)
		other, err := b.PublishBytes(event.UploadSubject(event.WaySpent, "mina", k.NewJob()), []byte("spent"))
		must(t, err)
		must(t, errors.Join(ack.Wait(k.Context()), other.Wait(k.Context())))
	}
	found, err := uploads.LastOfAll(k.Context(), event.UploadsOf(event.WayForm))
	must(t, err)
	if len(found) != n {
		t.Fatalf("%d messages, want %d", len(found), n)
	}
	for i, m := range found {
		if string(m.Data) != strconv.Itoa(i) {
			t.Fatalf("message %d is %s", i, m.Data)
		}
	}
	if spent, err := uploads.LastOfAll(k.Context(), event.UploadsOf(event.WaySpent)); err != nil || len(spent) != n {
		t.Errorf("of another subject: %d, %v", len(spent), err)
	}
}
