package scenario

import (
	"time"
)

// stage is a part of a job's way, from one event to the next.
type stage struct {
	name     string
	from, to string // events; empty is the request, or the last frame
	took     *Samples
}

type stages []stage

// newStages are the parts of a job's way. The third and the fourth overlap where the analysis server calls back before it has
// answered.
func newStages() stages {
	return stages{
		{"request to received", "", "received", &Samples{}},
		{"received to stored", "received", "stored", &Samples{}},
		{"stored to attempted", "stored", "attempted", &Samples{}},
		{"attempted to completed", "attempted", "completed", &Samples{}},
		{"completed to last frame", "completed", "", &Samples{}},
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
