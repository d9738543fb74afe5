package app_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sori.internal/services/tracker/app"
	"sori.internal/shared/testkit"
)

func TestAStreamSendsEachStageAndEnds(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.received()
	j.awaitStatus("processing", 10)
	asked := time.Now()
	s := j.stream(j.progressURL(), nil)
	first := s.next()
	t.Logf("first frame after %v", first.at.Sub(asked))
	if first.retry != "2000" || first.id != 1 ||
		first.data != `{"job_id":"`+j.id+`","status":"processing","stage":"received","progress":10,"message":"업로드 시작","result":null}` {
		t.Errorf("first frame %+v", first)
	}
	for k, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "Vary": varyBy,
	} {
		if got := s.header.Get(k); got != want {
			t.Errorf("%s: %q", k, got)
		}
	}
	for _, step := range []struct {
		publish  func()
		stage    string
		progress int
		message  string
		analysis string
	}{
		{func() { j.uploading(0) }, "uploading", 40, "S3 업로드 중...", ""},
		{func() { j.uploading(999) }, "uploading", 68, "S3 업로드 중...", ""},
		{j.stored, "stored", 70, "분석 서버 요청 중...", ""},
		{func() { j.attempted(1); j.dispatched(1) }, "dispatched", 90, "분석 중... 결과 대기", ""},
		{func() { j.progressed(100, "<거의>") }, "dispatched", 99, "분석 중... 결과 대기", "<거의>"},
	} {
		step.publish()
		if f := s.next(); f.body.Stage != step.stage || f.body.Progress != step.progress || f.body.Message != step.message || f.body.Analysis != step.analysis || string(f.body.Result) != "null" {
			t.Errorf("want %s %d %q, got %s", step.stage, step.progress, step.message, f.data)
		}
	}
	j.completed("{\"lines\":\n[1,\n2]}")
	rest := s.rest()
	if len(rest) != 1 || rest[0].body.Status != "completed" || rest[0].body.Stage != "completed" || rest[0].body.Progress != 100 ||
		string(rest[0].body.Result) != `{"lines":[1,2]}` || rest[0].body.Message != "분석 완료" {
		t.Errorf("the end: %+v", rest)
	}
	again := j.stream(j.progressURL(), map[string]string{"Accept-Language": "en"}).rest()
	if len(again) != 1 || again[0].body.Message != "Analysis complete" || again[0].id != rest[0].id {
		t.Errorf("an ended job: %+v", again)
	}
}

func TestTheStreamOfAFailedJobSaysWhy(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.received()
	s := j.stream(j.progressURL(), nil)
	j.stored()
	j.failed()
	frames := s.rest()
	last := frames[len(frames)-1]
	if last.body.Status != "failed" || string(last.body.Result) != "null" ||
		string(last.body.Error) != `{"code":"analysis-failed","detail":"분석 중 오류가 발생했습니다.","retryable":true}` {
		t.Errorf("%s", last.data)
	}
}

func TestAStreamIsResumedAtAnotherReplica(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	other := c.replica(nil)
	j := c.job()
	j.received()
	j.awaitStatus("processing", 10)
	s := j.stream(j.progressURL(), nil)
	s.next()
	j.stored()
	seen := s.next()
	_ = s.body.Close()

	elsewhere := strings.Replace(j.progressURL(), c.url, other, 1)
	id := fmt.Sprint(seen.id)
	byHeader := c.stream(elsewhere, map[string]string{"Last-Event-ID": id})
	byQuery := c.stream(elsewhere+"?last_event_id="+id, nil)
	j.attempted(1)
	j.dispatched(1)
	j.completed(`{}`)
	for _, frames := range [][]frame{byHeader.rest(), byQuery.rest()} {
		version := seen.id
		for _, f := range frames {
			if f.id <= version || f.body.Progress < seen.body.Progress {
				t.Errorf("after version %d came %d: %s", version, f.id, f.data)
			}
			version = f.id
		}
		last := frames[len(frames)-1]
		if last.body.Status != "completed" {
			t.Errorf("the last is %s", last.data)
		}
		id = fmt.Sprint(last.id)
	}
	for given, want := range map[string]int{id: http.StatusNoContent, "999": http.StatusNoContent, seenText(seen): http.StatusOK, "x": http.StatusOK, "-1": http.StatusOK, "": http.StatusOK} {
		again := c.stream(elsewhere, map[string]string{"Last-Event-ID": given})
		frames := again.rest()
		if again.status != want || (want == http.StatusOK) != (len(frames) == 1) {
			t.Errorf("with %q: %d, %d frames", given, again.status, len(frames))
		}
	}
}

func seenText(f frame) string { return fmt.Sprint(f.id) }

func TestAnUnknownLastEventIDCountsAsNone(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.received()
	j.awaitStatus("processing", 10)
	for _, id := range []string{"x", "1.5", "-3", "99999999999999999999", "77"} {
		if f := j.stream(j.progressURL(), map[string]string{"Last-Event-ID": id}).next(); f.id != 1 {
			t.Errorf("with %q: %+v", id, f)
		}
	}
}

func TestAStreamWithoutChangesSendsHeartbeats(t *testing.T) {
	t.Parallel()
	j := open(t, map[string]string{"SSE_HEARTBEAT": "50ms"}).job()
	j.received()
	j.awaitStatus("processing", 10)
	s := j.stream(j.progressURL(), map[string]string{"Last-Event-ID": "1"})
	if f, ok := s.block(); !ok || f.retry != "2000" || f.data != "" {
		t.Errorf("it begins with %+v", f)
	}
	for range 3 {
		if f, ok := s.block(); !ok || f.comment != "ping" {
			t.Errorf("then comes %+v", f)
		}
	}
}

func TestALostLiveUpdateDelaysAStreamAndDoesNotBreakIt(t *testing.T) {
	t.Parallel()
	c := open(t, map[string]string{"SSE_HEARTBEAT": "300ms"})
	j := c.job()
	j.received()
	j.awaitStatus("processing", 10)
	s, held := j.stream(j.progressURL(), nil), make(chan answer, 1)
	s.next()
	go func() { held <- j.get(j.resultURL()+"?wait=20", nil) }()
	c.exec(`UPDATE tracker.analysis_results SET version = 2, progress = 70, stage = 'stored' WHERE job_id = $1`, j.id)
	if f := s.next(); f.id != 2 || f.body.Progress != 70 {
		t.Errorf("%+v", f)
	}
	c.exec(`UPDATE tracker.analysis_results SET version = 3, progress = 100, stage = 'completed', status = 'completed', result = '[1]' WHERE job_id = $1`, j.id)
	if frames := s.rest(); len(frames) != 1 || frames[0].id != 3 || string(frames[0].body.Result) != "[1]" {
		t.Errorf("the end: %+v", frames)
	}
	if a := <-held; a.version() < 2 {
		t.Errorf("the held reply: %s", a.raw)
	}
}

func (c *env) streams() string {
	for line := range strings.Lines(c.metrics()) {
		if n, ok := strings.CutPrefix(line, "sori_sse_streams "); ok {
			return strings.TrimSpace(n)
		}
	}
	return ""
}

func TestTheStreamOfADisconnectedClientIsReleased(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.job()
	j.received()
	j.awaitStatus("processing", 10)
	var open []*stream
	for range 3 {
		s := j.stream(j.progressURL(), nil)
		s.next()
		open = append(open, s)
	}
	if n := c.streams(); n != "3" {
		t.Errorf("%s streams are open", n)
	}
	for _, s := range open {
		_ = s.body.Close()
	}
	testkit.Eventually(t, func() error {
		if n := c.streams(); n != "0" {
			return fmt.Errorf("%s streams are open", n)
		}
		return nil
	})
}

func TestAShutdownKeepsStreamsOpenForJobsThatEnd(t *testing.T) {
	t.Parallel()
	c := open(t, nil) // this replica goes on to record events during the shutdown of the other
	stopping := c.Run(app.Run, map[string]string{"SHUTDOWN_GRACE": "60s"})
	j := c.job()
	j.received()
	j.awaitStatus("processing", 10)
	s := c.stream(strings.Replace(j.progressURL(), c.url, stopping.URL, 1), nil)
	s.next()
	stopped := make(chan error, 1)
	start := time.Now()
	go func() { stopped <- stopping.Stop() }()
	testkit.Eventually(t, func() error {
		resp, err := http.Get(stopping.URL + "/livez")
		if err != nil {
			return nil //nolint:nilerr // the tracker has stopped listening
		}
		_ = resp.Body.Close()
		return fmt.Errorf("livez: %s", resp.Status)
	})
	j.stored()
	if f := s.next(); f.body.Progress != 70 {
		t.Errorf("after the stop: %+v", f)
	}
	j.attempted(1)
	j.completed("{}")
	rest := s.rest()
	if len(rest) == 0 || rest[len(rest)-1].body.Status != "completed" {
		t.Errorf("the end: %+v", rest)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 40*time.Second { // the shutdown must not wait for the whole SHUTDOWN_GRACE of 60 s
		t.Errorf("the stop took %v though every job had ended", took)
	}
}

func TestAShutdownEndsStreamsWithRetry(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	stopping := c.Run(app.Run, map[string]string{"SHUTDOWN_GRACE": "3s"})
	j := c.job()
	j.received()
	j.awaitStatus("processing", 10)
	there := strings.Replace(j.progressURL(), c.url, stopping.URL, 1)
	var open []*stream
	for range 5 {
		s := c.stream(there, nil)
		s.next()
		open = append(open, s)
	}
	start := time.Now()
	if err := stopping.Stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("the streams had only %v", took)
	}
	for _, s := range open {
		// The stream must end with a retry delay, without an error and without a terminal frame.
		if f, ok := s.block(); !ok || len(f.retry) != 4 || f.data != "" {
			t.Errorf("after the stop: %+v", f)
		}
		if f, ok := s.block(); ok {
			t.Errorf("and then: %+v", f)
		}
	}
	if strings.Contains(c.Logged(), "open requests were cut") {
		t.Error("streams were cut")
	}
}

func TestAThousandStreamsGetTheTerminalEventAtOnce(t *testing.T) {
	t.Parallel()
	const viewers = 1000
	c := open(t, nil)
	j := c.job()
	j.received()
	j.awaitStatus("processing", 10)
	ends, begun := make([]time.Time, viewers), sync.WaitGroup{}
	var ended sync.WaitGroup
	begun.Add(viewers)
	transport := &http.Transport{MaxIdleConnsPerHost: -1}
	ctx, slots := c.Context(), make(chan struct{}, 32)
	opening := time.Now()
	for i := range viewers {
		ended.Go(func() {
			slots <- struct{}{}
			s, err := c.dial(ctx, transport, j.progressURL())
			<-slots
			if err != nil {
				t.Error(err)
				begun.Done()
				return
			}
			defer s.body.Close()
			_, ok := s.block()
			begun.Done()
			f := frame{}
			for ok && f.body.Status != "completed" {
				f, ok = s.block()
			}
			if string(f.body.Result) != `{"score":1}` {
				t.Errorf("stream %d ended with %q", i, f.data)
			}
			ends[i] = f.at
		})
	}
	begun.Wait()
	start := time.Now()
	opened := start.Sub(opening)
	j.completed(`{"score":1}`)
	ended.Wait()
	took := slices.MaxFunc(ends, time.Time.Compare).Sub(start)
	t.Logf("%d streams had the end after %v", viewers, took)
	// This takes 200 ms on an idle machine without the race detector. On a busy machine it must not
	// take longer than opening the streams.
	if took > max(3*time.Second, opened) {
		t.Errorf("the last had the end after %v, the streams were open after %v", took, opened)
	}
}

// dial opens a stream. It does not fail the test, so that any goroutine may call it.
func (c *env) dial(ctx context.Context, transport http.RoundTripper, url string) (*stream, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	c.sign(req.Header)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	return newStream(c.t, resp), nil
}
