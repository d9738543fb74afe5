package proc

import "syscall"

// credential returns the user and group for a process, without supplementary groups; nil for the current user.
func credential(u *User) *syscall.Credential {
	if u == nil {
		return nil
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID}
}
