package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/pg"
)

// PrepareStack creates the state folder of a stack for a test, unless the folder exists. The folder contains a PostgreSQL
// cluster, whose creation takes seconds. Therefore PrepareStack copies a state folder that the tests of several packages share,
// so that all their stacks have the same passwords. PrepareStack does nothing if SharedVariable is not set.
func PrepareStack(ctx context.Context, dir string) error {
	shared := os.Getenv(SharedVariable)
	if shared == "" {
		return nil
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	shared = filepath.Join(shared, "stack")
	original := filepath.Join(shared, "state")
	if err := once(ctx, shared, func() error { return prepare(ctx, original) }); err != nil {
		return fmt.Errorf("prepare a stack: %w", err)
	}
	if _, err := os.Stat(original); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// The cluster may belong to another user: the copy has the same owner.
	if out, err := exec.CommandContext(ctx, "cp", "-a", original, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("prepare a stack: %w: %s", err, out)
	}
	return nil
}

// prepare starts a stack in a new folder, stops it, and removes the files that two stacks must not share. It removes the
// whole folder if PostgreSQL's user cannot reach it: the cluster is in another folder then, to which every copy would refer.
func prepare(ctx context.Context, dir string) error {
	s, err := stack.Start(ctx, stack.Options{Dir: dir, Fast: true, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	if err := s.Stop(ctx); err != nil {
		return err
	}
	if elsewhere, err := pg.Location(dir); err != nil || elsewhere != "" {
		return errors.Join(err, stack.Remove(dir))
	}
	return stack.ForgetPorts(dir)
}
