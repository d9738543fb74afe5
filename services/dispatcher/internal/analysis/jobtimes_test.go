package analysis

import (
	"fmt"
	"testing"
	"time"
)

func TestOneProgressEventPerJobAndSecondPasses(t *testing.T) {
	t.Parallel()
	times := jobTimes{ttl: progressInterval}
	start := time.Now()
	if !times.setIfExpired("a", start) {
		t.Error("the first event is held back")
	}
	if times.setIfExpired("a", start.Add(999*time.Millisecond)) {
		t.Error("two within a second")
	}
	if !times.setIfExpired("b", start.Add(time.Millisecond)) {
		t.Error("another job is held back")
	}
	if !times.setIfExpired("a", start.Add(time.Second)) {
		t.Error("held back for more than a second")
	}
}

func TestExpiredTimesAreRemoved(t *testing.T) {
	t.Parallel()
	times := jobTimes{ttl: time.Second}
	start := time.Now()
	for i := range 10_000 {
		times.set(fmt.Sprint(i), start.Add(time.Duration(i)*time.Millisecond))
	}
	if len(times.times) > 2100 {
		t.Errorf("%d jobs remembered", len(times.times))
	}
}
