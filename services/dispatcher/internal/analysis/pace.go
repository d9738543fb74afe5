package analysis

import (
	"sync"
	"time"
)

// paceEvery is the shortest time between two progress events of one job: viewers
// do not see more, and the log of a talkative server would hold nothing else.
const paceEvery = time.Second

// pace lets through one report of progress per job and second. It remembers only
// the jobs of the last second.
type pace struct {
	mu    sync.Mutex
	seen  map[string]time.Time
	swept time.Time // when forgotten jobs were last swept out
}

// allow reports whether a job's progress may be told at the given time.
func (p *pace) allow(job string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]time.Time{}
	}
	if now.Sub(p.swept) >= paceEvery {
		for j, at := range p.seen {
			if now.Sub(at) >= paceEvery {
				delete(p.seen, j)
			}
		}
		p.swept = now
	}
	if at, ok := p.seen[job]; ok && now.Sub(at) < paceEvery {
		return false
	}
	p.seen[job] = now
	return true
}
