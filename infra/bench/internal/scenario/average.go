package scenario

import (
	"sync"

	"sori.internal/infra/bench/internal/target"
)

// average calculates the mean memory of processes over several measurements. The method add is safe for concurrent use.
type average struct {
	mu    sync.Mutex
	order []string
	sum   map[string]float64
	count map[string]int
}

func newAverage() *average { return &average{sum: map[string]float64{}, count: map[string]int{}} }

func (a *average) add(uses []target.Use) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range uses {
		if a.count[u.Name] == 0 {
			a.order = append(a.order, u.Name)
		}
		a.count[u.Name]++
		a.sum[u.Name] += float64(u.RSS) / (1 << 20)
	}
}

// names returns the names of the measured processes.
func (a *average) names() []string { return a.order }

// of returns the mean RSS of a process in MiB, or 0 if the process was never measured.
func (a *average) of(name string) float64 {
	if a.count[name] == 0 {
		return 0
	}
	return a.sum[name] / float64(a.count[name])
}
