package scenario

import (
	"slices"
	"sync"
	"time"
)

// Samples collects durations. It is safe for concurrent use.
type Samples struct {
	mu     sync.Mutex
	all    []time.Duration
	sorted bool
}

// Add adds a duration.
func (s *Samples) Add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.sorted = append(s.all, d), false
}

// Merge adds the durations of other samples.
func (s *Samples) Merge(other *Samples) {
	other.mu.Lock()
	all := slices.Clone(other.all)
	other.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.sorted = append(s.all, all...), false
}

// Len returns the number of durations.
func (s *Samples) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// Percentile returns the p-th percentile by the nearest-rank method: the smallest duration such that at least p percent of all
// are less than or equal to it. It is exact and not interpolated. Without durations it returns 0.
func (s *Samples) Percentile(p float64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return 0
	}
	if !s.sorted {
		slices.Sort(s.all)
		s.sorted = true
	}
	rank := int(p / 100 * float64(len(s.all)))
	if float64(rank) < p/100*float64(len(s.all)) {
		rank++
	}
	return s.all[min(max(rank, 1), len(s.all))-1]
}

// Max returns the longest duration.
func (s *Samples) Max() time.Duration { return s.Percentile(100) }
