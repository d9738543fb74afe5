// Package parts contains the code of the child processes of a stack that are written in Go: the NATS servers, the S3 server, and
// the download of PostgreSQL. A program that starts a stack either links this package and calls RunChild, or starts the
// program that the environment variable proc.ProgramVariable names, which does so. Not every program links this package,
// because the servers are large and make builds slow.
package parts

import (
	"runtime/debug"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/pg"
	"sori.internal/infra/internal/stack/proc"
)

// RunChild runs a part of a stack if this process was started as the child process of a stack. It then returns true, and the
// caller must exit with the code. In any other process it does nothing and returns false. A main must call it first.
func RunChild() (ran bool, code int) {
	return proc.RunRole(map[string]proc.Role{
		stack.NATSRole: runNATS,
		stack.S3Role:   runS3,
		pg.FetchRole:   pg.RunFetchRole,
	})
}

// limitMemory sets the memory limit of this process in bytes, unless it is 0.
func limitMemory(bytes int64) {
	if bytes > 0 {
		debug.SetMemoryLimit(bytes)
	}
}
