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

func TestARequestHasTheFieldsAndHeadersOfTheContract(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s := env.recording()
	env.put("ref/7 소리.TextGrid", "grid")
	env.put("ref/7.json", "pitch")
	s.TextGridURL, s.PitchURL = "s3://"+env.bucket+"/ref/7 소리.TextGrid", "ref/7.json"
	const parent = "0af7651916cd43dd8448eb211c80319c"
	ctx := trace.Continue(env.Context(), "00-"+parent+"-b7ad6b7169203331-01")
	log, err := env.jobs.Read(ctx, s.JobID)
	must(t, err)
	_, err = env.jobs.Append(ctx, s, log.Seq())
	must(t, err)
	env.run(nil)
	testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)

	got := env.analyzer.requestsOf(s.JobID)[0]
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
	if names := env.EventNames(env.bus, s.JobID); !slices.Equal(names, []event.Name{event.NameReceived, event.NameStored, event.NameAttempted, event.NameDispatched}) {
		t.Errorf("log %v", names)
	}
}

func TestTheOtherFormatAndStyle(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s := env.recording()
	s.PitchURL = "https://s3.us-east-1.amazonaws.com/elsewhere/7.json"
	env.append(s)
	env.run(map[string]string{
		"ANALYSIS_REQUEST_FORMAT": "json", "ANALYSIS_URL_STYLE": "s3", "REFERENCE_PREFIXES": "s3://elsewhere/",
	})
	testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
	got := env.analyzer.requestsOf(s.JobID)[0]
	var fields map[string]string
	must(t, json.Unmarshal(got.body, &fields))
	hook := fields["webhook_url"]
	delete(fields, "webhook_url")
	if want := map[string]string{
		"job_id": s.JobID, "video_id": "7", "s3_audio_url": "s3://" + env.bucket + "/" + s.Key, "s3_pitch_url": "s3://elsewhere/7.json",
	}; !maps.Equal(fields, want) || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("fields %v, want %v", fields, want)
	}
	if answer := env.call(hook, `{"analysis_results":{}}`); answer.code != http.StatusOK {
		t.Errorf("the webhook answers %+v", answer)
	}
}

func TestAURLThatReferencesMayNameIsSentAsItIs(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s := env.recording()
	s.TextGridURL = "https://example.com/7.TextGrid?x=1"
	env.append(s)
	env.run(map[string]string{"REFERENCE_PREFIXES": "https://example.com/"})
	testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
	if got := env.analyzer.requestsOf(s.JobID)[0]; got.field("s3_textgrid_url") != s.TextGridURL || strings.Contains(string(got.body), "s3_pitch_url") {
		t.Errorf("%s", got.body)
	}
}

func TestAReferenceThatCannotExistFailsItsJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s := env.recording()
	s.TextGridURL = "s3://No_Such..Bucket/7.TextGrid"
	env.append(s)
	env.run(map[string]string{"REFERENCE_PREFIXES": "s3://No_Such..Bucket/"})
	if failed := testkit.Await[event.Failed](env.Kit, env.bus, s.JobID); failed.Code != "reference-invalid" || failed.Detail == "" {
		t.Errorf("%+v", failed)
	}
}

// A token may have references that were set before they were checked, or that the gateway allowed
// with other settings. The dispatcher must never ask the analysis server to read another owner's
// recording or a URL in a private network.
func TestAReferenceThatIsNotAllowedIsNeverSent(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	refused := map[string]string{ // key: reference; value: code of the failure
		"http://169.254.169.254/latest/meta-data": "reference-foreign", "http://127.0.0.1:5432/": "reference-foreign",
		"s3://another/7.json": "reference-not-allowed", env.recording().Key: "reference-not-allowed",
	}
	jobs := map[string]string{}
	for ref, code := range refused {
		s := env.recording()
		s.PitchURL = ref
		env.append(s)
		jobs[s.JobID] = code
	}
	env.run(nil)
	for job, code := range jobs {
		if failed := testkit.Await[event.Failed](env.Kit, env.bus, job); failed.Code != code || failed.Retryable {
			t.Errorf("%+v, want %s", failed, code)
		}
		if requests := env.analyzer.requestsOf(job); len(requests) > 0 {
			t.Errorf("the analysis server was asked %d times", len(requests))
		}
	}
}

func TestPresignedURLsNameThePublicEndpoint(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	outside := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	s := env.store()
	env.run(map[string]string{"S3_PUBLIC_ENDPOINT": outside.URL, "S3_ENDPOINT": "http://127.0.0.1:1"})
	testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
	link := env.analyzer.requestsOf(s.JobID)[0].field("s3_audio_url")
	if !strings.HasPrefix(link, outside.URL+"/") || fetch(t, link) != content {
		t.Errorf("link %s", link)
	}
}

func TestAnyAnswerOf2xxIsAcceptance(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
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
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}
		s := env.store()
		if d := testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID); d.Attempt != 1 || d.AnalysisJobID != c.analysisID {
			t.Errorf("%d %.80s: %+v", c.status, c.body, d)
		}
		env.Settled(consumer)
	}
}

func TestAfterACrashTheSameAttemptIsSentAgain(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s := env.store()
	env.append(event.Attempted{JobID: s.JobID, Attempt: 1}) // as if the dispatcher had crashed before or after the request
	env.run(nil)
	testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
	env.Settled(consumer)
	if n := env.count(event.SubjectOf(s.JobID, event.NameAttempted)); n != 1 {
		t.Errorf("attempted %d times", n)
	}
	if got := env.analyzer.requestsOf(s.JobID); len(got) != 1 || got[0].header.Get("Idempotency-Key") != s.JobID+".1" {
		t.Errorf("%d requests", len(got))
	}
}

func TestHandlingEveryEventAgainSendsNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	running := env.store()
	done := env.store()
	env.run(nil)
	env.Settled(consumer)
	hook := env.analyzer.requestsOf(done.JobID)[0].field("webhook_url")
	if got := env.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	canceled := env.recording()
	env.append(event.Canceled{JobID: canceled.JobID})
	env.handleAgain(consumer)
	if n := len(env.analyzer.requestsOf(running.JobID)) + len(env.analyzer.requestsOf(done.JobID)) + len(env.analyzer.requestsOf(canceled.JobID)); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestNothingIsRequestedForAJobThatHasEnded(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s := env.store()
	env.append(event.Canceled{JobID: s.JobID})
	env.run(nil)
	env.Settled(consumer)
	if n := len(env.analyzer.requestsOf(s.JobID)); n != 0 {
		t.Errorf("%d requests", n)
	}
	if names := env.EventNames(env.bus, s.JobID); names[len(names)-1] != event.NameCanceled || len(names) != 3 {
		t.Errorf("log %v", names)
	}
}

func TestTwoReplicasSendOneRequestForEachJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	env.run(nil)
	var jobs []string
	for range 30 {
		jobs = append(jobs, env.store().JobID)
	}
	env.Settled(consumer)
	for _, job := range jobs {
		if n := len(env.analyzer.requestsOf(job)); n != 1 {
			t.Errorf("%d requests", n)
		}
		if names := env.EventNames(env.bus, job); len(names) != 4 {
			t.Errorf("log %v", names)
		}
	}
}

func TestAnEventThatCannotBeReadFailsItsJobAndBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	job := env.NewJob()
	env.append(event.Received{JobID: job})
	_, err := env.JetStream().PublishMsg(env.Context(), &nats.Msg{
		Subject: env.Namespace().Subject(event.SubjectOf(job, event.NameStored)), Data: []byte(`{"job_id":7}`),
	})
	must(t, err)
	env.run(nil)
	if failed := testkit.Await[event.Failed](env.Kit, env.bus, job); failed.Code != "unreadable-event" {
		t.Errorf("%+v", failed)
	}
	env.Settled(consumer)
	if dead := env.Messages(event.Dead()); len(dead) != 1 || dead[0].Subject != event.DeadSubject(consumer) {
		t.Errorf("dead letters %+v", dead)
	}
}
