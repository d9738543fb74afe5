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
)

const pidFile = "postmaster.pid"

// endLeftover ends the server that a killed process left on this data folder, and reports whether anything was left. It
// touches a process only when that runs on this very folder; a number that now belongs to a stranger is taken out of the
// server's lock file, which would otherwise refuse to start.
func endLeftover(ctx context.Context, data string, log zerolog.Logger) (bool, error) {
	root, err := os.OpenRoot(data) // the folder belongs to another user: no link leads out of it
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
		return true, nil // what it makes of such a file is the server's to say
	}
	switch {
	case !alive(pid):
		return true, nil
	case serves(pid, data):
		log.Warn().Int("pid", pid).Str("data", data).Msg("ending the postgres server of an earlier run")
		return true, end(ctx, pid, data)
	}
	// Our own number counts as stale to our child, and the rest of the file still guards the shared memory.
	if err = root.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600); err != nil {
		return true, fmt.Errorf("free the data folder: %w", err)
	}
	return true, nil
}

// end takes the same steps as a stop. The process is not our child, so its end is polled for.
func end(ctx context.Context, pid int, data string) error {
	steps := []struct {
		sig   syscall.Signal
		grace time.Duration
	}{
		{syscall.SIGINT, stopGrace},
		{syscall.SIGQUIT, quitGrace},
		{syscall.SIGKILL, quitGrace},
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for _, step := range steps {
		if err := syscall.Kill(pid, step.sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end leftover server %d: %w", pid, err)
		}
		_ = syscall.Kill(pid, syscall.SIGCONT) // it may have been paused
		for deadline := time.Now().Add(step.grace); time.Now().Before(deadline); {
			if !alive(pid) || !serves(pid, data) {
				return nil
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("end leftover server %d: %w", pid, context.Cause(ctx))
			}
		}
	}
	return fmt.Errorf("end leftover server %d: it does not end", pid)
}

func alive(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// names tells whether a command line is that of a server on the data folder.
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
