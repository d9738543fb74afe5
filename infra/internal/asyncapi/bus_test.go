package asyncapi_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
)

// ear subscribes to all subjects below audio and to the usage of limits in the namespace of a test, and
// validates each message against the document.
type ear struct {
	document
	ctx      context.Context
	ns       event.Namespace
	messages chan *nats.Msg
}

func listen(t testing.TB, k *testkit.Kit) *ear {
	t.Helper()
	e := &ear{document: read(t), ctx: k.Context(), ns: k.Namespace(), messages: make(chan *nats.Msg, 1024)}
	nc := k.JetStream().Conn()
	for _, subject := range []string{"audio.>", event.LimitsSubject} {
		if _, err := nc.ChanSubscribe(e.ns.Subject(subject), e.messages); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return e
}

// channel returns the channel of a subject, or "" if there is none.
func (e *ear) channel(subject string) string {
	for _, name := range e.names("channels") {
		address, _ := e.at("channels", name, "address").(string)
		form := regexp.MustCompile(`\\{\w+\\}`).ReplaceAllString(regexp.QuoteMeta(address), `[^.]+`)
		if address != "" && regexp.MustCompile("^"+form+"$").MatchString(subject) {
			return name
		}
	}
	return ""
}

// hear validates a message against the document and returns its channel.
func (e *ear) hear(m *nats.Msg) string {
	channel := e.channel(e.ns.Strip(m.Subject))
	messages := e.names("channels", channel, "messages")
	if len(messages) != 1 {
		e.t.Errorf("%s is no channel", m.Subject)
		return channel
	}
	headers := map[string]any{}
	for name, values := range m.Header {
		headers[name] = values[0]
	}
	if schema := e.schema(messages[0], "headers"); schema != nil {
		e.conforms(m, schema.Validate(headers))
	} else if len(headers) > 0 {
		e.t.Errorf("%s has headers: %v", m.Subject, headers)
	}
	if schema := e.schema(messages[0], "payload"); schema != nil && e.at("components", "messages", messages[0], "contentType") == "text/plain" {
		e.conforms(m, schema.Validate(string(m.Data)))
	} else if schema != nil {
		e.conforms(m, schema.Validate(parse(e.t, m.Data)))
	}
	return channel
}

func (e *ear) conforms(m *nats.Msg, err error) {
	if err != nil {
		e.t.Errorf("%s: %v\n%v\n%s", m.Subject, err, m.Header, m.Data)
	}
}

// waits returns when a message has arrived on each of the channels. It validates every message.
func (e *ear) waits(channels ...string) {
	e.t.Helper()
	missing := map[string]bool{}
	for _, name := range channels {
		missing[name] = true
	}
	for len(missing) > 0 || len(e.messages) > 0 {
		select {
		case m := <-e.messages:
			delete(missing, e.hear(m))
		case <-e.ctx.Done():
			e.t.Fatalf("nothing came on %v", sorted(missing))
		}
	}
}

func TestWhatAJobSaysIsAsTheDocumentHasIt(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(time.Second)}})
	e := listen(t, w.Kit)
	job := w.Upload(t, "녹음 1.wav", loadgen.Tone(220, time.Second))
	w.Follow(w.Context(), t, job, "ko")
	e.waits("received", "uploading", "stored", "attempted", "dispatched", "progressed", "completed", "live")
}

func TestWhatIsDeletedIsAsTheDocumentHasIt(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	w.Follow(w.Context(), t, job, "ko")
	e := listen(t, w.Kit)
	req, err := http.NewRequestWithContext(w.Context(), http.MethodDelete, fmt.Sprintf("%s/tokens/%d", w.Gateway, w.Token), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %s", resp.Status)
	}
	e.waits("deleted", "erased")
}

func TestWhatClientsUseIsAsTheDocumentHasIt(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: map[string]string{"TRUSTED_PROXIES": "loopback"}})
	e := listen(t, w.Kit)
	job := w.NewJob()
	for seen := ""; !strings.Contains(seen, `"taken":{"address":`) || !strings.Contains(seen, `"held":{"streams":`); {
		req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.Gateway+"/tokens/analysis-result/"+job, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "203.0.113.9")
		resp, err := w.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		select {
		case m := <-e.messages: // a message about all clients does not count a request that has already ended
			e.hear(m)
			seen += string(m.Data)
		case <-e.ctx.Done():
			t.Fatalf("the messages are %s", seen)
		}
	}
}

func TestWhatIsGivenUpIsAsTheDocumentHasIt(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	b := k.Bus("test", event.Jobs(), event.Dead(), event.Staging())
	// A message that is no event of Sori is dead-lettered, too. Headers that it lacks are missing in the dead letter.
	if _, err := k.JetStream().Publish(k.Context(), k.Namespace().Subject(event.SubjectOf(k.NewJob(), event.NameReceived)), []byte("{")); err != nil {
		t.Fatal(err)
	}
	e := listen(t, k)
	ctx, stop := context.WithCancel(k.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Consume(ctx, bus.Consumer{
			Name: "test-received", Filters: []string{event.Filter(event.NameReceived)}, Concurrency: 1,
			Handle: func(context.Context, bus.Delivery) error { return fault.New(fault.Invalid, "broken", "It cannot be.") },
		})
	}()
	id := k.NewJob()
	seq, err := joblog.New(b).Append(k.Context(), event.Received{JobID: id, TokenID: 1, MediaType: "audio/wav"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, func() error {
		if letters := k.Messages(event.Dead()); len(letters) != 2 {
			return fmt.Errorf("%d letters", len(letters))
		}
		return nil
	})
	request := k.Namespace().Subject(event.ReplaySubject("test-received"))
	answer, err := k.JetStream().Conn().RequestWithContext(k.Context(), request, []byte(strconv.FormatUint(seq, 10)))
	if err != nil {
		t.Fatal(err)
	}
	e.conforms(answer, e.schema("replayed", "payload").Validate(parse(t, answer.Data)))
	if !strings.Contains(string(answer.Data), `"code":"broken"`) {
		t.Errorf("replayed: %s", answer.Data)
	}
	e.waits("received", "dead", "replay")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestADocumentThatForgetsAMemberIsNoticed(t *testing.T) {
	t.Parallel()
	d := read(t)
	schema := d.schema("canceled", "payload")
	for text, right := range map[string]bool{
		`{"job_id":"01890a5d-ac96-774b-bcce-b302099a8057"}`: true, `{"job_id":"01890a5d-ac96-774b-bcce-b302099a8057","why":"x"}`: false,
		`{"job_id":"7"}`: false, `{}`: false,
	} {
		if err := schema.Validate(parse(t, []byte(text))); (err == nil) != right {
			t.Errorf("%s: %v", text, err)
		}
	}
}
