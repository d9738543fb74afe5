package processlimit

import (
	"fmt"
	"os"
)

// AddressSpace returns the size of the address space of the process, in bytes. RLIMIT_AS limits it.
func AddressSpace() (uint64, error) {
	var pages uint64
	statm, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(statm), &pages)
	}
	if err != nil {
		return 0, fmt.Errorf("read the size of the process: %w", err)
	}
	return pages * uint64(os.Getpagesize()), nil
}
