package main

import (
	"fmt"
	"runtime/debug"
	"syscall"

	"sori.internal/shared/processlimit"
)

// overhead is the memory that decoding needs beside the instance's memory: buffers, threads, and uncollected garbage.
const overhead = 512 << 20

// limitProcess limits the process to what decoding needs: it may not use more memory, write files, or dump core. An
// instance whose memory grows is copied, so that for a moment it exists twice.
func limitProcess(memory int64) error {
	size, err := processlimit.AddressSpace()
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(2*memory + overhead/2)
	for resource, limit := range map[int]uint64{
		syscall.RLIMIT_AS:    size + 2*uint64(memory) + overhead,
		syscall.RLIMIT_FSIZE: 0,
		syscall.RLIMIT_CORE:  0,
	} {
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("set limit %d: %w", resource, err)
		}
	}
	return nil
}
