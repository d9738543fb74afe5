//go:build !linux

package worker

import (
	"os/exec"
	"runtime/debug"
)

// limits limits the memory of Go's heap. A limit for the whole process works only on Linux.
type limits struct{}

func (*limits) set(memory int64) error {
	debug.SetMemoryLimit(memory * 3 / 4)
	return nil
}

func (*limits) run(cmd *exec.Cmd) error { return cmd.Start() }
