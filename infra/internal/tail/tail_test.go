package tail_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"sori.internal/infra/internal/tail"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
	"sori.internal/shared/trace"
)

// listen starts a tail and returns a function that reads its next line.
func listen(t *testing.T, k *testkit.Kit, o tail.Options) (next func() string) {
	t.Helper()
	var cfg tail.Config
	k.Load(&cfg)
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(k.Context())
	listening, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- tail.Run(ctx, cfg, o, w, func(string) { close(listening) })
		_ = w.Close()
	}()
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the tail ended with %v", err)
		}
	})
	select {
	case <-listening:
	case err := <-ended:
		ended <- nil
		t.Fatalf("the tail does not listen: %v", err)
	}
	return func() string {
		t.Helper()
		line, open := <-lines
		if !open {
			t.Fatal("the tail has ended")
		}
		return line
	}
}

// story publishes the events of every test: those of two jobs, one of which fails, a
// dead letter of each, and a last event that all filters show.
func story(t *testing.T, k *testkit.Kit) (good, bad string) {
	t.Helper()
	b := k.Bus("tester", event.Jobs(), event.Dead())
	good, bad = k.NewJob(), k.NewJob()
	ctx := trace.Continue(k.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	seqs := map[string]uint64{}
	say := func(events ...event.Event) {
		for _, e := range events {
			seq, err := joblog.New(b).Append(ctx, e, seqs[e.Job()])
			if err != nil {
				t.Fatal(err)
			}
			seqs[e.Job()] = seq
		}
	}
	say(event.Received{JobID: good, TokenID: 7, FileName: "내 녹음.wav"}, event.Received{JobID: bad})
	if err := b.Broadcast(event.LiveSubject(good), []byte(`{"job_id":"`+good+`","status":"processing"}`)); err != nil {
		t.Fatal(err)
	}
	say(event.Failed{JobID: bad, Code: "staging-lost", Detail: "It is gone."}, event.Failed{JobID: good, Code: "analysis-failed"})
	for _, job := range []string{bad, good} {
		m := &nats.Msg{Subject: k.Namespace().Subject(event.DeadSubject("burier")), Header: nats.Header{
			bus.HeaderSubject: {event.SubjectOf(job, event.NameReceived)}, bus.HeaderCode: {"data-refused"}, bus.HeaderReason: {"The\x1b[2J data."},
		}}
		if _, err := k.JetStream().PublishMsg(k.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	return good, bad
}

func TestATailShowsWhatItIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options func(good string) tail.Options
		want    []string // the events in order; + marks those of the good job
	}{
		"everything":         {func(string) tail.Options { return tail.Options{} }, []string{"+received", "received", "+live", "failed", "+failed", "dead", "+dead"}},
		"failures":           {func(string) tail.Options { return tail.Options{Failed: true} }, []string{"failed", "+failed", "dead", "+dead"}},
		"a subject":          {func(string) tail.Options { return tail.Options{Subject: "audio.jobs.*.received"} }, []string{"+received", "received"}},
		"failures, narrowed": {func(string) tail.Options { return tail.Options{Subject: "audio.jobs.>", Failed: true} }, []string{"failed", "+failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := testkit.New(t)
			k.Bus("tester", event.Jobs(), event.Dead())
			next := listen(t, k, c.options(""))
			good, _ := story(t, k)
			var got []string
			for range c.want {
				fields := strings.Fields(next())
				what := fields[1]
				if fields[2] == good {
					what = "+" + what
				}
				got = append(got, what)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestATailOfOneJobShowsNoOther(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	b := k.Bus("tester", event.Jobs(), event.Dead())
	job := k.NewJob()
	next := listen(t, k, tail.Options{Job: strings.ToUpper(job)})
	story(t, k)
	seq, err := joblog.New(b).Append(k.Context(), event.Received{JobID: job, TokenID: 7, FileName: "내 녹음.wav"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(k.Context(), event.Uploading{JobID: job, Bytes: 1, Size: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := joblog.New(b).Append(k.Context(), event.Canceled{JobID: job}, seq); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"received", "uploading", "canceled"} {
		if line := next(); !strings.Contains(line, "  "+want+" ") || !strings.Contains(line, job) {
			t.Errorf("%s: %s", want, line)
		}
	}
}

func TestALineTellsWhatAndInWhichTraceAndNothingMovesTheCursor(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	k.Bus("tester", event.Jobs(), event.Dead())
	next := listen(t, k, tail.Options{})
	good, _ := story(t, k)
	first := next()
	for _, part := range []string{"received", good, "token_id=7", `file_name="내 녹음.wav"`, "trace=0af7651916cd43dd8448eb211c80319c"} {
		if !strings.Contains(first, part) {
			t.Errorf("%q is not in %s", part, first)
		}
	}
	for range 4 {
		next()
	}
	dead := next()
	if !strings.Contains(dead, "burier gave up") || !strings.Contains(dead, "data-refused") || strings.Contains(dead, "\x1b") {
		t.Errorf("dead letter: %q", dead)
	}
}

func TestABodyIsShortAndWithoutTheJob(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"job_id":"x","a":1,"b":"c","d":"e f","g":{"h":[1,2]},"i":""}`: `a=1 b=c d="e f" g={"h":[1,2]} i=""`,
		`{"job_id":"x"}`:           "",
		`17`:                       "17",
		"\xff\x1b[2J":              "··[2J",
		`{"a":`:                    `{"a":`,
		`{"a":"\u001b[2J\u202e"}`:  `a="\u001b[2J\u202e"`,
		`{"a":"x=1 b=2"}`:          `a="x=1 b=2"`,
		strings.Repeat("x", 10000): strings.Repeat("x", 120) + "…",
		string(must(json.Marshal(map[string]string{"a": strings.Repeat("소", 500)}))): "a=" + strings.Repeat("소", 120) + "…",
	} {
		if got := tail.Said([]byte(body)); got != want {
			t.Errorf("%.40q: %q, want %q", body, got, want)
		}
	}
}

func must(body []byte, _ error) []byte { return body }

func TestATailOfNoJobIsRefused(t *testing.T) {
	t.Parallel()
	var cfg tail.Config
	testkit.New(t).Load(&cfg)
	for _, job := range []string{"7", "*", ">"} {
		if err := tail.Run(t.Context(), cfg, tail.Options{Job: job}, io.Discard, func(string) {}); err == nil {
			t.Errorf("%q is a job", job)
		}
	}
}

func TestATailTellsThatItMissesEvents(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	proxy := k.Proxy(k.Settings(nil)["NATS_URL"])
	var cfg tail.Config
	k.Load(&cfg)
	cfg.URL = config.Secret(proxy.URL)
	ctx, cancel := context.WithCancel(k.Context())
	told, ended := make(chan string, 10), make(chan error, 1)
	go func() { ended <- tail.Run(ctx, cfg, tail.Options{}, io.Discard, func(text string) { told <- text }) }()
	for _, want := range []string{"listening", "connection lost", "listening again"} {
		select {
		case text := <-told:
			if !strings.HasPrefix(text, want) {
				t.Errorf("%q, want %q", text, want)
			}
		case err := <-ended:
			t.Fatalf("the tail ended: %v", err)
		}
		if want == "listening" {
			proxy.Cut()
		} else {
			proxy.Restore()
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestATailThatCannotBeginSaysWhy(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	closed := k.Proxy(k.Settings(nil)["NATS_URL"])
	closed.Cut()
	for name, c := range map[string]struct{ url, subject, want string }{
		"server":  {closed.URL, "audio.>", "connect to the bus"},
		"subject": {"", "audio..failed", "audio..failed"},
	} {
		var cfg tail.Config
		k.Load(&cfg)
		if c.url != "" {
			cfg.URL = config.Secret(c.url)
		}
		err := tail.Run(k.Context(), cfg, tail.Options{Subject: c.subject}, io.Discard, func(string) {})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAFileGetsNoColours(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	b := k.Bus("tester", event.Jobs(), event.Dead())
	file, err := os.Create(filepath.Join(t.TempDir(), "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var cfg tail.Config
	k.Load(&cfg)
	listening := make(chan struct{})
	stop := k.Start(func(ctx context.Context) error {
		return tail.Run(ctx, cfg, tail.Options{}, file, func(string) { close(listening) })
	})
	<-listening
	job := k.Receive(b)
	testkit.Eventually(t, func() error {
		text, err := os.ReadFile(file.Name())
		if err == nil && !strings.Contains(string(text), job) {
			err = errors.New("the event is not in the file")
		}
		if strings.Contains(string(text), "\x1b") {
			t.Errorf("the file has colours: %q", text)
		}
		return err
	})
	stop()
}
