package app_test

import (
	"bytes"
	"compress/zlib"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestAnAnswerWithTheResultsIsTheOutcome(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	large := `{"a":"` + strings.Repeat("x", 200_000) + `"}`
	env.run(nil)
	for body, want := range map[string]string{
		`{"status":"completed","analysis_results":{"a":1}}`: `{"a":1}`,
		`{"result":[1,2],"job_id":"x"}`:                     `[1,2]`,
		`{"status":"ok","result":` + large + `}`:            large,
	} {
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) { _, _ = w.Write([]byte(body)) }
		s := env.store()
		if c := testkit.Await[event.Completed](env.Kit, env.bus, s.JobID); string(c.Result) != want || c.Attempt != 1 {
			t.Errorf("%.80s: %.80s", body, c.Result)
		}
	}
	for body, want := range map[string]event.Failed{
		`{"status":"error","error":"no speech","code":"no-speech","retryable":false}`: {Code: "no-speech", Detail: "no speech"},
		`{"error":"no speech"}`:                             {Code: event.CodeAnalysisFailed, Retryable: true, Detail: "no speech"},
		`{"success":false,"message":"no speech"}`:           {Code: event.CodeAnalysisFailed, Retryable: true, Detail: "no speech"},
		`{"success":false,"result":{},"error":"no speech"}`: {Code: event.CodeAnalysisFailed, Retryable: true, Detail: "no speech"},
		`{"success":false,"error":{"m":"no speech"}}`:       {Code: event.CodeAnalysisFailed, Retryable: true, Detail: `{"m":"no speech"}`},
	} {
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) { _, _ = w.Write([]byte(body)) }
		f := testkit.Await[event.Failed](env.Kit, env.bus, env.store().JobID)
		if f.Code != want.Code || f.Retryable != want.Retryable || f.Detail != want.Detail {
			t.Errorf("%s: %+v", body, f)
		}
	}
}

func TestAnAnswerInAnyFormIsTheOutcome(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	var deflated bytes.Buffer
	z := zlib.NewWriter(&deflated)
	_, err := io.WriteString(z, `{"result":{"a":1}}`)
	must(t, err)
	must(t, z.Close())
	for name, c := range map[string]struct{ body, header, value, want string }{
		"deflate":          {deflated.String(), "Content-Encoding", "deflate", `{"a":1}`},
		"UTF-16":           {"\xff\xfe" + strings.Join(strings.Split(`{"result":{"a":1}}`, ""), "\x00") + "\x00", "Content-Type", "application/json", `{"a":1}`},
		"a form":           {`status=ok&result=%7B%22a%22%3A1%7D`, "Content-Type", "application/x-www-form-urlencoded", `{"a":1}`},
		"JSON in a string": {`"{\"result\":{\"a\":1}}"`, "Content-Type", "application/json", `{"a":1}`},
		"an array of one":  {`[{"status":"completed","result":{"a":1}}]`, "Content-Type", "application/json", `{"a":1}`},
		"lines":            {"{\"status\":\"running\"}\n{\"status\":\"completed\",\"result\":{\"a\":1}}\n", "Content-Type", "application/x-ndjson", `{"a":1}`},
		"events":           {"data: {\"status\":\"running\"}\n\ndata: {\"result\":{\"a\":1}}\n\n", "Content-Type", "text/event-stream", `{"a":1}`},
		"a string of JSON": {`{"status":"completed","result":"{\"a\":1}"}`, "Content-Type", "application/json", `"{\"a\":1}"`},
	} {
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
			w.Header().Set(c.header, c.value)
			_, _ = w.Write([]byte(c.body))
		}
		if got := testkit.Await[event.Completed](env.Kit, env.bus, env.store().JobID); string(got.Result) != c.want {
			t.Errorf("%s: %s", name, got.Result)
		}
	}
}

// An answer that cannot be read may have been the outcome of the analysis, so the job must not wait
// for the deadline.
func TestAnAnswerThatCannotBeReadIsPublishedAsRefusedAndPolledAtOnce(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.status = func(int) string { return `{"status":"completed","result":{"polled":true}}` }
	settings := env.polling("1h")
	settings["MAX_WEBHOOK_BYTES"] = "1000"
	env.run(settings)
	env.statusSeen(settings["ANALYSIS_STATUS_URL"])
	for code, body := range map[string]string{
		"malformed-json": `{"status":"completed","result":{"a":1},}`,
		"too-large":      `{"result":{"a":"` + strings.Repeat("x", 1000) + `"}}`,
		"body-truncated": `{"status":"completed","result":{"a":`,
	} {
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
			if code == "body-truncated" {
				w.Header().Set("Content-Length", "100")
			}
			_, _ = w.Write([]byte(body))
		}
		s := env.store()
		if c := testkit.Await[event.Completed](env.Kit, env.bus, s.JobID); string(c.Result) != `{"polled":true}` || c.Attempt != 1 {
			t.Errorf("%s: %+v", code, c)
		}
		if refusals := env.refusals(s.JobID); len(refusals) != 1 || refusals[0].Code != code || !refusals[0].Outcome || refusals[0].Attempt != 1 {
			t.Errorf("%s: published %+v", code, refusals)
		}
	}
}

func TestAnAnswerThatOnlyAcceptsIsNoOutcome(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for _, body := range []string{
		`{"status":"success"}`, `{"status":"ok","result":"queued"}`, `{"status":"completed"}`, `{"error":""}`, `{"error":false,"job_id":"x"}`, `{"error":"slow disk","job_id":"x"}`, `{"success":true,"error":{}}`,
		`{"status":"processing","result":{}}`, `{"result":null}`, `{"job_id":"x","state":"PENDING","result":{}}`, "OK", "",
	} {
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) { _, _ = w.Write([]byte(body)) }
		s := env.store()
		testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID)
		env.Settled(consumer)
		if names := env.EventNames(env.bus, s.JobID); names[len(names)-1] != event.NameDispatched {
			t.Errorf("%s: log %v", body, names)
		}
	}
}

func TestAServerThatAnswersWhenItHasFinishedGetsOneRequest(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	release := make(chan struct{})
	env.analyzer.answer = func(http.ResponseWriter, request, int) { <-release }
	env.run(map[string]string{"ANALYSIS_REQUEST_TIMEOUT": "300ms", "ANALYSIS_BREAKER_FAILURES": "100"})
	s := env.store()
	if d := testkit.Await[event.Dispatched](env.Kit, env.bus, s.JobID); !d.Unanswered || d.Attempt != 1 {
		t.Errorf("%+v", d)
	}
	env.Settled(consumer)
	requests := env.analyzer.requestsOf(s.JobID)
	if len(requests) != 1 {
		t.Errorf("%d requests", len(requests))
	}
	if got := env.call(requests[0].field("webhook_url"), `{"analysis_results":{"a":1}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	close(release)
	testkit.Await[event.Completed](env.Kit, env.bus, s.JobID)
	want := []event.Name{event.NameReceived, event.NameStored, event.NameAttempted, event.NameDispatched, event.NameCompleted}
	if names := env.EventNames(env.bus, s.JobID); !slices.Equal(names, want) {
		t.Errorf("log %v", names)
	}
}

func TestARejectionOfAPresignedURLSaysWhatToTry(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for body, hint := range map[string]bool{
		`{"detail":"Invalid S3 URL format"}`:                                   true,
		`{"detail":[{"loc":["body","s3_audio_url"],"msg":"must be s3://"}]}`:   true,
		`{"error":"unsupported scheme https, expected s3://bucket/key"}`:       true,
		`{"message":"Not a valid bucket"}`:                                     true,
		`{"error":"no speech"}`:                                                false,
		`{"error":"Invalid S3 URL","code":"no-speech"}`:                        false,
		`{"detail":"The recording is too short to be measured","retryable":1}`: false,
	} {
		env.analyzer.answer = func(w http.ResponseWriter, _ request, _ int) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(body))
		}
		s := env.store()
		if f := testkit.Await[event.Failed](env.Kit, env.bus, s.JobID); strings.Contains(f.Detail, "ANALYSIS_URL_STYLE=s3") != hint {
			t.Errorf("%s: %s", body, f.Detail)
		}
	}
	if !strings.Contains(env.Logged(), "ANALYSIS_URL_STYLE=s3") {
		t.Error("the log does not say what to try")
	}
	shownNoSecret(t, env)
}
