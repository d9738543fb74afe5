package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// memoryFolder is the file system that Linux keeps in memory.
const memoryFolder = "/dev/shm"

// freeMemory returns how many bytes the files in memoryFolder may take; 0 if there is no such file
// system, or if no program may be run from it.
func freeMemory() int64 {
	var shm unix.Statfs_t
	if err := unix.Statfs(memoryFolder, &shm); err != nil || shm.Type != unix.TMPFS_MAGIC || shm.Flags&unix.ST_NOEXEC != 0 {
		return 0
	}
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(info), "MemAvailable:")
	var available int64 // KiB
	if _, err := fmt.Sscan(after, &available); err != nil {
		return 0
	}
	return min(available<<10, int64(shm.Bavail)*shm.Bsize) //nolint:gosec // fewer than 2⁶³ bytes
}
