package worker

import (
	"fmt"
	"os/exec"
	"runtime/debug"
	"sync"
	"syscall"

	"sori.internal/shared/processlimit"
)

// limits limits the address space of this process (RLIMIT_AS). Go ends a process that gets no more address space. The
// limit is relative to the address space at the first call of set, because Go and the race detector reserve much
// address space that they never use.
type limits struct {
	mu    sync.Mutex
	bytes uint64 // the limit; 0 until set is called
}

// set limits the address space to its present size plus memory, in bytes. Only the first call has an effect.
func (l *limits) set(memory int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes > 0 {
		return nil
	}
	size, err := processlimit.AddressSpace()
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(memory * 3 / 4)
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	l.bytes = size + uint64(memory)
	return limitMemory(l.bytes)
}

// limitMemory sets the soft limit of the address space. The hard limit stays unchanged, so that run can lift the soft
// limit.
func limitMemory(bytes uint64) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_AS, &now); err != nil {
		return fmt.Errorf("read the memory limit: %w", err)
	}
	now.Cur = min(bytes, now.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &now); err != nil {
		return fmt.Errorf("limit the memory: %w", err)
	}
	return nil
}

// run starts the decoder. A process inherits the limits of its parent, and the decoder has a limit of its own.
// Therefore run lifts the limit of this process until the decoder has started.
func (l *limits) run(cmd *exec.Cmd) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	const unlimited = ^uint64(0)
	if err := limitMemory(unlimited); err != nil {
		return err
	}
	err := cmd.Start()
	if limitErr := limitMemory(l.bytes); err == nil && limitErr != nil {
		return limitErr
	}
	return err
}
