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

// BuildOptions are the options of Build.
type BuildOptions struct {
	Race bool // build with the race detector, which reports races in the logs
	// Profile makes each process of a service write a CPU profile of its whole run, to a new file NAME.*.pprof in the folder
	// that the environment variable ProfileVariable names. The process writes the file when it is stopped.
	Profile bool
}

// ProfileVariable is the environment variable with the folder for the profiles of a program built with Profile.
const ProfileVariable = "SORI_CPU_PROFILE"

// SharedVariable is the environment variable with the path of a folder that the tests of several packages share. The folder
// contains the built programs, since linking takes most of the time of a build, and the state folder that PrepareStack copies.
const SharedVariable = "SORI_TEST_SHARED"

// othersWork is how long to wait for another process that builds the same programs or the console, or prepares the same folder.
const othersWork = 10 * time.Minute

// Build builds every program into dir, with the go command. The working directory must be in the workspace. If SharedVariable is
// set, Build builds the programs into that folder unless it has them already, and creates symbolic links to them in dir.
func Build(ctx context.Context, dir string, opts BuildOptions) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	shared := os.Getenv(SharedVariable)
	if shared == "" || opts.Profile {
		return build(ctx, dir, opts)
	}
	shared = filepath.Join(shared, fmt.Sprintf("programs-race-%t", opts.Race))
	if err := once(ctx, shared, func() error { return build(ctx, shared, opts) }); err != nil {
		return fmt.Errorf("build: %w", err)
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

// once calls the function fill, unless this or another process has already filled the folder.
func once(ctx context.Context, dir string, fill func() error) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := proc.WaitForLock(ctx, filepath.Join(dir, "lock"), othersWork)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	whole := filepath.Join(dir, "whole")
	if _, err := os.Stat(whole); err == nil {
		return nil
	}
	if err := fill(); err != nil {
		return err
	}
	return os.WriteFile(whole, nil, 0o600)
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

// source returns the import path of a program.
func source(name string) string {
	if name == Analyzer {
		return "sori.internal/infra/analyzer"
	}
	return "sori.internal/services/" + name
}

// profiledMain is the source that replaces a service's main.go. The only difference is the profile.
const profiledMain = `package main

import (
	"fmt"
	"os"
	"runtime/pprof"

	"sori.internal/services/NAME/app"
	"sori.internal/shared/lifecycle"
)

func main() {
	file, err := os.CreateTemp(os.Getenv("` + ProfileVariable + `"), "NAME.*.pprof")
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

// profiled writes an overlay file (see go help build) that replaces the main.go of each service, and returns its path.
func profiled(ctx context.Context, scratch string) (string, error) {
	replace := map[string]string{}
	for _, name := range Names() {
		if name == Analyzer {
			continue // the analysis server is not profiled
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
