//go:build !linux

package worker

import (
	"os/exec"
	"runtime/debug"
)

// limits limits the heap of the Go runtime. A limit for the whole process is supported only on Linux.
type limits struct{}

func (*limits) set(memory int64) error {
	debug.SetMemoryLimit(memory * 3 / 4)
	return nil
}

func (*limits) run(cmd *exec.Cmd) error { return cmd.Start() }
