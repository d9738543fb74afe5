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

// restFor is how long the analysis server asks to be left alone: -rest=1m tries
// the whole minute.
var restFor = flag.Duration("rest", 3*time.Second, "how long the analysis server asks to be left alone")

// inWaiting is what viewers read while a job waits, by language.
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
	second := w.Upload(t, "녹음 2.wav", loadgen.Tone(330, time.Second)) // which finds the server at rest
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

// begun is when a job's first attempt was, which precedes what the server says.
func begun(t *testing.T, w *harnesstest.Env, job string) time.Time {
	t.Helper()
	testkit.Await[event.Attempted](w.Kit, w.Bus("test", event.Jobs()), job)
	return at(t, w, job, event.NameAttempted)
}

// end is when a job was completed.
func end(t *testing.T, w *harnesstest.Env, job string) time.Time {
	t.Helper()
	return at(t, w, job, event.NameCompleted)
}

func at(t *testing.T, w *harnesstest.Env, job string, name event.Name) time.Time {
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

// checkWait holds that a job is seen to wait for a server that was asked, and
// refused, at a time.
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

// lastWait holds that a stream told of waits, and returns the end of the last.
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
