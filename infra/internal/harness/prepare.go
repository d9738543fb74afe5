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

// PrepareStack creates the state folder of a stack that is only for a test, unless the folder exists. The folder contains a
// PostgreSQL cluster, which takes seconds to create: PrepareStack copies one that the tests of several packages share. All their
// stacks have the same passwords. PrepareStack does nothing if SharedVariable is not set.
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
	// A cluster that PostgreSQL's user cannot reach here lies elsewhere, and a copy of the folder would refer to the same cluster.
	if elsewhere, err := pg.Location(original); err != nil || elsewhere != "" {
		return err
	}
	// The cluster may belong to another user: the copy has the same owner.
	if out, err := exec.CommandContext(ctx, "cp", "-a", original, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("prepare a stack: %w: %s", err, out)
	}
	return nil
}

// prepare starts a stack in a new folder, stops it, and removes what two stacks must not have in common.
func prepare(ctx context.Context, dir string) error {
	s, err := stack.Start(ctx, stack.Options{Dir: dir, Fast: true, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	return errors.Join(s.Stop(ctx), stack.ForgetPorts(dir))
}
