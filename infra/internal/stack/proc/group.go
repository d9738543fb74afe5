package proc

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// Group makes a command run in a process group of its own. When the context of the command ends, every
// process of the group receives the signal, because a command such as go test does not pass it on. The
// command must have been created by exec.CommandContext, and not be started.
func Group(cmd *exec.Cmd, signal syscall.Signal) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, signal)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
