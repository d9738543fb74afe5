package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
)

// Usage is what a process uses, as the kernel tells it (proc(5)); only Linux does.
type Usage struct {
	RSS     int64         // resident memory now, in bytes
	PeakRSS int64         // the most since the start or since ResetPeak
	CPU     time.Duration // user and system time, in steps of 10 ms
}

// tick is the unit of times in proc(5); USER_HZ is 100 wherever Go runs on Linux.
const tick = 10 * time.Millisecond

// UsageOf measures a process.
func UsageOf(pid int) (Usage, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	status, err := p.NewStatus()
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	s, err := p.Stat()
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	return Usage{RSS: int64(status.VmRSS), PeakRSS: int64(status.VmHWM), CPU: own(s)}, nil
}

// own is the CPU time of a process itself.
func own(s procfs.ProcStat) time.Duration { return time.Duration(s.UTime+s.STime) * tick }

// children is the CPU time of the children that a process has waited for.
func children(s procfs.ProcStat) time.Duration { return time.Duration(s.CUTime+s.CSTime) * tick }

// TreeUsage measures a process with all its children; of children that have ended only the CPU time.
// Shared memory counts once; the peak is not known and stays 0.
func TreeUsage(pid int) (total Usage, err error) {
	root, err := procfs.NewProc(pid)
	if err == nil {
		_, err = root.Stat()
	}
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	all, err := procfs.AllProcs()
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	for _, p := range all {
		s, err := p.Stat()
		if err != nil || s.PPID != pid && p.PID != pid { // one that cannot be read has just ended
			continue
		}
		total.CPU += own(s) + children(s)
		if memory, err := p.ProcSMapsRollup(); err == nil {
			total.RSS += int64(memory.Pss)
		}
	}
	return total, nil
}

// Busy is the time that all processors of the machine have worked since it was started, for any
// process.
func Busy() (time.Duration, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, fmt.Errorf("measure the machine: %w", err)
	}
	s, err := fs.Stat()
	if err != nil {
		return 0, fmt.Errorf("measure the machine: %w", err)
	}
	c := s.CPUTotal // guest time is part of user time
	return time.Duration((c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal) * float64(time.Second)), nil
}

// ResetPeak makes the peak of a process what it uses now.
func ResetPeak(pid int) error {
	if err := os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "clear_refs"), []byte("5"), 0); err != nil {
		return fmt.Errorf("reset the peak of process %d: %w", pid, err)
	}
	return nil
}
