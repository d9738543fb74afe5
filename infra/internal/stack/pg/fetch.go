package pg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	embedded "github.com/fergusstrange/embedded-postgres"

	"sori.internal/infra/internal/stack/proc"
)

// FetchRole is the role (proc.RunPart) of the process that downloads PostgreSQL. The download library has
// no context and no time limit, and exits the process on some errors, so it runs in a child process that
// can be killed.
const FetchRole = "postgres-fetch"

// defaultVersion is the version that is downloaded for a new cluster.
const defaultVersion = embedded.V17

// fetchSettings is the configuration of the child process.
type fetchSettings struct {
	Archives   string // the folder for the downloaded archive
	Target     string // the folder into which the archive is unpacked
	Version    string
	Repository string
}

// fetched returns the folder of the downloaded binaries of a major version, 0 for the default version. It downloads them if
// they are not in the cache.
func (s *Server) fetched(ctx context.Context, major int) (string, error) {
	version := defaultVersion
	if major != 0 {
		version = ""
		for _, v := range []embedded.PostgresVersion{embedded.V14, embedded.V15, embedded.V16, embedded.V17, embedded.V18} {
			if strings.HasPrefix(string(v), strconv.Itoa(major)+".") {
				version = v
			}
		}
		if version == "" {
			return "", fmt.Errorf("version %d cannot be downloaded", major)
		}
	}
	cache, err := s.cache()
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, "postgres-"+string(version))
	bin := filepath.Join(final, "bin")
	if complete(bin, s.place.user) {
		return bin, nil
	}
	s.opts.Log.Info().Str("version", string(version)).Str("into", final).Msg("downloading postgres")
	if err = s.download(ctx, cache, final, string(version)); err != nil {
		return "", err
	}
	if !complete(bin, s.place.user) {
		return "", fmt.Errorf("what was downloaded into %s cannot be run", final)
	}
	return bin, nil
}

// download unpacks the binaries into a temporary folder and renames it to the folder final. So if the folder final exists,
// it is complete.
func (s *Server) download(ctx context.Context, cache, final, version string) error {
	target, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return fmt.Errorf("download postgres: %w", err)
	}
	defer os.RemoveAll(target)
	if err = os.Chmod(target, 0o755); err != nil {
		return fmt.Errorf("download postgres: %w", err)
	}
	err = proc.RunPart(ctx, FetchRole, fetchSettings{
		Archives: cache, Target: target, Version: version, Repository: s.opts.Repository,
	}, s.opts.Log)
	if err != nil {
		return fmt.Errorf("download postgres: %w", err)
	}
	if err = os.Rename(target, final); err != nil && !complete(filepath.Join(final, "bin"), s.place.user) {
		return fmt.Errorf("download postgres: %w", err) // no error if another process has already downloaded the same version
	}
	return nil
}

// cache returns a folder for downloads that the user who runs PostgreSQL can reach.
func (s *Server) cache() (string, error) {
	dir := s.opts.Search.Cache
	if dir == "" {
		user, err := os.UserCacheDir()
		if err == nil && reachable(existing(user), s.place.user) {
			dir = filepath.Join(user, "sori")
		} else if s.place.user != nil {
			dir = "/var/cache/sori"
		} else {
			return "", fmt.Errorf("find a folder for downloads: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a folder for downloads: %w", err)
	}
	return dir, nil
}

// existing returns path if it exists, else its nearest parent folder that exists.
func existing(path string) string {
	for {
		_, err := os.Stat(path)
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// RunFetchRole downloads PostgreSQL. It runs in the child process.
func RunFetchRole(_ context.Context, config json.RawMessage, _ func()) error {
	var set fetchSettings
	if err := json.Unmarshal(config, &set); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	runtime := filepath.Join(set.Target, "runtime")
	c := embedded.DefaultConfig().
		Version(embedded.PostgresVersion(set.Version)).
		CachePath(set.Archives).
		BinariesPath(set.Target).
		RuntimePath(runtime).
		// Start would not only download but also run initdb, as the wrong user. Right after unpacking it removes the data
		// path, and os.RemoveAll fails for a path that ends with a dot: so Start returns before initdb.
		DataPath(runtime + "/.").
		Port(0).
		Logger(os.Stderr)
	if set.Repository != "" {
		c = c.BinaryRepositoryURL(set.Repository)
	}
	err := embedded.NewDatabase(c).Start()
	if err == nil {
		return errors.New("the library started a server instead of just downloading it")
	}
	// Start creates the runtime folder after everything is unpacked. So if the folder can be removed, the download has
	// succeeded.
	if os.Remove(runtime) == nil {
		return nil
	}
	return err
}
