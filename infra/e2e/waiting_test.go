package e2e_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
)

// restFor is the Retry-After of the busy analysis server. The flag -rest=1m tests a
// whole minute.
var restFor = flag.Duration("rest", 3*time.Second, "how long the analysis server asks to be left alone")

// inWaiting returns the message to viewers, in a language, while a job waits for the server.
func inWaiting(language string, until time.Time) string {
	clock := until.UTC().Format(time.TimeOnly) + " UTC"
	if language == "ko" {
		return "분석 서버 대기 중, 다음 시도 " + clock
	}
	return "Waiting for the analysis server, next try at " + clock
}

func TestAServerThatAnswers503WithRetryAfterForAMinuteIsWaitedForAndViewersKnowUntilWhen(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{
		RejectStatus: http.StatusServiceUnavailable, RejectRetryAfter: analyzer.Duration(*restFor),
	}})
	first := w.Upload(t, "녹음 1.wav", loadgen.Tone(220, time.Second))
	streams := map[string]io.ReadCloser{}
	for _, language := range []string{"ko", "en"} {
		streams[language] = w.Watch(w.Context(), t, first, language)
		defer streams[language].Close()
	}
	asked := begun(t, w, first)
	checkWait(t, w, first, asked)
	second := w.Upload(t, "녹음 2.wav", loadgen.Tone(330, time.Second)) // uploaded while the dispatcher sends no requests to the server
	checkWait(t, w, second, asked)
	if err := w.Analyzer.Behave(analyzer.Behaviour{}); err != nil {
		t.Fatal(err)
	}
	for language, stream := range streams {
		frames, err := client.Frames(stream)
		if err != nil {
			t.Fatal(err)
		}
		harnesstest.CheckFrames(t, frames)
		until := lastWait(t, frames, language, asked)
		if over := end(t, w, first); over.Before(until) {
			t.Errorf("told %v, it ended at %v", until, over)
		}
	}
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, second, "en"))
	if over := end(t, w, second); over.Before(asked.Add(*restFor)) {
		t.Errorf("asked at %v, it ended at %v", asked, over)
	}
}

// begun returns the time of a job's first attempt, which is before the server's answer.
func begun(t *testing.T, w *harnesstest.Env, job string) time.Time {
	t.Helper()
	testkit.Await[event.Attempted](w.Kit, w.Bus("test", event.Jobs()), job)
	return timeOf(t, w, job, event.NameAttempted)
}

// end returns the time at which a job was completed.
func end(t *testing.T, w *harnesstest.Env, job string) time.Time {
	t.Helper()
	return timeOf(t, w, job, event.NameCompleted)
}

func timeOf(t *testing.T, w *harnesstest.Env, job string, name event.Name) time.Time {
	t.Helper()
	log, err := joblog.New(w.Bus("test", event.Jobs())).Read(w.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(log, func(r event.Record) bool { return r.Event.Name() == name })
	if i < 0 {
		t.Fatalf("job %s has no %s", job, name)
	}
	return log[i].Time
}

// checkWait checks that the job's result, in each language, has the message that the job waits for the server. The
// parameter asked is the time of the request that the server refused.
func checkWait(t *testing.T, w *harnesstest.Env, job string, asked time.Time) {
	t.Helper()
	for _, language := range []string{"ko", "en"} {
		var f client.Job
		testkit.Eventually(t, func() error {
			f = client.Job{}
			if w.ResultIn(t, job, language, &f); f.NextTry.IsZero() {
				return fmt.Errorf("it waits for nothing: %+v", f)
			}
			return nil
		})
		if f.Status != "processing" || f.Progress != 70 || f.Message != inWaiting(language, f.NextTry) || f.NextTry.Before(asked.Add(*restFor)) {
			t.Errorf("asked at %v: %+v", asked, f)
		}
	}
}

// lastWait checks that a stream contained frames of a waiting job, and returns the time of
// the next attempt in the last of them.
func lastWait(t *testing.T, frames []client.Job, language string, asked time.Time) (until time.Time) {
	t.Helper()
	for _, f := range frames {
		if f.NextTry.IsZero() {
			continue
		}
		until = f.NextTry
		if f.Progress != 70 || f.Message != inWaiting(language, f.NextTry) || f.NextTry.Before(asked.Add(*restFor)) {
			t.Errorf("asked at %v: %+v", asked, f)
		}
	}
	if until.IsZero() {
		t.Errorf("the stream told of no wait: %+v", frames)
	}
	return until
}
