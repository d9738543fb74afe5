package job

import "sync"

// Version is one version of a job as all its viewers share it: what is made of
// it for one is made for all.
type Version struct {
	Snapshot
	whole bool // nothing is missing that only the row has

	mu   sync.Mutex
	made map[string][]byte
}

// Once returns what render makes of the snapshot, and makes it at most once for
// each key. Its bytes must not be written to.
func (v *Version) Once(key string, render func(Snapshot) ([]byte, error)) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if b, ok := v.made[key]; ok {
		return b, nil
	}
	b, err := render(v.Snapshot)
	if err != nil {
		return nil, err
	}
	if v.made == nil {
		v.made = map[string][]byte{}
	}
	v.made[key] = b
	return b, nil
}
