package watch

import (
	"sync"

	"sori.internal/services/tracker/internal/job"
)

// Version is one version of a job. All watches of the job share it and its encoded frames.
type Version struct {
	job.Snapshot
	complete bool // has its result; false for a live update of a completed job without the result

	mu       sync.Mutex
	rendered map[string][]byte
}

// Render returns the bytes that render makes from the snapshot. It caches the bytes of the first
// successful call for each key. The caller must not modify the bytes.
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
