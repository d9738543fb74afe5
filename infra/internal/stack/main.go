package stack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"sori.internal/infra/internal/stack/proc"
)

// Main is the body of a TestMain: it runs the tests of a package whose tests start stacks, and returns the code to exit with. The local runner's test
// command says which program plays the parts of a stack; without it, one is built.
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
