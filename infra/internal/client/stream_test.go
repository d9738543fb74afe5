package client

import (
	"errors"
	"strings"
	"testing"
)

func TestAStreamIsReadToTheFrameThatEndsItsJob(t *testing.T) {
	t.Parallel()
	const stream = "retry: 2000\nid: 1\ndata: {\"job_id\":\"a\",\"status\":\"processing\",\"progress\":10}\n\n: ping\n\n" +
		"id: 2\ndata: {\"job_id\":\"a\",\"status\":\"completed\",\"progress\":100}\n\n"
	var seen []Job
	if err := toEnd(strings.NewReader(stream+"data: never read"), func(f Job) { seen = append(seen, f) }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0].Terminal() || seen[0].Progress != 10 || !seen[1].Terminal() || seen[1].Status != Completed || seen[1].At.IsZero() {
		t.Errorf("%+v", seen)
	}
	if err := toEnd(strings.NewReader(stream[:40]), func(Job) {}); !errors.Is(err, ErrNoEnd) {
		t.Errorf("a stream cut short: %v", err)
	}
}
