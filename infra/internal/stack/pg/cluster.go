package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"sori.internal/infra/internal/stack/proc"
)

// create creates the cluster unless it exists. It creates the cluster under another name and renames it, so that an
// interrupted creation leaves no incomplete cluster.
func (p place) create(ctx context.Context, bin string, opts Options) error {
	_, err := os.Stat(filepath.Join(p.data(), "PG_VERSION"))
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for the cluster: %w", err)
	}
	secret := filepath.Join(p.folder, "password")
	if err = p.hand(secret, opts.AdminPassword); err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	defer os.Remove(secret)
	fresh := p.data() + ".new"
	// Not every system has the locale C.UTF-8. C sorts in the same order, and differs only in the upper and lower case of
	// characters outside ASCII.
	for _, locale := range []string{"C.UTF-8", "C"} {
		if err = os.RemoveAll(fresh); err != nil {
			return fmt.Errorf("create cluster: %w", err)
		}
		if err = p.initdb(ctx, bin, fresh, secret, locale, opts); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	if err = os.Rename(fresh, p.data()); err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	return nil
}

func (p place) initdb(ctx context.Context, bin, data, secret, locale string, opts Options) error {
	args := []string{
		"-D", data, "-U", admin, "-A", "scram-sha-256", "--pwfile=" + secret,
		"--encoding=UTF8", "--locale=" + locale, "--no-instructions",
	}
	if opts.Fast {
		args = append(args, "--no-sync")
	}
	return proc.Run(ctx, proc.Spec{
		Name: "initdb",
		Path: filepath.Join(bin, "initdb"),
		Args: args,
		Env:  environment(),
		Dir:  p.folder,
		User: p.user,
		Log:  opts.Log,

		OnParentDeath: syscall.SIGKILL,
	})
}

// hand writes a file that only the run user may read.
func (p place) hand(path, text string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write password: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write password: %w", err)
	}
	if p.user != nil {
		err = f.Chown(int(p.user.UID), int(p.user.GID))
	}
	if err == nil {
		_, err = f.WriteString(text + "\n")
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write password: %w", err)
	}
	return nil
}
