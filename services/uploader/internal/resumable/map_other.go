//go:build !unix

package resumable

// mapBuffer allocates a buffer on the heap, since this system has no mmap.
func mapBuffer(size int64) ([]byte, error) { return make([]byte, size), nil }

func unmapBuffer([]byte) {}
