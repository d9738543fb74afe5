package analysis

import (
	"fmt"
	"testing"
	"time"
)

func TestOneReportOfProgressPerJobAndSecondPasses(t *testing.T) {
	t.Parallel()
	var p pace
	start := time.Now()
	if !p.allow("a", start) {
		t.Error("the first report is held back")
	}
	if p.allow("a", start.Add(999*time.Millisecond)) {
		t.Error("two within a second")
	}
	if !p.allow("b", start.Add(time.Millisecond)) {
		t.Error("another job is held back")
	}
	if !p.allow("a", start.Add(time.Second)) {
		t.Error("held back for more than a second")
	}
}

func TestThePaceForgetsJobs(t *testing.T) {
	t.Parallel()
	var p pace
	start := time.Now()
	for i := range 10_000 {
		p.allow(fmt.Sprint(i), start.Add(time.Duration(i)*time.Millisecond))
	}
	if len(p.seen) > 2100 {
		t.Errorf("%d jobs remembered", len(p.seen))
	}
}
