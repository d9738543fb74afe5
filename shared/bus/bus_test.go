package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
	"sori.internal/shared/trace"
)

func open(t *testing.T) (*testkit.Kit, *bus.Bus) {
	t.Helper()
	k := testkit.New(t)
	return k, k.Bus("tester", event.Jobs(), event.Dead(), event.Staging())
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
	job := k.NewJob()
	ctx := trace.Continue(k.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if _, err := joblog.New(b).Append(ctx, event.Received{JobID: job, TokenID: 7}, 0); err != nil {
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

func TestABusThatCannotBeReachedIsUnavailable(t *testing.T) {
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
	job := k.NewJob()
	_, appendErr := joblog.New(b).Append(ctx, event.Received{JobID: job}, 0)
	_, logErr := joblog.New(b).Read(ctx, job)
	_, stageErr := staging.New(b).Put(ctx, job, strings.NewReader("x"))
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

func TestAFailedPingSaysWhyThereIsNoConnection(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	empty := filepath.Join(t.TempDir(), "user.creds")
	must(t, os.WriteFile(empty, []byte("nothing"), 0o600))
	for want, change := range map[string]func(*bus.Config){
		"Authorization Violation": func(c *bus.Config) { c.User, c.Password = "nobody", "hunter2" },
		"connection refused":      func(c *bus.Config) { c.URL = "nats://user:hunter2@127.0.0.1:1" },
		empty:                     func(c *bus.Config) { c.User, c.Password, c.Creds = "", "", empty },
	} {
		var cfg bus.Config
		k.Load(&cfg)
		change(&cfg)
		b, err := bus.Open(cfg, "tester", k.Log())
		must(t, err)
		testkit.Eventually(t, func() error {
			ctx, cancel := context.WithTimeout(k.Context(), 100*time.Millisecond)
			defer cancel()
			if err := b.Ping(ctx); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				return fmt.Errorf("%s: %w", want, err)
			}
			return nil
		})
		must(t, b.Close())
	}
}

func TestTheUserThatIsSetCountsBeforeOneInAURL(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	var cfg bus.Config
	k.Load(&cfg)
	first, _, _ := strings.Cut(cfg.URL.Reveal(), ",")
	u, err := url.Parse(first)
	must(t, err)
	password, _ := u.User.Password()
	cfg.User, cfg.Password = u.User.Username(), config.Secret(password)
	for _, text := range []string{"nats://nobody:hunter2@" + u.Host, "nobody:hunter2@" + u.Host, u.Host, "nats://127.0.0.1:1,nobody:hunter2@" + u.Host} {
		cfg.URL = config.Secret(text)
		b, err := bus.Open(cfg, "tester", k.Log())
		must(t, err)
		if err := b.Ping(k.Context()); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		must(t, b.Close())
	}
}

func TestReadinessNeedsTheStreamsAndChangesNoneOfThem(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	_, err := joblog.New(b).Append(k.Context(), event.Received{JobID: k.NewJob()}, 0)
	must(t, err)
	_, err = staging.New(b).Put(k.Context(), k.NewJob(), strings.NewReader("x"))
	must(t, err)
	must(t, b.Ready(k.Context()))
	for _, s := range []event.Stream{event.Jobs(), event.Staging()} {
		if extent, err := b.Stream(s).Info(k.Context()); err != nil || extent.Messages != 1 {
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
	k, b := open(t)
	must(t, b.Ping(t.Context()))
	must(t, b.Ready(t.Context()))
	must(t, b.Ensure(t.Context(), event.Jobs()))
	must(t, b.NewSubscriber(1).Subscribe(t.Context(), "audio.live.a"))
	_, err := joblog.New(b).Read(t.Context(), k.NewJob())
	must(t, err)
}

func TestEnsuringTwiceKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	k, b := open(t)
	job := k.NewJob()
	_, err := joblog.New(b).Append(k.Context(), event.Received{JobID: job}, 0)
	must(t, err)
	must(t, b.Ensure(k.Context(), event.Jobs(), event.Dead(), event.Staging()))
	if log, err := joblog.New(b).Read(k.Context(), job); err != nil || len(log) != 1 {
		t.Fatalf("%v %v", log, err)
	}
	stream, err := k.JetStream().Stream(k.Context(), k.Namespace().Stream("AUDIO_JOBS"))
	must(t, err)
	if c := stream.CachedInfo().Config; c.Discard != jetstream.DiscardNew || c.Storage != jetstream.FileStorage || c.Duplicates != 5*time.Minute {
		t.Errorf("%+v", c)
	}
}

func TestEnsuringChangesNoSettingOfAnOperator(t *testing.T) {
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
	operators.MaxMsgsPerSubject = 1 // as in earlier releases, no setting of an operator
	_, err := js.UpdateStream(k.Context(), operators)
	must(t, err)
	must(t, b.Ensure(k.Context(), event.Jobs()))
	if c := config(); c.MaxConsumers != 50 || c.MaxBytes != 64<<20 || c.MaxMsgsPerSubject != -1 {
		t.Errorf("%+v", c)
	}
}
