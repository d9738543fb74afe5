package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestAResultShowsAJobFromReceivedToCompleted(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.received()
	a := j.awaitStatus("processing", 10)
	if a.body.JobID != j.id || a.body.TokenID != "7" || a.body.Stage != "received" || a.body.Message != "업로드 시작" || string(a.body.Result) != "null" ||
		string(a.body.Error) != "null" || a.body.Cached || a.body.CreatedAt.IsZero() || a.body.UpdatedAt != a.body.CreatedAt {
		t.Errorf("at first: %s", a.raw)
	}
	j.uploading(500)
	j.awaitStatus("processing", 54)
	j.stored()
	j.awaitStatus("processing", 70)
	j.attempted(1)
	j.dispatched(1)
	j.awaitStatus("processing", 90)
	j.progressed(50, "음높이")
	if a = j.awaitStatus("processing", 94); a.body.Stage != "dispatched" || a.body.Analysis != "음높이" || a.body.Message != "분석 중... 결과 대기" {
		t.Errorf("the analysis server's message: %s", a.raw)
	}
	j.completed(`{"score": 0.5, "text": "a\u0000b", "lines": ["1\n2"]}`)
	a = j.awaitStatus("completed", 100)
	if string(a.body.Result) != `{"score":0.5,"text":"a\u0000b","lines":["1\n2"]}` || a.body.Message != "분석 완료" || a.body.Analysis != "" {
		t.Errorf("in the end: %s", a.raw)
	}
	if !a.body.UpdatedAt.After(a.body.CreatedAt) || a.version() != 6 {
		t.Errorf("version %d, updated at %v", a.version(), a.body.UpdatedAt)
	}
	h := a.header
	if h.Get("Vary") != varyBy || h.Get("Cache-Control") != "private, no-cache" || h.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", h)
	}
}

func TestTheResultOfAFailedJobSaysWhy(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.received()
	j.stored()
	j.failed()
	a := j.awaitStatus("failed", 70)
	if string(a.body.Error) != `{"code":"analysis-failed","detail":"분석 중 오류가 발생했습니다.","retryable":true}` || a.body.Message != "분석 실패" {
		t.Errorf("%s", a.raw)
	}
}

func TestAcceptLanguageChoosesTheLanguage(t *testing.T) {
	t.Parallel()
	c := open(t, map[string]string{"DEFAULT_LANGUAGE": "en"})
	j := c.job()
	j.received()
	j.awaitStatus("processing", 10)
	for accept, want := range map[string]struct{ message, tag string }{
		"":                     {"Upload accepted", `"1-en"`},
		"fr":                   {"Upload accepted", `"1-en"`},
		"ko-KR,ko;q=0.9":       {"업로드 시작", `"1-ko"`},
		"fr, en;q=0.5, ko;q=1": {"업로드 시작", `"1-ko"`},
	} {
		a := j.get(j.resultURL(), map[string]string{"Accept-Language": accept})
		if a.body.Message != want.message || a.header.Get("ETag") != want.tag {
			t.Errorf("%q: %s %s", accept, a.header.Get("ETag"), a.raw)
		}
	}
}

func TestAKnownEntityTagIsNotModified(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.received()
	j.awaitStatus("processing", 10)
	for known, want := range map[string]int{
		`"1-ko"`: http.StatusNotModified, `W/"1-ko"`: http.StatusNotModified, `*`: http.StatusNotModified,
		`"0-ko", W/"1-ko"`: http.StatusNotModified, `"1-en"`: http.StatusOK, `"11-ko"`: http.StatusOK, `1-ko`: http.StatusOK,
	} {
		a := j.get(j.resultURL(), map[string]string{"If-None-Match": known})
		if a.status != want || a.header.Get("ETag") != `"1-ko"` || a.header.Get("Vary") != varyBy || (want == 304) != (a.raw == "") {
			t.Errorf("%s: %d %v %s", known, a.status, a.header, a.raw)
		}
	}
}

func TestThePathMayEndInASlashAndHeadWorks(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.received()
	j.awaitStatus("processing", 10)
	if a := j.get(j.resultURL()+"/", nil); a.status != http.StatusOK {
		t.Errorf("with a slash: %d", a.status)
	}
	if a := j.get(strings.Replace(j.resultURL(), j.id, strings.ToUpper(j.id), 1), nil); a.status != http.StatusOK {
		t.Errorf("in upper case: %d", a.status)
	}
	for _, url := range []string{j.resultURL(), j.progressURL()} {
		if a := j.request(http.MethodHead, url, nil); a.status != http.StatusOK || a.raw != "" {
			t.Errorf("HEAD %s: %d %q", url, a.status, a.raw)
		}
	}
}

func TestAnUnknownJobIsNotFound(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for _, id := range []string{c.job().id, "7", "not-a-uuid", "*", "01890a5d-ac96-774b-bcce-b302099a805z", "{" + c.job().id + "}"} {
		for _, route := range []string{"analysis-result", "analysis-progress"} {
			a := c.get(c.url+"/tokens/"+route+"/"+id, nil)
			if a.status != http.StatusNotFound || a.body.Code != "job-not-found" {
				t.Errorf("%s of %q: %d %s", route, id, a.status, a.raw)
			}
		}
	}
}

func TestAnAcceptedJobIsFoundBeforeItIsRecorded(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	lock, err := c.db().BeginTxx(c.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(c.Context(), `LOCK TABLE tracker.analysis_results IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	j := c.job()
	j.received()
	a := j.get(j.resultURL(), nil)
	if a.status != http.StatusOK || a.header.Get("ETag") != `"0-ko"` || a.body.Status != "processing" || a.body.Progress != 10 ||
		a.body.TokenID != "7" || a.body.Stage != "received" || a.body.Message != "업로드 시작" || a.body.CreatedAt.IsZero() {
		t.Errorf("before: %d %v %s", a.status, a.header, a.raw)
	}
	s := j.stream(j.progressURL(), nil)
	if f := s.next(); f.id != 0 || f.body.Progress != 10 {
		t.Errorf("first frame %+v", f)
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if f := s.next(); f.id != 1 || f.body.Progress != 10 {
		t.Errorf("next frame %+v", f)
	}
	after := j.awaitStatus("processing", 10)
	if after.body.CreatedAt != a.body.CreatedAt.Truncate(time.Microsecond) {
		t.Errorf("created at %v, then at %v", a.body.CreatedAt, after.body.CreatedAt)
	}
}

func TestALongPollWaitsUntilTheJobChanges(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.received()
	j.awaitStatus("processing", 10)
	answers := make(chan answer)
	for _, ask := range []func() answer{
		func() answer { return j.get(j.resultURL()+"?wait=25", nil) },
		func() answer {
			return j.get(j.resultURL(), map[string]string{"Prefer": `respond-async, Wait="25"; x=y`})
		},
		func() answer { return j.get(j.resultURL()+"?wait=25", map[string]string{"If-None-Match": `"1-ko"`}) },
	} {
		go func() { answers <- ask() }()
	}
	start, heard, applied := time.Now(), 0, ""
	testkit.Eventually(t, func() error {
		select {
		case a := <-answers:
			heard++
			applied += a.header.Get("Preference-Applied")
			if a.status != http.StatusOK || a.version() < 2 || a.body.Progress < 40 {
				t.Errorf("%d %s", a.status, a.raw)
			}
		default: // change the job until all three long polls are answered
			j.uploading(time.Since(start).Milliseconds() / 25)
		}
		if heard < 3 {
			return fmt.Errorf("%d of 3 were answered", heard)
		}
		return nil
	})
	if took := time.Since(start); took > 20*time.Second || applied != "wait=25" {
		t.Errorf("after %v, preference applied: %q", took, applied)
	}
}

func TestALongPollOfAChangedOrEndedJobDoesNotWait(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.received()
	j.awaitStatus("processing", 10)
	start := time.Now()
	if a := j.get(j.resultURL()+"?wait=30", map[string]string{"If-None-Match": `"0-ko"`}); a.status != http.StatusOK {
		t.Errorf("an old version is known: %d", a.status)
	}
	if a := j.get(j.resultURL()+"?wait=0", nil); a.status != http.StatusOK {
		t.Errorf("no wait: %d", a.status)
	}
	if a := j.get(j.resultURL(), map[string]string{"Prefer": "wait=soon"}); a.status != http.StatusOK || a.header.Get("Preference-Applied") != "" {
		t.Errorf("no sensible preference: %d %v", a.status, a.header)
	}
	j.publish(event.Canceled{JobID: j.id})
	j.awaitStatus("canceled", 10)
	if a := j.get(j.resultURL()+"?wait=30", map[string]string{"If-None-Match": `"2-ko"`}); a.status != http.StatusNotModified {
		t.Errorf("an ended job: %d", a.status)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("held for %v", took)
	}
	j = j.job()
	j.received()
	j.awaitStatus("processing", 10)
	if a := j.get(j.resultURL()+"?wait=1", map[string]string{"If-None-Match": `"1-ko"`}); a.status != http.StatusNotModified {
		t.Errorf("the time is over: %d", a.status)
	}
	for _, wait := range []string{"", "x", "-1", "61", "1.5", "1e3"} {
		a := j.get(j.resultURL()+"?wait="+wait, nil)
		if a.status != http.StatusUnprocessableEntity || a.body.Code != "validation-failed" || !strings.Contains(a.raw, `"pointer":"wait"`) {
			t.Errorf("wait=%s: %d %s", wait, a.status, a.raw)
		}
	}
}

func TestWarningsAboutAReportAreInTheResultAndInTheLastFrame(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for _, warnings := range [][]string{nil, {"no-results"}, {"no-results", "non-finite-numbers"}} {
		j := c.job()
		j.received()
		j.awaitStatus("processing", 10)
		live := j.stream(j.progressURL(), nil)
		live.next()
		j.publish(event.Completed{JobID: j.id, Attempt: 1, Result: json.RawMessage(`{}`), Warnings: warnings})
		a := j.awaitStatus("completed", 100)
		frames := append(live.rest(), j.stream(j.progressURL(), nil).rest()...) // opened before and after the end of the job
		if !slices.Equal(a.body.Warnings, warnings) || len(frames) != 2 {
			t.Fatalf("%v: %s, %d frames", warnings, a.raw, len(frames))
		}
		for _, f := range frames {
			if !slices.Equal(f.body.Warnings, warnings) {
				t.Errorf("%v: frame %s", warnings, f.data)
			}
		}
		if absent := !strings.Contains(a.raw+frames[0].data, "warnings"); absent != (warnings == nil) {
			t.Errorf("%v: %s %s", warnings, a.raw, frames[0].data)
		}
		j.erase(http.StatusOK, "deleted")
		if rows := c.rows(); strings.Contains(rows, "no-results") {
			t.Errorf("the tombstone holds %s", rows)
		}
	}
}
