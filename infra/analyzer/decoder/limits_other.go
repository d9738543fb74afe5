//go:build !linux

package main

import "runtime/debug"

// limitProcess bounds what Go's garbage collector lets grow. Only Linux has a limit for the whole process that works.
func limitProcess(memory int64) error {
	debug.SetMemoryLimit(2*memory + 256<<20)
	return nil
}
