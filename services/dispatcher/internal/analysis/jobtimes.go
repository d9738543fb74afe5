package analysis

import (
	"sync"
	"time"
)

// progressInterval is the shortest time between two progress events of one job. Viewers do not need
// more events, and the events of a server that reports often would fill the stream.
const progressInterval = time.Second

// jobTimes stores a time for each job. A time expires after ttl.
type jobTimes struct {
	ttl time.Duration

	mu    sync.Mutex
	times map[string]time.Time
	swept time.Time // when the expired times were last removed
}

// set sets a job's time to now.
func (t *jobTimes) set(job string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.setLocked(job, now)
}

// setIfExpired sets a job's time to now, unless the job has a time that has not expired. It reports
// whether it has set the time.
func (t *jobTimes) setIfExpired(job string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.times[job]; ok && now.Sub(at) < t.ttl {
		return false
	}
	t.setLocked(job, now)
	return true
}

func (t *jobTimes) setLocked(job string, now time.Time) {
	if t.times == nil {
		t.times = map[string]time.Time{}
	}
	if now.Sub(t.swept) >= t.ttl {
		for j, at := range t.times {
			if now.Sub(at) >= t.ttl {
				delete(t.times, j)
			}
		}
		t.swept = now
	}
	t.times[job] = now
}

// get returns a job's time; zero if the job has none.
func (t *jobTimes) get(job string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.times[job]
}
