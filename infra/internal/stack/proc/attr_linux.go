package proc

import "syscall"

// attributes puts the process into a group of its own and binds its life to the creating thread's.
func attributes(spec Spec) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  spec.OnParentDeath,
		Credential: credential(spec.User),
	}
}
