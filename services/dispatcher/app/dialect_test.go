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

// refusals are those that were told of a job.
func (r *rig) refusals(job string) (all []event.Refused) {
	r.t.Helper()
	for _, m := range r.Letters(event.Jobs()) {
		if m.Subject == event.Subject(event.Refused{JobID: job}) {
			var one event.Refused
			must(r.t, json.Unmarshal(m.Data, &one))
			all = append(all, one)
		}
	}
	return all
}

func TestACallbackInEveryDialectEndsItsJob(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
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
			zipped.String(), []string{"Content-Encoding", "gzip"},
			event.Completed{Result: []byte(`{"a":null}`), Warnings: []string{event.WarningNonFinite}},
		},
		"a form": {
			`status=completed&analysis_results=%7B%22a%22%3A1%7D`, []string{"Content-Type", "application/x-www-form-urlencoded"},
			event.Completed{Result: []byte(`{"a":1}`)},
		},
		"no results": {body: `{"status":"completed"}`, want: event.Completed{Result: []byte(`{}`), Warnings: []string{event.WarningNoResults}}},
	} {
		job, hook := r.dispatched()
		if got := r.call(hook, c.body, c.headers...); got.code != http.StatusOK {
			t.Errorf("%s: %+v", name, got)
		}
		got := testkit.Await[event.Completed](r.Kit, r.bus, job)
		if string(got.Result) != string(c.want.Result) || !slices.Equal(got.Warnings, c.want.Warnings) {
			t.Errorf("%s: %+v, result %s", name, got, got.Result)
		}
	}
}

func TestARefusedCallbackIsToldWithItsReason(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(map[string]string{"MAX_WEBHOOK_BYTES": "1000"})
	for body, want := range map[string]event.Refused{
		`{"analysis_results":`:                  {Code: "malformed-json", Outcome: true},
		`{"status":"exploded"}`:                 {Code: "validation-failed", Outcome: true},
		strings.Repeat(" ", 1001):               {Code: "too-large", Outcome: true},
		`{"status":"running","progress":"lot"}`: {Code: "validation-failed"},
	} {
		job, hook := r.dispatched()
		if got := r.call(hook, body); got.code < 400 || got.code >= 500 {
			t.Errorf("%.40s: %+v", body, got)
		}
		told := r.refusals(job)
		if len(told) != 1 || told[0].Code != want.Code || told[0].Outcome != want.Outcome || told[0].Attempt != 1 || told[0].Detail == "" || told[0].At.IsZero() {
			t.Errorf("%.40s: told %+v", body, told)
		}
		if got := r.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK {
			t.Errorf("after %.40s: %+v", body, got)
		}
		r.call(hook, body) // the job has ended
		if again := r.refusals(job); len(again) != 1 {
			t.Errorf("%.40s: told of an ended job: %+v", body, again)
		}
	}
	if !strings.Contains(r.Logged(), "callback refused") {
		t.Error("the log tells of no refusal")
	}
}

func TestAServerWhoseLastWordWasRefusedIsAskedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.analyzer.status = func(int) string { return `{"status":"completed","result":{"asked":true}}` }
	r.run(map[string]string{"ANALYSIS_STATUS_URL": r.analyzer.URL + "/status/{job_id}", "ANALYSIS_POLL_INTERVAL": "1h"})
	job, hook := r.dispatched()
	if got := r.call(hook, `{"analysis_results":{"a":1},}`); got.code != http.StatusBadRequest {
		t.Errorf("%+v", got)
	}
	if c := testkit.Await[event.Completed](r.Kit, r.bus, job); string(c.Result) != `{"asked":true}` || c.Attempt != 1 {
		t.Errorf("%+v", c)
	}
}

func TestACallbackThatCannotBeRecordedAtOnceIsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	nats := r.Proxy(r.Settings(nil)["NATS_URL"])
	r.run(map[string]string{"NATS_URL": nats.URL})
	job, hook := r.dispatched()
	nats.Cut()
	type answer struct {
		reply
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		got, err := r.post(hook, `{"analysis_results":{"a":1}}`)
		answered <- answer{got, err}
	}()
	select {
	case a := <-answered:
		t.Errorf("answered while the bus is away: %+v", a)
	case <-time.After(time.Second): // a while that the bus is away
	}
	nats.Mend()
	if a := <-answered; a.err != nil || a.code != http.StatusOK {
		t.Errorf("%+v", a)
	}
	testkit.Await[event.Completed](r.Kit, r.bus, job)
}
