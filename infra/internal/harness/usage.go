package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
)

// Usage is the memory and CPU time of a process, as /proc reports them (proc(5)); Linux only.
type Usage struct {
	RSS     int64         // current resident memory, in bytes
	PeakRSS int64         // the maximum since the start or since ResetPeak
	CPU     time.Duration // user and system time, in steps of 10 ms
}

// tick is the unit of times in proc(5); USER_HZ is 100 wherever Go runs on Linux.
const tick = 10 * time.Millisecond

// UsageOf returns the usage of a process.
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
	return Usage{RSS: int64(status.VmRSS), PeakRSS: int64(status.VmHWM), CPU: ownCPUTime(s)}, nil
}

// ownCPUTime returns the CPU time of a process without its children.
func ownCPUTime(s procfs.ProcStat) time.Duration { return time.Duration(s.UTime+s.STime) * tick }

// childrenCPUTime returns the CPU time of the children that have ended and for which the process has waited.
func childrenCPUTime(s procfs.ProcStat) time.Duration { return time.Duration(s.CUTime+s.CSTime) * tick }

// TreeUsage returns the usage of a process together with its descendants. For descendants that have ended
// it includes only the CPU time. Memory that several processes share counts once. PeakRSS is unknown and
// stays 0.
func TreeUsage(pid int) (total Usage, err error) {
	all, err := procfs.AllProcs()
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	stats := map[int]procfs.ProcStat{}
	for _, p := range all {
		if s, err := p.Stat(); err == nil { // a process whose stat cannot be read has just ended
			stats[p.PID] = s
		}
	}
	if _, ok := stats[pid]; !ok {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, os.ErrProcessDone)
	}
	for _, p := range all {
		s, ok := stats[p.PID]
		if !ok || !descends(stats, p.PID, pid) {
			continue
		}
		total.CPU += ownCPUTime(s) + childrenCPUTime(s)
		if memory, err := p.ProcSMapsRollup(); err == nil {
			total.RSS += int64(memory.Pss)
		}
	}
	return total, nil
}

// descends reports whether a process is the given ancestor or one of its descendants.
func descends(stats map[int]procfs.ProcStat, pid, ancestor int) bool {
	for range len(stats) { // a limit, because reused process IDs could make the chain of parents a cycle
		if pid == ancestor {
			return true
		}
		s, ok := stats[pid]
		if !ok {
			return false
		}
		pid = s.PPID
	}
	return false
}

// Busy returns the CPU time that all processes of the machine have used since it was booted, summed
// over all processors.
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

// ResetPeak sets the PeakRSS of a process to its current RSS.
func ResetPeak(pid int) error {
	if err := os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "clear_refs"), []byte("5"), 0); err != nil {
		return fmt.Errorf("reset the peak of process %d: %w", pid, err)
	}
	return nil
}
