package target

import (
	"context"
	"io/fs"
	"path/filepath"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/shared/wait"
)

// sampleEvery is the time between two measurements of processes with children, whose peak the system does not
// record.
const sampleEvery = 250 * time.Millisecond

// WatchMemory starts to measure the memory of all processes, until ctx ends. The function that it returns ends
// the measurement and returns, by process, the largest memory in bytes since the start. The memory of the
// analysis server includes its child processes and its temporary files, which its container keeps in memory.
func (w *Target) WatchMemory(ctx context.Context) (end func() map[string]int64) {
	peaks := map[string]int64{}
	w.resetPeaks()
	w.sample(peaks)
	stop := wait.InBackground(ctx, sampleEvery, func(context.Context) { w.sample(peaks) })
	return func() map[string]int64 {
		stop()
		w.sample(peaks)
		for _, p := range w.probes {
			if u, err := harness.UsageOf(p.pid()); err == nil && !p.tree {
				peaks[p.name] = max(peaks[p.name], u.PeakRSS)
			}
		}
		delete(peaks, Driver)
		return peaks
	}
}

// sample measures the memory of the processes with children, and raises their peaks.
func (w *Target) sample(peaks map[string]int64) {
	for _, p := range w.probes {
		if !p.tree {
			continue
		}
		u, err := harness.TreeUsage(p.pid())
		if err != nil { // the process has just ended
			continue
		}
		if p.name == harness.Analyzer {
			u.RSS += folderSize(w.analyzerFiles())
		}
		peaks[p.name] = max(peaks[p.name], u.RSS)
	}
}

// analyzerFiles is the folder for the temporary files of the analysis server while it is confined.
func (w *Target) analyzerFiles() string { return filepath.Join(w.Dir(), "analyzer") }

// folderSize returns the size in bytes of the files in a folder. Files that are removed meanwhile are left out.
func folderSize(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // removed meanwhile
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}
