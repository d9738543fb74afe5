package harness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sori.internal/infra/internal/stack/proc"
)

// ErrNoNPM means that npm is not installed.
var ErrNoNPM = errors.New("npm is not installed")

const (
	sumFile     = "sources.sha256" // the file in a build of the console with the hash of its sources
	lockFile    = ".lock"          // the file in the sources that lets one process build at a time
	nodeModules = "node_modules"
	handBuilt   = "dist" // folder of a build that a developer runs by hand

	toldLines = 12 // how many last lines of npm's output an error contains
)

// ConsoleSources returns the folder of the console's sources. The working directory must be in the workspace.
func ConsoleSources(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sori.internal/services/gateway").Output()
	if err != nil {
		return "", fmt.Errorf("find the gateway: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "console"), nil
}

// consoleFresh reports whether dir contains a build of the current sources.
func consoleFresh(sources, dir string) (bool, error) {
	want, err := sumOf(os.DirFS(sources))
	if err != nil {
		return false, err
	}
	got, err := os.ReadFile(filepath.Join(dir, sumFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look at the build: %w", err)
	}
	return string(got) == want, nil
}

// BuildConsole builds the page that the gateway serves to browsers, with npm, and replaces dir with the
// result. It does nothing if dir contains a build of the current sources. It installs the npm packages
// if they are missing or older than package-lock.json. It fails with ErrNoNPM without npm.
//
// A build is written to a new folder, which replaces the old one when the build is complete. Until then
// readers find the old build. While the folders are renamed they find no build for a moment.
func BuildConsole(ctx context.Context, sources, dir string) error {
	if fresh, err := consoleFresh(sources, dir); err != nil || fresh {
		return err
	}
	if _, err := exec.LookPath("npm"); err != nil {
		return ErrNoNPM
	}
	lock, err := proc.WaitForLock(ctx, filepath.Join(sources, lockFile), othersWork)
	if err != nil {
		return fmt.Errorf("build the console: %w", err)
	}
	defer func() { _ = lock.Release() }()
	// The sources are hashed before the build, so that the result is stale if a source changes during the
	// build.
	made, err := sumOf(os.DirFS(sources))
	if err != nil {
		return err
	}
	if !installed(sources) {
		if err := npm(ctx, sources, "ci"); err != nil {
			return err
		}
	}
	fresh := dir + ".new"
	if err := npm(ctx, sources, "run", "build", "--", "--outDir", fresh, "--emptyOutDir"); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	if err := os.WriteFile(filepath.Join(fresh, sumFile), []byte(made), 0o600); err != nil {
		return fmt.Errorf("keep the hash of the build: %w", err)
	}
	return replaceFolder(dir, fresh)
}

// replaceFolder replaces the folder dir with the folder in the parameter by.
func replaceFolder(dir, by string) error {
	old := dir + ".old"
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("remove an old build: %w", err)
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put the build in its place: %w", err)
	}
	if err := os.Rename(by, dir); err != nil {
		return fmt.Errorf("put the build in its place: %w", err)
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("remove the old build: %w", err)
	}
	return nil
}

// installed reports whether the packages were installed after the last change of
// package-lock.json. npm writes .package-lock.json after an installation.
func installed(sources string) bool {
	wanted, err := os.Stat(filepath.Join(sources, "package-lock.json"))
	if err != nil {
		return false
	}
	has, err := os.Stat(filepath.Join(sources, nodeModules, ".package-lock.json"))
	return err == nil && !has.ModTime().Before(wanted.ModTime())
}

// npm runs npm. When ctx ends, npm and all its child processes are killed.
func npm(ctx context.Context, dir string, args ...string) error {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "npm", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &said, &said
	proc.Group(cmd, syscall.SIGKILL)
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("npm %s: %w\n%s", args[0], err, strings.Join(lines[max(0, len(lines)-toldLines):], "\n"))
	}
	return nil
}

// sumOf returns the hash of the names and contents of all sources.
func sumOf(sources fs.FS) (string, error) {
	all := sha256.New()
	err := fs.WalkDir(sources, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == nodeModules || name == handBuilt:
			return fs.SkipDir
		case entry.IsDir() || name == lockFile:
			return nil
		}
		text, err := fs.ReadFile(sources, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(all, "%s %x\n", name, sha256.Sum256(text))
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read the console's sources: %w", err)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}
