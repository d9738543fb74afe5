package proc

import "syscall"

// attributes puts the process into a new process group, and makes the kernel send it OnParentDeath when the thread that
// created it ends.
func attributes(spec Spec) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  spec.OnParentDeath,
		Credential: credential(spec.User),
	}
}
