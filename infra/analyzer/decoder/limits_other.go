//go:build !linux

package main

import "runtime/debug"

// limitProcess limits the memory of Go's heap. A limit for the whole process works only on Linux.
func limitProcess(memory int64) error {
	debug.SetMemoryLimit(2*memory + 256<<20)
	return nil
}
