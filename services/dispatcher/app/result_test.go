package app_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// large returns a result that does not fit into half a message.
func large(env *env) string { return `{"f0":"` + strings.Repeat("x", int(env.bus.MaxPayload())) + `"}` }

func (env *env) entries() []string {
	env.t.Helper()
	staged, err := env.staging.Entries(env.Context())
	must(env.t, err)
	return slices.Sorted(maps.Keys(staged))
}

// resultOf reads a job's result from the event `completed` or from staging.
func (env *env) resultOf(job string) string {
	env.t.Helper()
	c := testkit.Await[event.Completed](env.Kit, env.bus, job)
	if c.ResultEntry == "" {
		return string(c.Result)
	}
	if len(c.Result) > 0 {
		env.t.Error("the event has the result and a reference")
	}
	body, err := env.staging.Open(env.Context(), event.Staged{Entry: c.ResultEntry, Chunks: c.ResultChunks})
	must(env.t, err)
	raw, err := io.ReadAll(body)
	must(env.t, err)
	return string(raw)
}

func TestALargeResultIsStagedAndReferenced(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for name, result := range map[string]string{
		"large":                    large(env),
		"large once it is encoded": `{"a":"` + strings.Repeat("<", int(env.bus.MaxPayload())/3) + `"}`,
	} {
		job, hook := env.dispatched()
		if got := env.call(hook, `{"analysis_results":`+result+`}`); got.code != http.StatusOK {
			t.Errorf("%s: %+v", name, got)
		}
		if env.resultOf(job) != result {
			t.Errorf("%s comes back different", name)
		}
		entry := testkit.Await[event.Completed](env.Kit, env.bus, job).ResultEntry
		if owner, _, ok := event.ParseEntry(entry); !ok || owner != job {
			t.Errorf("%s: entry %q", name, entry)
		}
	}
}

func TestAResultThatDoesNotCountLeavesNothingStaged(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	job, hook := env.dispatched()
	body := `{"analysis_results":` + large(env) + `}`
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if got, err := env.post(hook, body); err != nil || got.code != http.StatusOK {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	wg.Wait()
	entry := testkit.Await[event.Completed](env.Kit, env.bus, job).ResultEntry
	if left := env.entries(); !slices.Equal(left, []string{entry}) {
		t.Errorf("staged %v, completed with %s", left, entry)
	}
	canceled, hook := env.dispatched()
	env.append(event.Canceled{JobID: canceled})
	if got := env.call(hook, body); got.code != http.StatusOK || got.body["message"] == nil {
		t.Errorf("%+v", got)
	}
	stale, hook := env.dispatched()
	env.append(event.Attempted{JobID: stale, Attempt: 2})
	if got := env.call(hook, body); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if left := env.entries(); !slices.Equal(left, []string{entry}) {
		t.Errorf("staged %v, completed with %s", left, entry)
	}
}

func TestACallbackThatCannotBeStoredMayBeRepeated(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	bus := env.Proxy(env.Settings(nil)["NATS_URL"])
	i := env.run(map[string]string{"NATS_URL": bus.URL})
	small, smallHook := env.dispatched()
	big, bigHook := env.dispatched()
	result := large(env)
	bus.Cut()
	readiness(t, i.URL, http.StatusServiceUnavailable)
	for hook, body := range map[string]string{
		smallHook: `{"analysis_results":{}}`, bigHook: `{"analysis_results":` + result + `}`,
		changed(t, smallHook, "x", "1"): `{"status":"processing","progress":3}`,
	} {
		if got := env.call(hook, body); got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("while NATS is unavailable: %+v", got)
		}
	}
	bus.Restore()
	readiness(t, i.URL, http.StatusOK)
	for job, c := range map[string][2]string{small: {smallHook, `{}`}, big: {bigHook, result}} {
		if got := env.call(c[0], `{"analysis_results":`+c[1]+`}`); got.code != http.StatusOK {
			t.Errorf("%+v", got)
		}
		if env.resultOf(job) != c[1] {
			t.Error("the result differs")
		}
	}
}

func TestACallbackOfAJobWithoutALogIsNotFound(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	secret := env.Settings(nil)["WEBHOOK_SECRET"]
	options := analysis.SignerOptions{Secrets: []string{secret}, Valid: time.Hour, Now: time.Now}
	hook := analysis.NewSigner(parsed(t, public), options).URL(env.NewJob(), 1)
	for _, body := range []string{`{"analysis_results":{}}`, `{"status":"processing","progress":1}`, `{"analysis_results":` + large(env) + `}`} {
		if got := env.call(hook, body); got.code != http.StatusNotFound || got.body["code"] != "job-not-found" {
			t.Errorf("%.40s: %+v", body, got)
		}
	}
	if left := env.entries(); len(left) > 0 {
		t.Errorf("staged %v", left)
	}
}

// When the stream is nearly full, results are staged instead. The rest of the stream is kept for
// the events with which jobs continue, are canceled and are erased.
func TestResultsDoNotFillACrowdedLog(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(map[string]string{"JOBS_MAX_BYTES": "1048576"})
	result := `{"f0":"` + strings.Repeat("x", 20<<10) + `"}`
	roomy, hook := env.dispatched()
	if got := env.call(hook, `{"analysis_results":`+result+`}`); got.code != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	if c := testkit.Await[event.Completed](env.Kit, env.bus, roomy); c.ResultEntry != "" {
		t.Errorf("in a roomy log the result is staged: %+v", c)
	}
	waiting, waitingHook := env.dispatched()
	for used := 0.0; used < 0.85; {
		job := env.NewJob()
		env.append(event.Canceled{JobID: job, By: strings.Repeat("x", 20<<10)})
		info, err := env.bus.Stream(event.Jobs()).Info(env.Context())
		must(t, err)
		used = info.Used
	}
	testkit.Eventually(t, func() error { // the dispatcher reads the stream's usage once a second
		job, hook := env.dispatched()
		if got := env.call(hook, `{"analysis_results":`+result+`}`); got.code != http.StatusOK {
			return fmt.Errorf("%+v", got)
		}
		if c := testkit.Await[event.Completed](env.Kit, env.bus, job); c.ResultEntry == "" || len(c.Result) > 0 {
			return fmt.Errorf("the result of %d bytes is in the log", len(c.Result))
		}
		return nil
	})
	if got := env.call(waitingHook, `{"analysis_results":`+result+`}`); got.code != http.StatusOK || env.resultOf(waiting) != result {
		t.Errorf("it comes back different: %+v", got)
	}
	small, hook := env.dispatched()
	if got := env.call(hook, `{"analysis_results":{"a":1}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if c := testkit.Await[event.Completed](env.Kit, env.bus, small); c.ResultEntry != "" {
		t.Errorf("a small result is staged: %+v", c)
	}
}
