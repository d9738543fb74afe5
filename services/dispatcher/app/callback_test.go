package app_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// refusals returns the refused events of a job.
func (env *env) refusals(job string) (all []event.Refused) {
	env.t.Helper()
	for _, m := range env.Messages(event.Jobs()) {
		if m.Subject == event.Subject(event.Refused{JobID: job}) {
			var one event.Refused
			must(env.t, json.Unmarshal(m.Data, &one))
			all = append(all, one)
		}
	}
	return all
}

func TestACallbackInEveryFormEndsItsJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	_, err := z.Write([]byte(`{"status":"SUCCESS","result":{"a":NaN}}`))
	must(t, err)
	must(t, z.Close())
	for name, c := range map[string]struct {
		body    string
		headers []string
		want    event.Completed
	}{
		"a byte order mark": {body: "\xef\xbb\xbf{\"analysis_results\":{\"a\":1}}", want: event.Completed{Result: []byte(`{"a":1}`)}},
		"gzip and NaN": {
			compressed.String(), []string{"Content-Encoding", "gzip"},
			event.Completed{Result: []byte(`{"a":null}`), Warnings: []string{event.WarningNonFinite}},
		},
		"a form": {
			`status=completed&analysis_results=%7B%22a%22%3A1%7D`, []string{"Content-Type", "application/x-www-form-urlencoded"},
			event.Completed{Result: []byte(`{"a":1}`)},
		},
		"no results": {body: `{"status":"completed"}`, want: event.Completed{Result: []byte(`{}`), Warnings: []string{event.WarningNoResults}}},
	} {
		job, hook := env.dispatched()
		if got := env.call(hook, c.body, c.headers...); got.code != http.StatusOK {
			t.Errorf("%s: %+v", name, got)
		}
		got := testkit.Await[event.Completed](env.Kit, env.bus, job)
		if string(got.Result) != string(c.want.Result) || !slices.Equal(got.Warnings, c.want.Warnings) {
			t.Errorf("%s: %+v, result %s", name, got, got.Result)
		}
	}
}

func TestARefusedCallbackIsPublishedWithItsReason(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(map[string]string{"MAX_WEBHOOK_BYTES": "1000"})
	for body, want := range map[string]event.Refused{
		`{"analysis_results":`:                  {Code: "malformed-json", Outcome: true},
		`{"status":"exploded"}`:                 {Code: "validation-failed", Outcome: true},
		strings.Repeat(" ", 1001):               {Code: "too-large", Outcome: true},
		`{"status":"running","progress":"lot"}`: {Code: "validation-failed"},
	} {
		job, hook := env.dispatched()
		if got := env.call(hook, body); got.code < 400 || got.code >= 500 {
			t.Errorf("%.40s: %+v", body, got)
		}
		refusals := env.refusals(job)
		if len(refusals) != 1 || refusals[0].Code != want.Code || refusals[0].Outcome != want.Outcome || refusals[0].Attempt != 1 || refusals[0].Detail == "" || refusals[0].At.IsZero() {
			t.Errorf("%.40s: published %+v", body, refusals)
		}
		if got := env.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK {
			t.Errorf("after %.40s: %+v", body, got)
		}
		env.call(hook, body) // the job has ended, so this refusal must not be published
		if again := env.refusals(job); len(again) != 1 {
			t.Errorf("%.40s: published for an ended job: %+v", body, again)
		}
	}
	if !strings.Contains(env.Logged(), "callback refused") {
		t.Error("no refusal is logged")
	}
}

func TestAnAttemptWhoseOutcomeWasRefusedIsPolledAtOnce(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.analyzer.status = func(int) string { return `{"status":"completed","result":{"polled":true}}` }
	env.run(map[string]string{"ANALYSIS_STATUS_URL": env.analyzer.URL + "/status/{job_id}", "ANALYSIS_POLL_INTERVAL": "1h"})
	job, hook := env.dispatched()
	if got := env.call(hook, `{"analysis_results":{"a":1},}`); got.code != http.StatusBadRequest {
		t.Errorf("%+v", got)
	}
	if c := testkit.Await[event.Completed](env.Kit, env.bus, job); string(c.Result) != `{"polled":true}` || c.Attempt != 1 {
		t.Errorf("%+v", c)
	}
}

func TestACallbackThatCannotBeRecordedAtOnceIsRetried(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	nats := env.Proxy(env.Settings(nil)["NATS_URL"])
	env.run(map[string]string{"NATS_URL": nats.URL})
	job, hook := env.dispatched()
	nats.Cut()
	type answer struct {
		reply
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		got, err := env.post(hook, `{"analysis_results":{"a":1}}`)
		answered <- answer{got, err}
	}()
	select {
	case a := <-answered:
		t.Errorf("answered while NATS is unavailable: %+v", a)
	case <-time.After(time.Second): // the callback must not be answered while NATS is unavailable
	}
	nats.Restore()
	if a := <-answered; a.err != nil || a.code != http.StatusOK {
		t.Errorf("%+v", a)
	}
	testkit.Await[event.Completed](env.Kit, env.bus, job)
}
