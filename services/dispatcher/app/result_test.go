package app_test

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// large is a result that does not fit into half a message.
func large(r *rig) string { return `{"f0":"` + strings.Repeat("x", int(r.bus.MaxPayload())) + `"}` }

func (r *rig) entries() []string {
	r.t.Helper()
	staged, err := r.bus.StagedEntries(r.Context())
	must(r.t, err)
	return slices.Sorted(maps.Keys(staged))
}

// resultOf reads a job's result from where its event says.
func (r *rig) resultOf(job string) string {
	r.t.Helper()
	c := testkit.Await[event.Completed](r.Kit, r.bus, job)
	if c.ResultEntry == "" {
		return string(c.Result)
	}
	if len(c.Result) > 0 {
		r.t.Error("the result travels twice")
	}
	body, err := r.bus.OpenStaged(r.Context(), event.Staged{Entry: c.ResultEntry, Chunks: c.ResultChunks})
	must(r.t, err)
	raw, err := io.ReadAll(body)
	must(r.t, err)
	return string(raw)
}

func TestALargeResultTravelsByReference(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	for name, result := range map[string]string{
		"large":                  large(r),
		"large once it is coded": `{"a":"` + strings.Repeat("<", int(r.bus.MaxPayload())/3) + `"}`,
	} {
		job, hook := r.dispatched()
		if got := r.call(hook, `{"analysis_results":`+result+`}`); got.code != http.StatusOK {
			t.Errorf("%s: %+v", name, got)
		}
		if r.resultOf(job) != result {
			t.Errorf("%s comes back different", name)
		}
		entry := testkit.Await[event.Completed](r.Kit, r.bus, job).ResultEntry
		if owner, _, ok := event.EntryJob(entry); !ok || owner != job {
			t.Errorf("%s: entry %q", name, entry)
		}
	}
}

func TestARefusedResultLeavesNothingStaged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	job, hook := r.dispatched()
	body := `{"analysis_results":` + large(r) + `}`
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if got, err := r.post(hook, body); err != nil || got.code != http.StatusOK {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	wg.Wait()
	entry := testkit.Await[event.Completed](r.Kit, r.bus, job).ResultEntry
	if left := r.entries(); !slices.Equal(left, []string{entry}) {
		t.Errorf("staged %v, completed with %s", left, entry)
	}
	canceled, hook := r.dispatched()
	r.append(event.Canceled{JobID: canceled})
	if got := r.call(hook, body); got.code != http.StatusOK || got.body["message"] == nil {
		t.Errorf("%+v", got)
	}
	stale, hook := r.dispatched()
	r.append(event.Attempted{JobID: stale, Attempt: 2})
	if got := r.call(hook, body); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if left := r.entries(); !slices.Equal(left, []string{entry}) {
		t.Errorf("staged %v, completed with %s", left, entry)
	}
}

func TestACallbackThatCannotBeStoredMayBeRepeated(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	bus := r.Proxy(r.Settings(nil)["NATS_URL"])
	i := r.run(map[string]string{"NATS_URL": bus.URL})
	small, smallHook := r.dispatched()
	big, bigHook := r.dispatched()
	result := large(r)
	bus.Cut()
	readiness(t, i.URL, http.StatusServiceUnavailable)
	for hook, body := range map[string]string{
		smallHook: `{"analysis_results":{}}`, bigHook: `{"analysis_results":` + result + `}`,
		changed(t, smallHook, "x", "1"): `{"status":"processing","progress":3}`,
	} {
		if got := r.call(hook, body); got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("while the bus is away: %+v", got)
		}
	}
	bus.Mend()
	readiness(t, i.URL, http.StatusOK)
	for job, c := range map[string][2]string{small: {smallHook, `{}`}, big: {bigHook, result}} {
		if got := r.call(c[0], `{"analysis_results":`+c[1]+`}`); got.code != http.StatusOK {
			t.Errorf("%+v", got)
		}
		if r.resultOf(job) != c[1] {
			t.Error("the result differs")
		}
	}
}

func TestAJobThatNobodyKnowsIsNotFound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(nil)
	secret := r.Settings(nil)["WEBHOOK_SECRET"]
	hook := analysis.NewSigner(parsed(t, public), secret).URL(r.NewJob(), 1)
	for _, body := range []string{`{"analysis_results":{}}`, `{"status":"processing","progress":1}`, `{"analysis_results":` + large(r) + `}`} {
		if got := r.call(hook, body); got.code != http.StatusNotFound || got.body["code"] != "job-not-found" {
			t.Errorf("%.40s: %+v", body, got)
		}
	}
	if left := r.entries(); len(left) > 0 {
		t.Errorf("staged %v", left)
	}
}
