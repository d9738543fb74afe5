package pg

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// serves reports whether a process is a PostgreSQL server on the data folder: the folder is in its command line and is its
// working directory.
func serves(pid int, data string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	line, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	if err != nil || !names(strings.Split(string(line), "\x00"), data) {
		return false
	}
	cwd, err := os.Stat(filepath.Join(proc, "cwd"))
	if err != nil {
		return false
	}
	want, err := os.Stat(data)
	return err == nil && os.SameFile(cwd, want)
}
