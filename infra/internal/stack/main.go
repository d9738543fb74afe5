package stack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"sori.internal/infra/internal/stack/proc"
)

// Main is the body of a TestMain of a package whose tests start stacks: it runs the tests and returns the exit code. The
// environment variable proc.ProgramVariable, which the local runner's test command sets, names the program that runs the
// parts of a stack. If it is empty, Main builds that program.
func Main(m interface{ Run() int }) int {
	if os.Getenv(proc.ProgramVariable) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "sori-stack-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "local")
	out, err := exec.Command("go", "build", "-o", program, "sori.internal/infra/local").CombinedOutput()
	if err == nil {
		err = os.Setenv(proc.ProgramVariable, program)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "build the program that plays the parts of a stack: %v: %s\n", err, out)
		return 1
	}
	return m.Run()
}
