//go:build !linux

package pg

import (
	"os/exec"
	"strconv"
	"strings"
)

// serves tells whether a process is a PostgreSQL server that was started for the data folder.
func serves(pid int, data string) bool {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false
	}
	line := strings.TrimSpace(string(out))
	program, _, _ := strings.Cut(line, " -D ")

	// Folders may contain blanks, which ps does not mark: the whole option is looked for instead of its words.
	return names([]string{program, "-D", data}, data) && strings.Contains(line+" ", " -D "+data+" ")
}
