package scenario

import (
	"time"
)

// stage is a phase of a job, from one event to another.
type stage struct {
	name     string
	from, to string // names of events; an empty from is the upload request, an empty to is the last frame
	took     *Samples
}

type stages []stage

// newStages returns the phases of a job, without samples.
func newStages() stages {
	return stages{
		{"request to received", "", "received", &Samples{}},
		{"received to stored", "received", "stored", &Samples{}},
		{"stored to attempted", "stored", "attempted", &Samples{}},
		{"attempted to completed", "attempted", "completed", &Samples{}},
		{"completed to last frame", "completed", "", &Samples{}},
	}
}

// newHitStages returns the phases of a job that is completed with a cached result.
func newHitStages() stages {
	return stages{
		{"request to received", "", "received", &Samples{}},
		{"received to stored", "received", "stored", &Samples{}},
		{"stored to completed", "stored", "completed", &Samples{}},
		{"completed to last frame", "completed", "", &Samples{}},
	}
}

// add adds the times of one job. It leaves out a stage of which an event was not recorded.
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
