package harness

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sori.internal/shared/testkit"
)

// project returns a folder of sources with the given shell script as the build script.
// npm runs it with the arguments of BuildConsole.
func project(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "package.json"), `{"name": "c", "version": "1.0.0", "scripts": {"build": "sh build.sh"}}`)
	write(t, filepath.Join(dir, "package-lock.json"), `{"name": "c", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {"": {"name": "c", "version": "1.0.0"}}}`)
	write(t, filepath.Join(dir, "build.sh"), script)
	return dir
}

// works is a build script that succeeds. Its second argument is the output folder.
const works = `mkdir -p "$2" && date +%N > "$2/index.html"`

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func fresh(t *testing.T, sources, dir string) bool {
	t.Helper()
	ok, err := consoleFresh(sources, dir)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestABuildIsFreshUntilItsSourcesChange(t *testing.T) {
	t.Parallel()
	sources, dir := project(t, works), filepath.Join(t.TempDir(), "built")
	if fresh(t, sources, dir) {
		t.Error("fresh before it is built")
	}
	if err := BuildConsole(t.Context(), sources, dir); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil || !fresh(t, sources, dir) {
		t.Errorf("built, and fresh is %v, %v", fresh(t, sources, dir), err)
	}
	write(t, filepath.Join(sources, "node_modules", "x", "index.js"), "a package")
	write(t, filepath.Join(sources, "dist", "index.html"), "by hand")
	if !fresh(t, sources, dir) {
		t.Error("stale by what is no source")
	}
	write(t, filepath.Join(sources, "src", "main.ts"), "let a")
	if fresh(t, sources, dir) {
		t.Error("fresh, with a new source")
	}
	if err := BuildConsole(t.Context(), sources, dir); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil || string(first) == string(second) {
		t.Errorf("not built again: %v", err)
	}
	for _, left := range []string{".new", ".old"} {
		if _, err := os.Stat(dir + left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", dir+left, err)
		}
	}
}

func TestABuildThatFailsLeavesTheOldOne(t *testing.T) {
	t.Parallel()
	sources, dir := project(t, works), filepath.Join(t.TempDir(), "built")
	if err := BuildConsole(t.Context(), sources, dir); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(sources, "build.sh"), `mkdir -p "$2"; echo the reason >&2; exit 3`)
	if err := BuildConsole(t.Context(), sources, dir); err == nil || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("it failed with %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "index.html")); err != nil || fresh(t, sources, dir) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := os.Stat(dir + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a build is left: %v", err)
	}
}

func TestAStopEndsABuild(t *testing.T) {
	t.Parallel()
	sources, dir := project(t, `touch begun; exec sleep 600`), filepath.Join(t.TempDir(), "built")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- BuildConsole(ctx, sources, dir) }()
	testkit.Eventually(t, func() error {
		_, err := os.Stat(filepath.Join(sources, "begun"))
		return err
	})
	stop()
	if err := <-ended; err == nil {
		t.Error("a build that was stopped is whole")
	}
	if fresh(t, sources, dir) {
		t.Error("fresh")
	}
}

func TestWithoutNPMThereIsNoBuild(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := BuildConsole(t.Context(), project(t, works), t.TempDir()); !errors.Is(err, ErrNoNPM) {
		t.Error(err)
	}
}
