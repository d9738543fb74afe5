//go:build unix

package resumable

import (
	"fmt"
	"syscall"
)

// mapBuffer allocates a buffer outside of the heap.
func mapBuffer(size int64) ([]byte, error) {
	b, err := syscall.Mmap(-1, 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map a buffer of %d bytes: %w", size, err)
	}
	return b, nil
}

func unmapBuffer(b []byte) {
	_ = syscall.Munmap(b) // fails only if the buffer is not mapped
}
