package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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
	dir := procDir(pid)
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	s, err := readStat(dir)
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}

	return Usage{RSS: kilobytes(status, "VmRSS:"), PeakRSS: kilobytes(status, "VmHWM:"), CPU: s.own}, nil
}

// TreeUsage measures a process with all its children, those that have ended included as far as CPU is concerned. What they
// share counts once; the peak is not known and stays 0.
func TreeUsage(pid int) (Usage, error) {
	root, err := readStat(procDir(pid))
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	total := Usage{CPU: root.own + root.waited, RSS: proportional(procDir(pid))}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return Usage{}, fmt.Errorf("measure process %d: %w", pid, err)
	}
	for _, dir := range dirs {
		if s, err := readStat(dir); err == nil && s.parent == pid { // one that cannot be read has just ended
			total.CPU += s.own + s.waited
			total.RSS += proportional(dir)
		}
	}

	return total, nil
}

// Busy is the time that all processors of the machine have worked since it was started, for whomever.
func Busy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("measure the machine: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var ticks int64
	for i, field := range strings.Fields(line) {
		n, err := strconv.ParseInt(field, 10, 64)
		switch idle := i == 4 || i == 5; {
		case i == 0 || idle || i > 8: // the name; idle and waiting; what the others contain already
			continue
		case err != nil:
			return 0, fmt.Errorf("measure the machine: %w", err)
		}
		ticks += n
	}

	return time.Duration(ticks) * tick, nil
}

// ResetPeak makes the peak of a process what it uses now.
func ResetPeak(pid int) error {
	if err := os.WriteFile(filepath.Join(procDir(pid), "clear_refs"), []byte("5"), 0); err != nil {
		return fmt.Errorf("reset the peak of process %d: %w", pid, err)
	}

	return nil
}

func procDir(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid)) }

// proportional is a process's memory with its share of what is shared.
func proportional(dir string) int64 {
	text, err := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
	if err != nil {
		return 0
	}

	return kilobytes(text, "Pss:")
}

// kilobytes finds a line "Name:  123 kB" and returns bytes.
func kilobytes(text []byte, name string) int64 {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			return n << 10
		}
	}

	return 0
}

// stat is what this package reads of /proc/<pid>/stat.
type stat struct {
	parent      int
	own, waited time.Duration
}

func readStat(dir string) (stat, error) {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return stat{}, err
	}
	// The second field is a name in parentheses and may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const parent, user, last = 1, 11, 14 // counted from the third field on
	if len(fields) <= last {
		return stat{}, fmt.Errorf("read %s: %d fields", dir, len(fields))
	}
	var s stat
	if s.parent, err = strconv.Atoi(fields[parent]); err != nil {
		return stat{}, fmt.Errorf("read %s: %w", dir, err)
	}
	var ticks [4]int64
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(fields[user+i], 10, 64); err != nil {
			return stat{}, fmt.Errorf("read %s: %w", dir, err)
		}
	}
	s.own, s.waited = time.Duration(ticks[0]+ticks[1])*tick, time.Duration(ticks[2]+ticks[3])*tick

	return s, nil
}
