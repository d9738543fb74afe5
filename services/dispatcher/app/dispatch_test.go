package app_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
	"sori.internal/shared/trace"
)

func keys(v url.Values) []string { return slices.Sorted(maps.Keys(v)) }

func TestTheServerIsAskedWithTheFieldsAndHeadersThatItKnows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.recording()
	r.put("ref/7 소리.TextGrid", "grid")
	r.put("ref/7.json", "pitch")
	s.TextGridURL, s.PitchURL = "s3://"+r.bucket+"/ref/7 소리.TextGrid", "ref/7.json"
	const parent = "0af7651916cd43dd8448eb211c80319c"
	ctx := trace.Continue(r.Context(), "00-"+parent+"-b7ad6b7169203331-01")
	log, err := r.bus.Log(ctx, s.JobID)
	must(t, err)
	_, err = r.bus.Append(ctx, s, log.Seq())
	must(t, err)
	r.run(nil)
	testkit.Await[event.Dispatched](r.Kit, r.bus, s.JobID)

	got := r.analyzer.of(s.JobID)[0]
	form, err := url.ParseQuery(string(got.body))
	must(t, err)
	if want := []string{"job_id", "s3_audio_url", "s3_pitch_url", "s3_textgrid_url", "video_id", "webhook_url"}; !slices.Equal(keys(form), want) {
		t.Errorf("fields %v", keys(form))
	}
	if form.Get("job_id") != s.JobID || form.Get("video_id") != "7" {
		t.Errorf("form %v", form)
	}
	for name, want := range map[string]string{"s3_audio_url": content, "s3_textgrid_url": "grid", "s3_pitch_url": "pitch"} {
		if body := fetch(t, form.Get(name)); body != want {
			t.Errorf("%s leads to %q", name, body)
		}
	}
	hook, err := url.Parse(form.Get("webhook_url"))
	must(t, err)
	if q := hook.Query(); !strings.HasPrefix(hook.String(), public+"?") || q.Get("job_id") != s.JobID || q.Get("attempt") != "1" || q.Get("sig") == "" {
		t.Errorf("webhook %s", hook)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": s.JobID + ".1", "Traceparent": "00-" + parent, "User-Agent": "sori/",
	} {
		if value := got.header.Get(name); !strings.HasPrefix(value, want) {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	if story := r.Story(r.bus, s.JobID); !slices.Equal(story, []event.Name{event.NameReceived, event.NameStored, event.NameAttempted, event.NameDispatched}) {
		t.Errorf("story %v", story)
	}
}

func TestTheOtherFormatAndStyle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.recording()
	s.PitchURL = "https://s3.us-east-1.amazonaws.com/elsewhere/7.json"
	r.append(s)
	r.run(map[string]string{"ANALYSIS_REQUEST_FORMAT": "json", "ANALYSIS_URL_STYLE": "s3"})
	testkit.Await[event.Dispatched](r.Kit, r.bus, s.JobID)
	got := r.analyzer.of(s.JobID)[0]
	var fields map[string]string
	must(t, json.Unmarshal(got.body, &fields))
	hook := fields["webhook_url"]
	delete(fields, "webhook_url")
	if want := map[string]string{
		"job_id": s.JobID, "video_id": "7", "s3_audio_url": "s3://" + r.bucket + "/" + s.Key, "s3_pitch_url": "s3://elsewhere/7.json",
	}; !maps.Equal(fields, want) || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("fields %v, want %v", fields, want)
	}
	if answer := r.call(hook, `{"analysis_results":{}}`); answer.code != http.StatusOK {
		t.Errorf("the webhook answers %+v", answer)
	}
}

func TestAReferenceThatIsNoObjectOfOursIsPassedOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.recording()
	s.TextGridURL = "https://example.com/7.TextGrid?x=1"
	r.append(s)
	r.run(nil)
	testkit.Await[event.Dispatched](r.Kit, r.bus, s.JobID)
	if got := r.analyzer.of(s.JobID)[0]; got.field("s3_textgrid_url") != s.TextGridURL || strings.Contains(string(got.body), "s3_pitch_url") {
		t.Errorf("%s", got.body)
	}
}

func TestAReferenceThatCannotExistFailsItsJob(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.recording()
	s.TextGridURL = "s3://No_Such..Bucket/7.TextGrid"
	r.append(s)
	r.run(nil)
	if failed := testkit.Await[event.Failed](r.Kit, r.bus, s.JobID); failed.Code != "reference-invalid" || failed.Detail == "" {
		t.Errorf("%+v", failed)
	}
}

func TestPresignedURLsNameThePublicEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	outside := r.Proxy(r.Settings(nil)["S3_ENDPOINT"])
	s := r.store()
	r.run(map[string]string{"S3_PUBLIC_ENDPOINT": outside.URL, "S3_ENDPOINT": "http://127.0.0.1:1"})
	testkit.Await[event.Dispatched](r.Kit, r.bus, s.JobID)
	link := r.analyzer.of(s.JobID)[0].field("s3_audio_url")
	if !strings.HasPrefix(link, outside.URL+"/") || fetch(t, link) != content {
		t.Errorf("link %s", link)
	}
}

func TestAnyAnswerOf2xxIsAcceptance(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	for _, c := range []struct {
		status           int
		body, analysisID string
	}{
		{http.StatusOK, `{"job_id":"srv-1","x":2}`, "srv-1"},
		{http.StatusAccepted, `{"job_id":12345678901234567890}`, "12345678901234567890"},
		{http.StatusCreated, `{"job_id":null}`, ""},
		{http.StatusOK, `{"job_id":{"a":1}}`, ""},
		{http.StatusOK, `{"job_id":"a\u0000b"}`, ""},
		{http.StatusOK, `{"job_id":"` + strings.Repeat("x", 5000) + `"}`, ""},
		{http.StatusAccepted, `<html><body>accepted</body></html>`, ""},
		{http.StatusOK, `[1]`, ""},
		{http.StatusNoContent, "", ""},
	} {
		r.analyzer.answer = func(w http.ResponseWriter, _ asked, _ int) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}
		s := r.store()
		if d := testkit.Await[event.Dispatched](r.Kit, r.bus, s.JobID); d.Attempt != 1 || d.AnalysisJobID != c.analysisID {
			t.Errorf("%d %.80s: %+v", c.status, c.body, d)
		}
		r.Settled(consumer)
	}
}

func TestARepetitionAfterACrashKeepsTheAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.store()
	r.append(event.Attempted{JobID: s.JobID, Attempt: 1}) // then it crashed, before or after the request
	r.run(nil)
	testkit.Await[event.Dispatched](r.Kit, r.bus, s.JobID)
	r.Settled(consumer)
	if n := r.count(event.SubjectOf(s.JobID, event.NameAttempted)); n != 1 {
		t.Errorf("attempted %d times", n)
	}
	if got := r.analyzer.of(s.JobID); len(got) != 1 || got[0].header.Get("Idempotency-Key") != s.JobID+".1" {
		t.Errorf("asked %d times", len(got))
	}
}

func TestAReplayOfTheWholeLogAsksNobodyAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	open := r.store()
	done := r.store()
	r.run(nil)
	r.Settled(consumer)
	hook := r.analyzer.of(done.JobID)[0].field("webhook_url")
	if got := r.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	canceled := r.recording()
	r.append(event.Canceled{JobID: canceled.JobID})
	letters := len(r.Letters(event.Jobs()))
	must(t, r.JetStream().DeleteConsumer(r.Context(), r.Namespace().Stream(event.Jobs().Name), consumer))
	r.Settled(consumer)
	if n := len(r.analyzer.of(open.JobID)) + len(r.analyzer.of(done.JobID)) + len(r.analyzer.of(canceled.JobID)); n != 2 {
		t.Errorf("%d requests", n)
	}
	if now := len(r.Letters(event.Jobs())); now != letters {
		t.Errorf("%d messages became %d", letters, now)
	}
}

func TestAJobThatEndedBeforeItWasDispatchedIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.store()
	r.append(event.Canceled{JobID: s.JobID})
	r.run(nil)
	r.Settled(consumer)
	if n := len(r.analyzer.of(s.JobID)); n != 0 {
		t.Errorf("asked %d times", n)
	}
	if story := r.Story(r.bus, s.JobID); story[len(story)-1] != event.NameCanceled || len(story) != 3 {
		t.Errorf("story %v", story)
	}
}

func TestTwoCopiesAskOnceForEachJob(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	r.run(nil)
	var jobs []string
	for range 30 {
		jobs = append(jobs, r.store().JobID)
	}
	r.Settled(consumer)
	for _, job := range jobs {
		if n := len(r.analyzer.of(job)); n != 1 {
			t.Errorf("asked %d times", n)
		}
		if story := r.Story(r.bus, job); len(story) != 4 {
			t.Errorf("story %v", story)
		}
	}
}

func TestAnEventThatCannotBeReadFailsItsJobAndIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.NewJob()
	r.append(event.Received{JobID: job})
	_, err := r.JetStream().PublishMsg(r.Context(), &nats.Msg{
		Subject: r.Namespace().Subject(event.SubjectOf(job, event.NameStored)), Data: []byte(`{"job_id":7}`),
	})
	must(t, err)
	r.run(nil)
	if failed := testkit.Await[event.Failed](r.Kit, r.bus, job); failed.Code != "unreadable-event" {
		t.Errorf("%+v", failed)
	}
	r.Settled(consumer)
	if dead := r.Letters(event.Dead()); len(dead) != 1 || dead[0].Subject != event.DeadSubject(consumer) {
		t.Errorf("dead letters %+v", dead)
	}
}
