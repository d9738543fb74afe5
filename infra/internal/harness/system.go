package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"sori.internal/infra/internal/stack"
)

// System is all of Sori: the programs as processes, with dependencies of their own.
type System struct {
	*Fleet
	Stack *stack.Stack

	dir string
}

// SystemOptions say how to start a System.
type SystemOptions struct {
	Dir   string // gets data, logs and programs; made if it is missing
	Build BuildOptions
	Stack stack.Options // the folder is set by StartSystem
	Fleet Options       // so are the folder and the dependencies, and the programs unless they are given
}

// TempDir makes a folder for a System. Other users may pass through it: PostgreSQL runs as a user of
// its own if this process is root's.
func TempDir(pattern string) (string, error) {
	dir, err := os.MkdirTemp("", pattern)
	if err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", fmt.Errorf("open the folder: %w", err)
	}
	return dir, nil
}

// StartSystem builds the programs, unless they are given, and starts the dependencies and the
// programs. If something fails, it stops what it has started.
func StartSystem(ctx context.Context, o SystemOptions) (s *System, err error) {
	if err := os.MkdirAll(o.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s = &System{dir: o.Dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if o.Fleet.Programs == "" {
		o.Fleet.Programs = filepath.Join(o.Dir, "programs")
		if err := Build(ctx, o.Fleet.Programs, o.Build); err != nil {
			return nil, err
		}
	}
	o.Stack.Dir = s.stackDir()
	if s.Stack, err = stack.Start(ctx, o.Stack); err != nil {
		return nil, err
	}
	o.Fleet.Dir, o.Fleet.Deps = filepath.Join(o.Dir, "logs"), s.Stack.Endpoints
	if s.Fleet, err = Start(ctx, o.Fleet); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *System) stackDir() string { return filepath.Join(s.dir, "stack") }

// Dir is the folder with data and logs.
func (s *System) Dir() string { return s.dir }

// Stop stops the programs and then the dependencies. It may be called again.
func (s *System) Stop(ctx context.Context) error {
	var errs []error
	if s.Fleet != nil {
		errs = append(errs, s.Fleet.Stop(ctx))
	}
	if s.Stack != nil {
		for _, part := range s.Stack.Parts() { // a paused part could not be stopped
			_ = s.Stack.SignalAll(part, syscall.SIGCONT)
		}
		errs = append(errs, s.Stack.Stop(ctx))
	}
	return errors.Join(errs...)
}

// Remove deletes the folder of a System that was stopped.
func (s *System) Remove() error {
	return errors.Join(stack.Remove(s.stackDir()), os.RemoveAll(s.dir))
}
