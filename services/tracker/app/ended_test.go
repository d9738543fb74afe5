package app_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"sori.internal/shared/event"
)

// ends returns the values of sori_jobs_ended_total that are not 0, by their labels.
func (c *env) ends() map[string]string {
	c.t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(c.metrics()) {
		labels, ok := strings.CutPrefix(line, "sori_jobs_ended_total")
		labels, value, _ := strings.Cut(strings.TrimSpace(labels), " ")
		if ok && value != "0" {
			found[labels] = value
		}
	}
	return found
}

func TestEndedJobsAreCountedOnceByStatusAndCode(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	if text := c.metrics(); !strings.Contains(text, `sori_jobs_ended_total{code="analysis-timeout",status="failed"} 0`) {
		t.Error("before its first failure, a code has no time series")
	}
	analysed, cached, erased := c.job(), c.job(), c.job()
	for _, j := range []*testJob{analysed, cached, erased} {
		j.received()
		j.stored()
	}
	analysed.attempted(1)
	analysed.completed(`{}`)
	cached.publish(event.Completed{JobID: cached.id, Result: json.RawMessage(`{}`), Cached: true, CachedFrom: analysed.id})
	erased.publish(event.Erased{JobID: erased.id})
	for _, code := range []string{"analysis-timeout", "analysis-timeout", "a-code-of-the-server", "another-code"} {
		j := c.job()
		j.received()
		j.publish(event.Failed{JobID: j.id, Code: code})
	}
	last := c.job()
	last.received()
	last.publish(event.Canceled{JobID: last.id})
	c.settled(last.seq) // an event is settled after it is counted
	want := map[string]string{
		`{code="",status="completed"}`: "2", `{code="",status="erased"}`: "1", `{code="",status="canceled"}`: "1",
		`{code="analysis-timeout",status="failed"}`: "2", `{code="other",status="failed"}`: "2",
	}
	if got := c.ends(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	c.checkReplay(last.seq)
	if got := c.ends(); !maps.Equal(got, want) {
		t.Errorf("after a replay %v, want %v", got, want)
	}
}
