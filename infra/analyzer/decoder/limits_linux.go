package main

import (
	"fmt"
	"runtime/debug"
	"syscall"

	"sori.internal/shared/processlimit"
)

// overhead is the memory that the process needs in addition to the memory of ffmpeg's instance, in bytes: buffers,
// threads, and uncollected garbage.
const overhead = 512 << 20

// limitProcess limits the memory of the process, and forbids the process to write files and to dump core. memory is the
// limit of an instance in bytes. The process may use overhead and twice as much, since a growing instance is copied.
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
