package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/wait"
)

const pidFile = "postmaster.pid"

// endLeftover ends a PostgreSQL server of an earlier, killed run that still uses this data folder. It reports whether the
// folder contained a PID file. It signals a process only if that is a server on this very folder. If the process ID now
// belongs to another process, endLeftover replaces it in the PID file, since PostgreSQL would otherwise refuse to start.
func endLeftover(ctx context.Context, data string, log zerolog.Logger) (bool, error) {
	root, err := os.OpenRoot(data) // the folder may belong to another user: symbolic links must not lead out of it
	if err != nil {
		return false, fmt.Errorf("look for a leftover server: %w", err)
	}
	defer root.Close()
	text, err := root.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a leftover server: %w", err)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return true, nil // the file is malformed: the new server reports that when it starts
	}
	switch {
	case !alive(pid):
		return true, nil
	case serves(pid, data):
		log.Warn().Int("pid", pid).Str("data", data).Msg("ending the postgres server of an earlier run")
		return true, end(ctx, pid, data)
	}
	// PostgreSQL regards the process ID of its own parent as stale. The rest of the file must stay: with it the new server
	// checks whether the shared memory is still in use.
	if err = root.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600); err != nil {
		return true, fmt.Errorf("free the data folder: %w", err)
	}
	return true, nil
}

// end sends the same signals as a stop does, and at last SIGKILL. The process is not a child of this one, so end polls for its
// exit.
func end(ctx context.Context, pid int, data string) error {
	steps := []struct {
		sig   syscall.Signal
		grace time.Duration
	}{
		{syscall.SIGINT, stopGrace},
		{syscall.SIGQUIT, quitGrace},
		{syscall.SIGKILL, quitGrace},
	}
	for _, step := range steps {
		if err := syscall.Kill(pid, step.sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end leftover server %d: %w", pid, err)
		}
		_ = syscall.Kill(pid, syscall.SIGCONT) // a paused server would not react
		for deadline := time.Now().Add(step.grace); time.Now().Before(deadline); {
			if !alive(pid) || !serves(pid, data) {
				return nil
			}
			if wait.For(ctx, pollEvery) != nil {
				return fmt.Errorf("end leftover server %d: %w", pid, context.Cause(ctx))
			}
		}
	}
	return fmt.Errorf("end leftover server %d: it does not end", pid)
}

func alive(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// names reports whether a command line is that of a PostgreSQL server on the data folder.
func names(args []string, data string) bool {
	if len(args) == 0 || !strings.HasPrefix(filepath.Base(args[0]), "post") {
		return false
	}
	for i, arg := range args[1:] {
		if arg == "-D" && i+2 < len(args) && args[i+2] == data {
			return true
		}
	}
	return false
}
