package pg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// file writes a file, and the folders above it.
func file(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks that a server does not start in a state folder, for a reason that contains the text why.
func refused(t *testing.T, opts Options, why string) {
	t.Helper()
	srv, err := Start(testContext(t), opts)
	if err == nil {
		stop(t, srv)
	}
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("start: %v, want an error that says %q", err, why)
	}
}

func TestADamagedStateFolderIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ path, text, why string }{
		"version without a number": {"postgres/data/PG_VERSION", "seventeen\n", "read the cluster's version"},
		"version that is a folder": {"postgres/data/PG_VERSION/file", "", "read the cluster's version"},
		"data without a version":   {"postgres/data/base/1/112", "rows", "create cluster"},
		"file for the cluster":     {"postgres", "", "look for the cluster"},
		"relative location":        {"postgres.location", "elsewhere/postgres\n", "find cluster folder"},
		"location of other data":   {"postgres.location", "/var/lib/important\n", "find cluster folder"},
		"location that is a folder": {
			"postgres.location/file", "", "find cluster folder",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			path := filepath.Join(dir, c.path)
			file(t, path, c.text)
			refused(t, options(t, dir), c.why)
			if kept, err := os.ReadFile(path); err != nil || string(kept) != c.text {
				t.Errorf("%s is %q, %v after the start", c.path, kept, err)
			}
		})
	}
}

func TestAServerThatCannotOpenItsDataFailsTheStart(t *testing.T) {
	t.Parallel()
	opts := options(t, openDir(t))
	srv := start(t, opts)
	control := filepath.Join(srv.place.data(), "global", "pg_control")
	stop(t, srv)
	if err := os.Remove(control); err != nil {
		t.Fatal(err)
	}
	_, err := Start(testContext(t), opts)
	if !errors.Is(err, errEarlyExit) || !strings.Contains(err.Error(), "pg_control") {
		t.Errorf("start without a control file: %v, want the server's own words", err)
	}
}

// The server itself reports a malformed PID file. Whatever the file names must not be ended.
func TestAMalformedPIDFileEndsNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "four\n", "0\n", "-1\n", "1\n"} {
		data := t.TempDir()
		file(t, filepath.Join(data, pidFile), text)
		if found, err := endLeftover(t.Context(), data, zerolog.Nop()); err != nil || !found {
			t.Errorf("%q: %t, %v; want a leftover file and no error", text, found, err)
		}
		if kept, err := os.ReadFile(filepath.Join(data, pidFile)); err != nil || string(kept) != text {
			t.Errorf("%q became %q, %v", text, kept, err)
		}
	}
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, pidFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := endLeftover(t.Context(), data, zerolog.Nop()); err == nil {
		t.Error("a folder for a PID file is no error")
	}
}

func TestProgramsThatDoNotTellTheirVersionAreSkipped(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	folders := []string{filepath.Join(root, "fails"), filepath.Join(root, "silent"), filepath.Join(root, "works")}
	search := Search{Path: strings.Join(folders, string(filepath.ListSeparator)), Globs: []string{}}
	s := &Server{opts: Options{Log: zerolog.Nop(), Search: search}, place: place{folder: t.TempDir()}}
	if bin, err := s.binaries(testContext(t)); err != nil || bin != folders[2] {
		t.Errorf("programs in %s, %v; want those in %s", bin, err, folders[2])
	}
}

// The folders above the cluster were closed after the cluster was made. A new cluster elsewhere would hide the data.
func TestAClusterThatCanNoLongerBeReachedIsNotReplaced(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another user")
	}
	opts := options(t, openDir(t))
	file(t, filepath.Join(opts.Dir, folderName, dataName, "PG_VERSION"), "17\n")
	if err := os.Chmod(opts.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	opts.FallbackDir = openDir(t)
	refused(t, opts, "chmod o+x")
	if made, err := os.ReadDir(opts.FallbackDir); err != nil || len(made) > 0 {
		t.Errorf("the fallback folder has %v, %v", made, err)
	}
}

func TestAFallbackFolderThatCannotBeUsedIsNamed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another user")
	}
	opts := options(t, t.TempDir()) // only the owner can traverse this folder, and the next one
	opts.FallbackDir = t.TempDir()
	refused(t, opts, "reach neither "+opts.Dir+" nor "+opts.FallbackDir)

	opts = options(t, t.TempDir())
	stranger := filepath.Join(openDir(t), "sori-x")
	if err := os.Mkdir(stranger, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(stranger, 0o777); err != nil { // regardless of the umask
		t.Fatal(err)
	}
	file(t, filepath.Join(opts.Dir, pointerName), filepath.Join(stranger, folderName)+"\n")
	refused(t, opts, "was made by somebody else")
}
