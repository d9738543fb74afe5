//go:build !unix

package resumable

// mapBuffer returns memory from the heap: this system has no mmap.
func mapBuffer(size int64) ([]byte, error) { return make([]byte, size), nil }

func unmapBuffer([]byte) {}
