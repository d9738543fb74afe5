package scenario

import (
	"time"

	"sori.internal/infra/bench/internal/report"
)

// stage is a part of a job's way, from one event to the next.
type stage struct {
	name     string
	from, to string // events; empty is the request, or the last frame
	took     *report.Samples
}

type stages []stage

// newStages are the parts of a job's way. The third and the fourth overlap where the analysis server calls back before it has
// answered.
func newStages() stages {
	return stages{
		{"request to received", "", "received", &report.Samples{}},
		{"received to stored", "received", "stored", &report.Samples{}},
		{"stored to attempted", "stored", "attempted", &report.Samples{}},
		{"attempted to completed", "attempted", "completed", &report.Samples{}},
		{"completed to last frame", "completed", "", &report.Samples{}},
	}
}

// add adds the times of one job; what was not noted is left out.
func (s stages) add(began time.Time, noted map[string]time.Time, ended time.Time) {
	for _, stage := range s {
		from, to := noted[stage.from], noted[stage.to]
		if stage.from == "" {
			from = began
		}
		if stage.to == "" {
			to = ended
		}
		if !from.IsZero() && !to.IsZero() {
			stage.took.Add(to.Sub(from))
		}
	}
}
