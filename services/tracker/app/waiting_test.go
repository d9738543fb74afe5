package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// The end of the waits in these tests: as a time for events, and as clients read it.
var (
	until    = time.Date(2026, 1, 2, 15, 4, 5, 678_901_000, time.UTC)
	messages = map[string]string{
		"ko": "분석 서버 대기 중, 다음 시도 15:04:05 UTC",
		"en": "Waiting for the analysis server, next try at 15:04:05 UTC",
	}
)

// untilWaiting waits until the job shows that it waits until a time. The zero time means that the
// job shows no wait.
func (l *testJob) untilWaiting(to time.Time, language string) answer {
	l.t.Helper()
	var a answer
	testkit.Eventually(l.t, func() error {
		a = l.get(l.resultURL(), map[string]string{"Accept-Language": language})
		if !a.body.NextTry.Equal(to) || a.status != http.StatusOK {
			return fmt.Errorf("the job is %d %s", a.status, a.raw)
		}
		return nil
	})
	return a
}

func TestAWaitShowsWithItsEndInBothLanguagesUntilItIsOver(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.received()
	j.stored()
	j.attempted(1)
	j.awaitStatus("processing", 70)
	streams := map[string]*stream{}
	for language := range messages {
		s := j.stream(j.progressURL(), map[string]string{"Accept-Language": language})
		if f := s.next(); !f.body.NextTry.IsZero() || strings.Contains(f.data, "next_attempt_at") {
			t.Errorf("before: %s", f.data)
		}
		streams[language] = s
	}
	j.waiting(1, until)
	for language, message := range messages {
		f := streams[language].next()
		if f.body.Message != message || !f.body.NextTry.Equal(until) || f.body.Progress != 70 || f.body.Status != "processing" ||
			!strings.Contains(f.data, `"next_attempt_at":"2026-01-02T15:04:05.678901Z"`) {
			t.Errorf("%s: %s", language, f.data)
		}
		a := j.untilWaiting(until, language)
		if a.body.Message != message || a.body.Progress != 70 || a.body.Status != "processing" || a.version() != f.id {
			t.Errorf("%s: %s", language, a.raw)
		}
	}
	again := until.Add(time.Minute)
	j.waiting(1, again)
	for language := range messages {
		if f := streams[language].next(); !strings.Contains(f.body.Message, "15:05:05 UTC") || !f.body.NextTry.Equal(again) {
			t.Errorf("again: %s", f.data)
		}
	}
	j.dispatched(1)
	for language := range messages {
		if f := streams[language].next(); f.body.Progress != 90 || strings.Contains(f.data, "next_attempt_at") || strings.Contains(f.data, "UTC") {
			t.Errorf("after: %s", f.data)
		}
		if a := j.untilWaiting(time.Time{}, language); a.body.Progress != 90 || strings.Contains(a.raw, "next_attempt_at") || strings.Contains(a.raw, "UTC") {
			t.Errorf("after: %s", a.raw)
		}
	}
}

func TestARepeatedOrLateWaitingChangesNothing(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	taken, canceled := c.job(), c.job()
	for _, j := range []*testJob{taken, canceled} {
		j.received()
		j.stored()
		j.attempted(1)
		j.waiting(1, until)
		j.waiting(1, until) // a duplicate, which NATS drops
	}
	taken.dispatched(1)
	canceled.publish(event.Canceled{JobID: canceled.id})
	for _, j := range []*testJob{taken, canceled} {
		j.waiting(1, until.Add(time.Hour))
	}
	c.settled(12)
	before := taken.untilWaiting(time.Time{}, "ko")
	if before.body.Progress != 90 || before.body.Status != "processing" {
		t.Errorf("taken: %s", before.raw)
	}
	if a := canceled.untilWaiting(time.Time{}, "ko"); a.body.Status != "canceled" || a.body.Message != "분석 취소" {
		t.Errorf("canceled: %s", a.raw)
	}
	c.checkReplay(12)
}

func TestAMalformedWaitingDoesNotFailItsJob(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.attemptedJob()
	subject := event.Subject(event.Waiting{JobID: j.id})
	for _, body := range []string{`{"until":"soon"`, `{"until":"soon"}`, `{"until":"0000-01-01T00:00:00Z","attempt":1}`, `{"attempt":1}`, `{"until":"2026-01-02T15:04:05Z","attempt":1099511627776}`} {
		c.publish(new(uint64), subject, strings.Replace(body, "{", `{"job_id":"`+j.id+`",`, 1))
	}
	j.waiting(1, until)
	j.untilWaiting(until, "en")
	j.dispatched(1)
	j.completed(`{"a":1}`)
	j.awaitStatus("completed", 100)
}
