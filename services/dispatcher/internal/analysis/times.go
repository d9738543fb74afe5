package analysis

import (
	"sync"
	"time"
)

// times remembers a time for each job, as long as that is not longer ago than keep.
type times struct {
	keep time.Duration

	mu    sync.Mutex
	at    map[string]time.Time
	swept time.Time // when those longer ago were last removed
}

// put remembers now for a job.
func (t *times) put(job string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at = map[string]time.Time{}
	}
	if now.Sub(t.swept) >= t.keep {
		for j, at := range t.at {
			if now.Sub(at) >= t.keep {
				delete(t.at, j)
			}
		}
		t.swept = now
	}
	t.at[job] = now
}

// get is the time that is remembered for a job; zero where there is none.
func (t *times) get(job string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at[job]
}
