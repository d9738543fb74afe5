//go:build !linux

package pg

import (
	"os/exec"
	"strconv"
	"strings"
)

// serves reports whether a process is a PostgreSQL server that was started with the data folder.
func serves(pid int, data string) bool {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false
	}
	line := strings.TrimSpace(string(out))
	program, _, _ := strings.Cut(line, " -D ")

	// A path may contain blanks, which ps does not quote. So the whole option is searched for, not single words.
	return names([]string{program, "-D", data}, data) && strings.Contains(line+" ", " -D "+data+" ")
}
