package decode

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestProcessesThatBuildTheDecoderAtTheSameTimeGetOneProgram(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	keepCompiled(t, cache)
	var found [3]Found
	var failed [len(found)]error
	var wg sync.WaitGroup
	for i := range found {
		wg.Go(func() { found[i], failed[i] = NewProgram("", cache).Find(t.Context()) })
	}
	wg.Wait()
	if err := errors.Join(failed[:]...); err != nil || found[1] != found[0] || found[2] != found[0] {
		t.Fatalf("%v, %v", found, err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "build-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	unlock, err := lock(t.Context(), filepath.Join(cache, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	d := New(Settings{Cache: cache, Processes: 1, Memory: 256 << 20, MaxSeconds: 60})
	t.Cleanup(d.Close)
	if err := d.Prepare(t.Context()); err != nil { // does not wait for the lock, since the program exists
		t.Fatal(err)
	}
	s, err := d.Open(t.Context(), Source{Path: "testdata/mono.ogg", Size: 4054})
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]float32, 4096); err == nil; {
		_, err = s.Read(block)
	}
	if s.Close(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// keepCompiled makes a cache folder use the ffmpeg that was compiled for the other tests, since compiling it takes half
// a minute.
func keepCompiled(t *testing.T, cache string) {
	t.Helper()
	d := newDecoder(t)
	if err := d.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	compiled, err := filepath.Glob(filepath.Join(d.program.found.Cache, "wazero-*"))
	if err != nil || len(compiled) == 0 {
		t.Fatal("ffmpeg is not compiled", err)
	}
	for _, folder := range compiled {
		if err := os.Symlink(folder, filepath.Join(cache, filepath.Base(folder))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADecoderThatCannotBeBuiltIsAnErrorWithItsReason(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := t.TempDir()
	if err := os.Mkdir(filepath.Join(locked, "lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ends        bool // the analyzer is told to stop
		cache, want string
	}{
		"the cache folder is a file":   {false, filepath.Join(file, "cache"), "cache folder"},
		"the lock is a folder":         {false, locked, "lock"},
		"the analyzer is told to stop": {true, t.TempDir(), context.Canceled.Error()},
	} {
		ctx := t.Context()
		if c.ends {
			ctx = ended
		}
		d := New(Settings{Cache: c.cache, Processes: 1})
		if err := d.Prepare(ctx); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, err := d.launch(ctx); err == nil {
			t.Errorf("%s: a process was started", name)
		}
	}
}
