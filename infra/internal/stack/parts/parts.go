// Package parts is what runs in the processes of a stack that are programs of Go: the NATS servers, the S3 server, and
// the download of PostgreSQL. A program that starts a stack is one of them, or the variable proc.ProgramVariable names one
// to it: the servers are large, and whatever links them takes long to build.
package parts

import (
	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/pg"
	"sori.internal/infra/internal/stack/proc"
)

// RunChild plays a part of a stack when this process was started for that; the caller, a main that has done nothing else
// yet, then ends the process with the code. In any other process it does nothing.
func RunChild() (ran bool, code int) {
	return proc.RunRole(map[string]proc.Role{
		stack.NATSRole: runNATS,
		stack.S3Role:   runS3,
		pg.FetchRole:   pg.RunFetchRole,
	})
}
