package pg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sori.internal/infra/internal/stack/proc"
)

// ErrNoBinaries means that this machine has no usable PostgreSQL, and that the download of one failed.
var ErrNoBinaries = errors.New("no PostgreSQL to run: install it " +
	"(Debian, Ubuntu: apt install postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql)")

// Search lists the folders to search for binaries.
type Search struct {
	Path  string   // a list of folders in the format of PATH; "" means the variable PATH
	Globs []string // patterns of install folders; nil means those of the usual packages
	Cache string   // the folder for downloads; "" means the user's cache folder or, if the run user cannot reach that, /var/cache
}

// installFolders returns patterns of the folders into which packages install programs that are not in PATH.
func installFolders() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",  // Debian, Ubuntu
		"/usr/pgsql-*/bin",           // the PostgreSQL project's packages for Fedora and similar systems
		"/usr/libexec/postgresql*",   // Alpine
		"/usr/lib/postgresql*/bin",   // SUSE
		"/usr/local/pgsql/bin",       // built from source
		"/usr/local/lib/postgresql*", // BSD
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
		"/opt/local/lib/postgresql*/bin", // MacPorts
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	}
}

// binaries returns a folder with initdb and postgres. If the cluster exists, they have the major version that created the
// cluster, because no other version can open it. If no folder has this version, binaries downloads it.
func (s *Server) binaries(ctx context.Context) (string, error) {
	want, err := s.place.major()
	if err != nil {
		return "", err
	}
	var others []string
	for _, dir := range candidates(s.opts.Search, s.place.user) {
		have, err := version(ctx, dir)
		if err != nil {
			s.opts.Log.Debug().Err(err).Str("dir", dir).Msg("not a usable postgres")
			continue
		}
		if want == 0 || have == want {
			return dir, nil
		}
		others = append(others, fmt.Sprintf("%d in %s", have, dir))
	}
	dir, err := s.fetched(ctx, want)
	if err == nil {
		return dir, nil
	}
	if len(others) > 0 {
		return "", fmt.Errorf("the cluster in %s was made by PostgreSQL %d, here is %s: install %d, or remove the cluster: %w",
			s.place.folder, want, strings.Join(others, ", "), want, err)
	}
	return "", fmt.Errorf("%w: %w", ErrNoBinaries, err)
}

// major returns the major version that created the cluster, or 0 if there is no cluster.
func (p place) major() (int, error) {
	text, err := os.ReadFile(filepath.Join(p.data(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the cluster's version: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read the cluster's version: %w", err)
	}
	return n, nil
}

// candidates lists the folders whose programs the user can run: first the folders of PATH in its order, then the install
// folders, the newest version first.
func candidates(search Search, u *proc.User) []string {
	path, globs := search.Path, search.Globs
	if path == "" {
		path = os.Getenv("PATH")
	}
	if globs == nil {
		globs = installFolders()
	}
	var installed []string
	for _, g := range globs {
		found, err := filepath.Glob(g)
		if err == nil { // the patterns are constants; a malformed pattern is skipped
			installed = append(installed, found...)
		}
	}
	slices.SortStableFunc(installed, func(a, b string) int { return cmp.Compare(number(b), number(a)) })

	var usable []string
	for _, dir := range append(filepath.SplitList(path), installed...) {
		// PATH may contain symbolic links to single programs, but a program finds its libraries relative to its real folder.
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
		if err != nil {
			continue
		}
		if dir = filepath.Dir(real); !slices.Contains(usable, dir) && complete(dir, u) {
			usable = append(usable, dir)
		}
	}
	return usable
}

// complete reports whether the folder contains postgres and initdb and the user can run both.
func complete(dir string, u *proc.User) bool {
	for _, program := range []string{"postgres", "initdb"} {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, program))
		if err != nil || !reachable(filepath.Dir(path), u) {
			return false
		}
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
			return false
		}
		if u != nil && !allowed(info, u, 5) {
			return false
		}
	}
	return true
}

// number returns the version in the name of an install folder, or 0 if the name has none.
func number(dir string) float64 {
	n, err := strconv.ParseFloat(regexp.MustCompile(`\d+(\.\d+)?`).FindString(dir), 64)
	if err != nil {
		return 0
	}
	return n
}

// version runs the server program in dir with --version and returns its major version.
func version(ctx context.Context, dir string) (int, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Env = environment()
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("ask postgres for its version: %w", err)
	}
	found := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("ask postgres for its version: it answered %q", out)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		return 0, fmt.Errorf("ask postgres for its version: %w", err)
	}
	return n, nil
}
