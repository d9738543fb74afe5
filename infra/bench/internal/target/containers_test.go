package target

import (
	"os"
	"path/filepath"
	"testing"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
)

func TestTheLimitsAreThoseOfTheComposeFile(t *testing.T) {
	t.Parallel()
	found, err := parseContainers([]byte(`
x-base: &base {restart: always}
services:
  gateway: {<<: *base, mem_limit: 512m, environment: {GOMEMLIMIT: 400MiB, HTTP_ADDR: ":8000"}}
  analyzer: {mem_limit: 3g}
  postgres: {environment: {POSTGRES_DB: sori}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Container{
		"gateway": {Memory: 512 << 20, SoftMemory: 400 << 20}, "analyzer": {Memory: 3 << 30}, "postgres": {},
	} {
		if found[name] != want {
			t.Errorf("%s: %+v, want %+v", name, found[name], want)
		}
	}
	for _, text := range []string{"services: {a: {mem_limit: much}}", "services: {a: {mem_limit: 3t}}", "services: {a: {environment: {GOMEMLIMIT: x}}}", "services: ["} {
		if got, err := parseContainers([]byte(text)); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestEveryMeasuredProcessHasALimit(t *testing.T) {
	t.Parallel()
	found, err := ReadContainers()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(harness.Names(), string(stack.NATS), string(stack.S3), string(stack.Postgres)) {
		if found[name].Memory < 1<<20 {
			t.Errorf("%s: %+v", name, found[name])
		}
		if name != string(stack.Postgres) && found[name].SoftMemory == 0 {
			t.Errorf("%s has no GOMEMLIMIT", name)
		}
	}
}

func TestASizeHasTheUnitsOfComposeAndOfGo(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"": 0, "7": 7, "7b": 7, "2k": 2 << 10, "512m": 512 << 20, "512M": 512 << 20, "400MiB": 400 << 20, "3g": 3 << 30, "1GB": 1 << 30,
	} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestTheSizeOfAFolderIsThatOfItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"one": 1000, "a/two": 200, "a/b/three": 30} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := folderSize(dir); got != 1230 {
		t.Error(got)
	}
	if got := folderSize(filepath.Join(dir, "none")); got != 0 {
		t.Error(got)
	}
}
