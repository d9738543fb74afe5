//go:build !linux

package main

import "runtime/debug"

// limitProcess limits the heap of the Go runtime. A limit for the whole process is supported only on Linux.
func limitProcess(memory int64) error {
	debug.SetMemoryLimit(2*memory + 256<<20)
	return nil
}
