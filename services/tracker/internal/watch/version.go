package watch

import (
	"sync"

	"sori.internal/services/tracker/internal/job"
)

// Version is one version of a job, shared by all its watches: what is rendered for one is rendered
// for all.
type Version struct {
	job.Snapshot
	complete bool // has all that the row has: a live update of a completed job lacks the result

	mu       sync.Mutex
	rendered map[string][]byte
}

// Render returns what render makes of the snapshot, and calls it at most once for each key. The
// bytes must not be written to.
func (v *Version) Render(key string, render func(job.Snapshot) ([]byte, error)) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if b, ok := v.rendered[key]; ok {
		return b, nil
	}
	b, err := render(v.Snapshot)
	if err != nil {
		return nil, err
	}
	if v.rendered == nil {
		v.rendered = map[string][]byte{}
	}
	v.rendered[key] = b
	return b, nil
}
