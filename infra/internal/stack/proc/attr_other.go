//go:build !linux

package proc

import "syscall"

// attributes puts the process into a new process group. It ignores OnParentDeath, which only Linux supports.
func attributes(spec Spec) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: credential(spec.User)}
}
