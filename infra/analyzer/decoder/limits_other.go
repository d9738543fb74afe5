//go:build !linux

package main

import "runtime/debug"

// limitProcess limits the memory of Go's heap. Only Linux has a limit for the whole process that works.
func limitProcess(memory int64) error {
	debug.SetMemoryLimit(2*memory + 256<<20)
	return nil
}
