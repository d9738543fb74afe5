package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/event"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
)

// checkerOf returns a checker of the invariants of an environment.
func checkerOf(t *testing.T, w *harnesstest.Env) invariants.Checker {
	t.Helper()
	b := invariants.Checker{Bus: w.Bus("test", event.Jobs(), event.Dead(), event.Staging()), JetStream: w.JetStream(), Namespace: w.Namespace()}
	b.S3, b.Bucket = w.Bucket()
	var err error
	if b.DB, err = sqlx.Open("postgres", w.Database()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.DB.Close() })
	return b
}

// erase sends a DELETE request and checks that the answer has the status 200 and the given body.
func erase(t *testing.T, url, answer string) {
	t.Helper()
	if status, text := harnesstest.Send(t, http.DefaultClient, http.MethodDelete, url); status != http.StatusOK || text != answer {
		t.Fatalf("DELETE %s: %d %s", url, status, text)
	}
}

const (
	tokenDeleted = `{"detail":"Token deleted successfully"}`
	jobDeleted   = `{"detail":"Job deleted successfully"}`
)

// state returns the status code and the body of the answer for a job's result.
func state(t *testing.T, gateway, job string) (int, string) {
	t.Helper()
	return harnesstest.Send(t, http.DefaultClient, http.MethodGet, gateway+"/tokens/analysis-result/"+job)
}

// awaitGone waits until the rows of the jobs have the status erased and the uploader has handled the erasures.
func awaitGone(ctx context.Context, t *testing.T, k *testkit.Kit, checker invariants.Checker, jobs []string) {
	t.Helper()
	testkit.Eventually(t, func() error {
		rows, err := checker.Rows(ctx)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			if rows[job].Status != "erased" {
				return fmt.Errorf("job %s is %q", job, rows[job].Status)
			}
		}
		return nil
	})
	for _, consumer := range []string{"uploader-erased", "uploader-received", "tracker-projection"} {
		k.Settled(consumer)
	}
}

// checkErased checks the invariants of all jobs, and that no data of the erased jobs is left.
func checkErased(ctx context.Context, t *testing.T, checker invariants.Checker, erased, kept []string) {
	t.Helper()
	rows, err := checker.Rows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := checker.Check(ctx, append(erased[:len(erased):len(erased)], kept...), rows); err != nil {
		t.Error(err)
	}
	histories, err := checker.Histories(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range erased {
		if h := histories[job]; len(h) != 1 {
			t.Errorf("of job %s is left %s", job, names(h))
		}
	}
	if entries, err := staging.New(checker.Bus).Entries(ctx); err != nil || len(entries) > 0 {
		t.Errorf("staging holds %v, %v", entries, err)
	}
}

func TestADeletedTokenTakesItsJobsAndTheirAudioAlong(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	ctx, checker := w.Context(), checkerOf(t, w)
	upload := func(n int) []string {
		jobs := make([]string, n)
		var wg sync.WaitGroup
		for i := range jobs {
			wg.Go(func() { jobs[i] = w.Upload(t, "a.wav", loadgen.Tone(220, time.Second)) })
		}
		wg.Wait()
		return jobs
	}
	kept := upload(5)
	w.Token = w.NewToken(t)
	erased := upload(100)
	if _, err := checker.AwaitEnds(ctx, append(kept, erased...)); err != nil {
		t.Fatal(err)
	}
	whole := map[string]string{}
	for _, job := range kept {
		_, whole[job] = state(t, w.Gateway, job)
	}
	start := time.Now()
	erase(t, fmt.Sprintf("%s/tokens/%d", w.Gateway, w.Token), tokenDeleted)
	awaitGone(ctx, t, w.Kit, checker, erased)
	t.Logf("erased after %v", time.Since(start))
	for _, job := range erased {
		if status, text := state(t, w.Gateway, job); status != http.StatusGone || !strings.Contains(text, `"code":"job-erased"`) {
			t.Errorf("job %s: %d %s", job, status, text)
		}
	}
	for _, job := range kept {
		if _, text := state(t, w.Gateway, job); text != whole[job] {
			t.Errorf("a job of another token was\n%s\nand is\n%s", whole[job], text)
		}
	}
	checkErased(ctx, t, checker, erased, kept)
	if strings.Contains(w.Logged(), `"level":"error"`) {
		t.Error("something went wrong")
	}
}

func TestAJobThatIsErasedUnderWayStaysErasedWhateverComes(t *testing.T) {
	t.Parallel()
	asked := &wire{}
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{LoseCallbacks: true}, Front: asked.listen})
	checker := checkerOf(t, w)
	job := w.Upload(t, "a.wav", loadgen.Tone(220, time.Second))
	testkit.Eventually(t, func() error {
		if status, text := state(t, w.Gateway, job); !strings.Contains(text, `"progress":90`) {
			return fmt.Errorf("%d %s", status, text)
		}
		return nil
	})
	stream := w.Watch(w.Context(), t, job, "en")
	defer stream.Close()
	erase(t, w.Gateway+"/jobs/"+job, jobDeleted)
	frames, err := client.Frames(stream)
	if err != nil {
		t.Fatal(err)
	}
	if end := frames[len(frames)-1]; end.Status != "canceled" || end.Message != "Job deleted" || end.Progress != 90 {
		t.Errorf("the stream ends with %+v", end)
	}
	awaitGone(w.Context(), t, w.Kit, checker, []string{job})
	for _, body := range []string{`{"analysis_results":{"secret":1}}`, `{"status":"processing","progress":50,"message":"secret"}`} {
		if status, answer := post(t, asked.hook(job, 1), body); status != http.StatusOK || answer["received"] != true {
			t.Errorf("%s: %d %v", body, status, answer)
		}
	}
	if status, _ := state(t, w.Gateway, job); status != http.StatusGone {
		t.Errorf("it answers %d", status)
	}
	checkErased(w.Context(), t, checker, []string{job}, nil)
	if dead := w.Messages(event.Dead()); len(dead) > 0 {
		t.Errorf("dead letters %+v", dead)
	}
}

// A token is deleted while half of its jobs have not ended. The gateway is killed directly after its
// response to the deletion. Each of the other services is killed while it erases jobs.
func TestADeletedTokenIsErasedWhateverIsKilled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	c := found(ctx, t, map[string]int{harness.Tracker: 2, harness.Uploader: 2}, map[string]string{"BEHAVIOUR_DELAY": "1s", "CONCURRENCY": "2"})
	jobs := c.uploadAll(ctx, 100)
	erase(t, c.URL(harness.Gateway)+"/tokens/1", tokenDeleted)
	for _, name := range []string{harness.Gateway, harness.Tracker, harness.Uploader, harness.Dispatcher, harness.Uploader, harness.Tracker} {
		p := c.Process(name, 0)
		p.Kill()
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	awaitGone(ctx, t, c.kit, c.Checker, jobs)
	c.CheckStaging() // the result of a callback that a crash interrupted must be removed, too
	checkErased(ctx, t, c.Checker, jobs, nil)
}
