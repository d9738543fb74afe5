package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sori.internal/infra/internal/stack"
)

// System is a complete installation: all programs as processes, and a stack with their dependencies.
type System struct {
	*Fleet
	Stack *stack.Stack

	dir string
}

// SystemOptions are the settings of a System.
type SystemOptions struct {
	Dir   string // folder for data, logs and programs; created if it does not exist
	Build BuildOptions
	Stack stack.Options // StartSystem sets Dir
	Fleet Options       // options of the Fleet; StartSystem sets Dir and Deps, and Programs if that is empty
}

// TempDir creates a folder for a System, like os.MkdirTemp. Other users may traverse it, because PostgreSQL runs as another
// user if this process runs as root.
func TempDir(parent, pattern string) (string, error) {
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", fmt.Errorf("open the folder: %w", err)
	}
	return dir, nil
}

// StartSystem builds the programs, unless o.Fleet.Programs is set, and starts the dependencies and the
// programs. If that fails, it stops all that it has started.
func StartSystem(ctx context.Context, o SystemOptions) (_ *System, err error) {
	if err := os.MkdirAll(o.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s := &System{dir: o.Dir} // no result: the function below needs it also when nil is returned
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
	if o.Stack.Fast {
		if err := PrepareStack(ctx, o.Stack.Dir); err != nil {
			return nil, err
		}
	}
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

// Dir returns the folder with data and logs.
func (s *System) Dir() string { return s.dir }

// Stop stops the programs and then the dependencies. It may be called several times.
func (s *System) Stop(ctx context.Context) error {
	var errs []error
	if s.Fleet != nil {
		errs = append(errs, s.Fleet.Stop(ctx))
	}
	if s.Stack != nil {
		errs = append(errs, s.Stack.Stop(ctx))
	}
	return errors.Join(errs...)
}

// Remove deletes the folder of a System that was stopped.
func (s *System) Remove() error {
	return errors.Join(stack.Remove(s.stackDir()), os.RemoveAll(s.dir))
}
