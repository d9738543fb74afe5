//go:build !linux

package proc

import "syscall"

// attributes puts the process into a group of its own; no other system than Linux binds its life to the parent's.
func attributes(spec Spec) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: credential(spec.User)}
}
