package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
)

// overhead is the memory that decoding needs beside the instance's memory: buffers, threads, and uncollected garbage.
const overhead = 512 << 20

// limitProcess limits the process to what decoding needs: it may not use more memory, write files, or dump core. An
// instance whose memory grows is copied, so that for a moment it exists twice.
func limitProcess(memory int64) error {
	var pages uint64
	statm, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(statm), &pages)
	}
	if err != nil {
		return fmt.Errorf("read the size of the process: %w", err)
	}
	debug.SetMemoryLimit(2*memory + overhead/2)
	for resource, limit := range map[int]uint64{
		syscall.RLIMIT_AS:    pages*uint64(os.Getpagesize()) + 2*uint64(memory) + overhead,
		syscall.RLIMIT_FSIZE: 0,
		syscall.RLIMIT_CORE:  0,
	} {
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("set limit %d: %w", resource, err)
		}
	}
	return nil
}
