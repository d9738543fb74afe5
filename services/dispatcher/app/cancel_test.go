package app_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// canceling returns settings with a status URL that contains the analysis server's id of the job,
// and makes the analysis server return such an id.
func (env *env) canceling() map[string]string {
	env.analyzer.answer = func(w http.ResponseWriter, r request, _ int) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprintf(w, `{"job_id":"of %s"}`, r.field("job_id"))
	}
	env.analyzer.status = func(int) string { return `{"status":"processing"}` }
	return map[string]string{"ANALYSIS_STATUS_URL": env.analyzer.URL + "/status/{analysis_job_id}"}
}

// awaitCancels waits until the analysis server has received n requests to cancel, and returns the
// paths of these requests.
func (env *env) awaitCancels(n int) (paths []string) {
	env.t.Helper()
	testkit.Eventually(env.t, func() error {
		if paths = env.analyzer.cancels(); len(paths) < n {
			return fmt.Errorf("canceled %q", paths)
		}
		return nil
	})
	return paths
}

func TestTheServerIsAskedToCancelACanceledOrErasedJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(env.canceling())
	canceled, _ := env.dispatched()
	erased, _ := env.dispatched()
	completed, hook := env.dispatched()
	if got := env.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	env.append(event.Canceled{JobID: canceled})
	log, err := env.jobs.Update(env.Context(), erased, nil, func(log event.Log) (event.Event, error) {
		dispatched, _ := event.Last[event.Dispatched](log)
		return event.Erased{JobID: erased, AnalysisJobID: dispatched.AnalysisJobID}, nil
	})
	must(t, err)
	must(t, env.jobs.Purge(env.Context(), erased, log.Seq()))
	got := env.awaitCancels(2)
	slices.Sort(got)
	want := []string{"/status/of%20" + canceled, "/status/of%20" + erased}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("canceled %q, want %q (and not %s)", got, want, completed)
	}
}

func TestAnAnalysisThatIsAcceptedAfterTheCancellationIsCanceled(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	settings := env.canceling()
	accept, received, answer := env.analyzer.answer, make(chan struct{}), make(chan struct{})
	env.analyzer.answer = func(w http.ResponseWriter, r request, n int) {
		received <- struct{}{}
		<-answer
		accept(w, r, n)
	}
	env.run(settings)
	job := env.store().JobID
	<-received
	env.append(event.Canceled{JobID: job})
	env.Settled("dispatcher-canceled") // the analysis server has not answered yet, so its id for the job is not known
	if got := env.analyzer.cancels(); len(got) > 0 {
		t.Errorf("canceled %q", got)
	}
	close(answer)
	if got := env.awaitCancels(1); got[0] != "/status/of%20"+job {
		t.Errorf("canceled %q", got)
	}
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameCanceled {
		t.Errorf("log %v", names)
	}
}

// An analysis server may not support cancellation. The job must be canceled all the same.
func TestACancellationIsBestEffort(t *testing.T) {
	t.Parallel()
	for status, tries := range map[int]int{
		http.StatusNotFound: 1, http.StatusMethodNotAllowed: 1, http.StatusForbidden: 1, http.StatusNotImplemented: 1,
		http.StatusServiceUnavailable: 5,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			settings := env.canceling()
			env.analyzer.cancelStatus = status
			env.run(settings)
			job, _ := env.dispatched()
			env.append(event.Canceled{JobID: job})
			env.awaitCancels(tries)
			env.Settled("dispatcher-canceled")
			if got := env.analyzer.cancels(); len(got) != tries {
				t.Errorf("asked %d times, want %d", len(got), tries)
			}
			if dead := env.Messages(event.Dead()); len(dead) > 0 {
				t.Errorf("dead letters %+v", dead)
			}
		})
	}
}

// answerCancel answers a DELETE.
func (a *analyzer) answerCancel(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.canceled = append(a.canceled, r.URL.RequestURI())
	a.mu.Unlock()
	if a.cancelStatus != 0 {
		w.WriteHeader(a.cancelStatus)
		_, _ = io.WriteString(w, "not possible")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// cancels returns the paths of the requests to cancel so far.
func (a *analyzer) cancels() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.canceled)
}
