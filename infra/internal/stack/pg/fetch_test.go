package pg

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// repository serves an archive as Maven Central does.
func repository(t *testing.T) *httptest.Server {
	t.Helper()
	inner, err := os.ReadFile(filepath.Join("testdata", "binaries.txz"))
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.Create("postgres.txz")
	if err == nil {
		_, err = w.Write(inner)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(jar.Bytes())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := jar.Bytes()
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			body = []byte(hex.EncodeToString(sum[:]))
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(srv.Close)
	return srv
}

func fetcher(t *testing.T, repository, cache string) *Server {
	t.Helper()
	user, err := runUser(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &Server{
		opts:  Options{Log: zerolog.Nop(), Repository: repository, Search: Search{Cache: cache}},
		place: place{user: user},
	}
}

func TestBinariesAreDownloadedOnce(t *testing.T) {
	t.Parallel()
	repo := repository(t)
	cache := filepath.Join(openDir(t), "cache")
	s := fetcher(t, repo.URL, cache)
	bin, err := s.fetched(testContext(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := version(testContext(t), bin); err != nil || n != 17 {
		t.Errorf("version = %d, %v; want 17", n, err)
	}
	if to, err := os.Readlink(filepath.Join(bin, "..", "lib", "libx.so")); err != nil || to != "libx.so.1" {
		t.Errorf("link = %q, %v", to, err)
	}
	repo.Close()
	if again, err := s.fetched(testContext(t), 0); err != nil || again != bin {
		t.Errorf("second time = %q, %v; want %q without a download", again, err, bin)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "unpack-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAFailedDownloadLeavesNothing(t *testing.T) {
	t.Parallel()
	repo := httptest.NewServer(http.NotFoundHandler())
	defer repo.Close()
	cache := filepath.Join(openDir(t), "cache")
	if _, err := fetcher(t, repo.URL, cache).fetched(testContext(t), 15); err == nil {
		t.Fatal("a missing archive was downloaded")
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestADownloadCanBeCalledOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	repo := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done() // wait until the killed client's connection is gone
	}))
	defer repo.Close()
	begun := time.Now()
	_, err := fetcher(t, repo.URL, filepath.Join(openDir(t), "cache")).fetched(ctx, 0)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("called off after %v: %v, want %v", time.Since(begun), err, context.Canceled)
	}
}

func TestAVersionThatNobodyServesIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := fetcher(t, "", openDir(t)).fetched(testContext(t), 9); err == nil {
		t.Error("version 9 was found")
	}
}

func TestTheSearchWantsBothProgramsAndTheNewest(t *testing.T) {
	t.Parallel()
	root := openDir(t)
	programs := func(dir string, mode os.FileMode, names ...string) string {
		t.Helper()
		dir = filepath.Join(root, dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	programs("lib/9.6/bin", 0o755, "postgres", "initdb")
	programs("lib/15/bin", 0o755, "postgres", "initdb")
	programs("lib/16/bin", 0o755, "postgres")           // this folder has no initdb
	programs("lib/17/bin", 0o644, "postgres", "initdb") // cannot be run
	links := programs("links", 0o755)
	if err := os.Symlink(filepath.Join(root, "lib/9.6/bin/postgres"), filepath.Join(links, "postgres")); err != nil {
		t.Fatal(err)
	}
	glob := []string{filepath.Join(root, "lib/*/bin")}
	check := func(path string, want ...string) {
		t.Helper()
		got := candidates(Search{Path: path, Globs: glob}, nil)
		for i := range want {
			want[i] = filepath.Join(root, want[i])
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("candidates = %v, want %v", got, want)
		}
	}
	check(root, "lib/15/bin", "lib/9.6/bin")
	check(links, "lib/9.6/bin", "lib/15/bin") // PATH comes first, and its link is followed
}
