package worker

import (
	"fmt"
	"os/exec"
	"runtime/debug"
	"sync"
	"syscall"

	"sori.internal/shared/processlimit"
)

// limits limits the memory of this process: its address space (RLIMIT_AS), since Go ends a process that gets no more
// address space. The limit counts from the size at the first call of set, because Go and the race detector reserve much
// address space that they never use.
type limits struct {
	mu    sync.Mutex
	bytes uint64 // the limit; 0 until it was set
}

// set sets the limit to the present size and the given number of bytes. Further calls do nothing.
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

// limitMemory sets the soft limit of the address space. The hard limit stays, so that the soft one can be lifted again.
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

// run starts the decoder, which has a limit of its own. It lifts the limit meanwhile, because a process inherits the
// limits of the process that starts it.
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
