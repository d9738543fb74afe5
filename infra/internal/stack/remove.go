package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sori.internal/infra/internal/stack/pg"
	"sori.internal/infra/internal/stack/proc"
)

// Remove deletes a state folder, and the PostgreSQL cluster that belongs to it if that is in another folder. It returns an error
// if the state folder is in use, and nil if the folder does not exist.
func Remove(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("remove stack: %w", err)
	}
	if _, err = os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := proc.AcquireLock(filepath.Join(dir, lockName))
	if err != nil {
		return fmt.Errorf("remove stack: %w", err)
	}
	elsewhere, err := pg.Location(dir)
	if err == nil && elsewhere != "" {
		err = os.RemoveAll(filepath.Dir(elsewhere))
	}
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err = errors.Join(err, lock.Release()); err != nil {
		return fmt.Errorf("remove stack: %w", err)
	}
	return nil
}
