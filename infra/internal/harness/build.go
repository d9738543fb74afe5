package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sori.internal/infra/internal/stack/proc"
)

// BuildOptions say how to build.
type BuildOptions struct {
	Race bool // with the race detector, whose findings are in the logs
	// Profile makes the services write a CPU profile of their life, when they are stopped, into the file that the variable
	// ProfileVariable names. They are otherwise what they are.
	Profile bool
}

// ProfileVariable names the file that a program built with Profile writes.
const ProfileVariable = "SORI_CPU_PROFILE"

// SharedVariable names a folder for programs that were built, to be used again by all who build the same. The tests of several
// packages need them, and linking them takes most of what a build does.
const SharedVariable = "SORI_TEST_SHARED_PROGRAMS"

// othersBuild bounds the wait for whoever builds the same at the moment.
const othersBuild = 10 * time.Minute

// Build builds every program into dir, with the go command. The present folder must lie in the workspace. Where SharedVariable is
// set, programs that are there already are used, and dir has links to them.
func Build(ctx context.Context, dir string, opts BuildOptions) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	shared := os.Getenv(SharedVariable)
	if shared == "" || opts.Profile {
		return build(ctx, dir, opts)
	}
	shared = filepath.Join(shared, fmt.Sprintf("race-%t", opts.Race))
	if err := buildOnce(ctx, shared, opts); err != nil {
		return err
	}
	for _, name := range Names() {
		link := filepath.Join(dir, name)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("build: %w", err)
		}
		if err := os.Symlink(filepath.Join(shared, name), link); err != nil {
			return fmt.Errorf("build: %w", err)
		}
	}
	return nil
}

// buildOnce builds into a folder unless that was done before, by whichever process.
func buildOnce(ctx context.Context, dir string, opts BuildOptions) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	lock, err := proc.WaitForLock(ctx, filepath.Join(dir, "lock"), othersBuild)
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	whole := filepath.Join(dir, "whole")
	if _, err := os.Stat(whole); err == nil {
		return nil
	}
	if err := build(ctx, dir, opts); err != nil {
		return err
	}
	if err := os.WriteFile(whole, nil, 0o600); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	return nil
}

func build(ctx context.Context, dir string, opts BuildOptions) error {
	args := []string{"build", "-o", filepath.Clean(dir) + string(filepath.Separator)}
	if opts.Race {
		args = append(args, "-race")
	}
	if opts.Profile {
		scratch, err := os.MkdirTemp("", "sori-profile-")
		if err != nil {
			return fmt.Errorf("build: %w", err)
		}
		defer os.RemoveAll(scratch)
		overlay, err := profiled(ctx, scratch)
		if err != nil {
			return fmt.Errorf("build: %w", err)
		}
		args = append(args, "-overlay", overlay)
	}
	for _, name := range Names() {
		args = append(args, source(name))
	}
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	return nil
}

// source is the package of a program.
func source(name string) string {
	if name == Analyzer {
		return "sori.internal/infra/analyzer"
	}
	return "sori.internal/services/" + name
}

// profiledMain takes the place of a service's main.go, which says the same but for the profile.
const profiledMain = `package main

import (
	"fmt"
	"os"
	"runtime/pprof"

	"sori.internal/services/NAME/app"
	"sori.internal/shared/lifecycle"
)

func main() {
	file, err := os.Create(os.Getenv("` + ProfileVariable + `"))
	if err == nil {
		err = pprof.StartCPUProfile(file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
	code := lifecycle.Main(app.Run, &app.Config{})
	pprof.StopCPUProfile()
	if err := file.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
	}
	os.Exit(code)
}
`

// profiled writes an overlay (go help build) that replaces the services' main functions, and returns its file.
func profiled(ctx context.Context, scratch string) (string, error) {
	replace := map[string]string{}
	for _, name := range Names() {
		if name == Analyzer {
			continue // not ours to make faster
		}
		out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", source(name)).Output()
		if err != nil {
			return "", fmt.Errorf("find the %s: %w", name, err)
		}
		instead := filepath.Join(scratch, name+".go")
		if err := os.WriteFile(instead, []byte(strings.ReplaceAll(profiledMain, "NAME", name)), 0o600); err != nil {
			return "", fmt.Errorf("write an overlay: %w", err)
		}
		replace[filepath.Join(strings.TrimSpace(string(out)), "main.go")] = instead
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("write an overlay: %w", err)
	}
	file := filepath.Join(scratch, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", fmt.Errorf("write an overlay: %w", err)
	}
	return file, nil
}
