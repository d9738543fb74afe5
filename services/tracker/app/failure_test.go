package app_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/nats-io/nats.go"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

// failWith ends the job with the event `failed`, with a code and the analysis server's text.
func (l *testJob) failWith(code, words string, retryable bool) {
	l.t.Helper()
	l.received()
	l.stored()
	l.publish(event.Failed{JobID: l.id, Attempt: 1, Code: code, Detail: words, Retryable: retryable})
	l.awaitStatus("failed", 70)
}

// listed returns the member error of the job in a list, in a language.
func (l *testJob) listed(language string) string {
	l.t.Helper()
	var body struct {
		Jobs []struct {
			JobID string          `json:"job_id"`
			Error json.RawMessage `json:"error"`
		} `json:"jobs"`
	}
	a := l.get(l.url+"/jobs/?status=failed", map[string]string{"Accept-Language": language})
	if err := json.Unmarshal([]byte(a.raw), &body); err != nil {
		l.t.Fatal(err)
	}
	for _, j := range body.Jobs {
		if j.JobID == l.id {
			return string(j.Error)
		}
	}
	return "not listed"
}

func TestAFailureIsDescribedByItsCodeInTheClientsLanguageEverywhere(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for _, f := range []struct {
		code, words string
		retryable   bool
		ko, en      string
	}{
		{
			"analysis-failed", "open /tmp/audio-1: permission denied", true,
			`{"code":"analysis-failed","detail":"분석 중 오류가 발생했습니다.","retryable":true}`,
			`{"code":"analysis-failed","detail":"The analysis failed.","retryable":true}`,
		},
		{
			"unsupported-audio", "decode: no such format", false,
			`{"code":"unsupported-audio","detail":"오디오 파일이 아닙니다. 파일을 확인해 주세요.","retryable":false}`,
			`{"code":"unsupported-audio","detail":"The file is not audio. Please check it.","retryable":false}`,
		},
		{
			"no-speech", "Nobody speaks in it.", false,
			`{"code":"no-speech","detail":"Nobody speaks in it.","retryable":false}`,
			`{"code":"no-speech","detail":"Nobody speaks in it.","retryable":false}`,
		},
		{
			"no-speech", "", true,
			`{"code":"no-speech","detail":"작업이 실패했습니다.","retryable":true}`,
			`{"code":"no-speech","detail":"The job failed.","retryable":true}`,
		},
	} {
		j := c.job()
		j.failWith(f.code, f.words, f.retryable)
		tags := map[string]bool{}
		for language, want := range map[string]string{"": f.ko, "ko": f.ko, "en": f.en} {
			accept := map[string]string{"Accept-Language": language}
			result := j.get(j.resultURL(), accept)
			if string(result.body.Error) != want {
				t.Errorf("%s %q: the result says %s", f.code, language, result.body.Error)
			}
			tags[result.header.Get("ETag")] = true
			frames := j.stream(j.progressURL(), accept).rest()
			if len(frames) != 1 || string(frames[0].body.Error) != want {
				t.Errorf("%s %q: the stream says %+v", f.code, language, frames)
			}
			if got := j.listed(language); got != want {
				t.Errorf("%s %q: the list says %s", f.code, language, got)
			}
		}
		if len(tags) != 2 {
			t.Errorf("%s: tags %v for two languages", f.code, tags)
		}
	}
}

// Live updates have no language. They contain the original detail of a failure. All other members
// must be the same as in the answers to clients.
func TestTheLiveUpdateOfAFailureKeepsItsOriginalDetail(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.job()
	heard := make(chan *nats.Msg, 64)
	sub, err := c.JetStream().Conn().ChanSubscribe(c.Namespace().Subject(event.LiveSubject(j.id)), heard)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	j.failWith("audio-unreachable", "GET http://s3/b/k?…: 403", true)
	for {
		var s job.Snapshot
		select {
		case m := <-heard:
			if err := json.Unmarshal(m.Data, &s); err != nil {
				t.Fatal(err)
			}
		case <-c.Context().Done():
			t.Fatal("no snapshot of the failed job")
		}
		if s.Status != job.Failed {
			continue
		}
		if want := (job.Failure{Code: "audio-unreachable", Detail: "GET http://s3/b/k?…: 403", Retryable: true}); s.Error != want {
			t.Errorf("%+v", s.Error)
		}
		return
	}
}

func TestAPermanentFailureIsRetriedWithForceOnly(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.job()
	j.failWith("unsupported-audio", "", false)
	j.asks("retry", http.StatusConflict, `"code":"not-retryable"`)
	j.asks("retry", http.StatusConflict, `"allowed":[]`)
	j.asks("retry", http.StatusConflict, `"current_status":"failed"`)
	j.asks("retry?force=false", http.StatusConflict, `"code":"not-retryable"`)
	j.asks("cancel", http.StatusConflict, `"allowed":[]`)
	for _, query := range []string{"force=perhaps", "force=", "force=true&force=false"} {
		j.asks("retry?"+query, http.StatusUnprocessableEntity, `"pointer":"force"`)
	}
	j.awaitStatus("failed", 70)
	j.asks("retry?force=true", http.StatusAccepted, isProcessing)
	j.awaitStatus("processing", 70)
}

func TestForceRetriesFailedJobsOnly(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	running, completed, lost := c.job(), c.job(), c.job()
	for _, j := range []*testJob{running, completed, lost} {
		j.received()
	}
	completed.stored()
	completed.attempted(1)
	completed.completed(`{}`)
	lost.publish(event.Failed{JobID: lost.id, Code: "staging-lost", Detail: "gone"})
	for _, j := range []*testJob{running, completed, lost} {
		j.asks("retry?force=true", http.StatusConflict, `"code":"job-not-retryable"`)
	}
}
