package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Container has the limits of a process in docker-compose.yml.
type Container struct {
	Memory     int64 // mem_limit in bytes; 0 if there is none
	SoftMemory int64 // GOMEMLIMIT in bytes; 0 if there is none
}

// Containers has the containers in docker-compose.yml by service. A service has the name of its program.
type Containers map[string]Container

// composeFile is the file with the containers, at the root of the repository.
const composeFile = "docker-compose.yml"

// ReadContainers reads docker-compose.yml in the working directory or the nearest folder above it.
func ReadContainers() (Containers, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", composeFile, err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, composeFile))
		if err == nil {
			return parseContainers(text)
		}
		above := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || above == dir {
			return nil, fmt.Errorf("look for %s: %w", composeFile, err)
		}
		dir = above
	}
}

func parseContainers(text []byte) (Containers, error) {
	var file struct {
		Services map[string]struct {
			MemLimit    string `yaml:"mem_limit"`
			Environment map[string]string
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read %s: %w", composeFile, err)
	}
	found := Containers{}
	for name, service := range file.Services {
		memory, err := parseBytes(service.MemLimit)
		if err != nil {
			return nil, fmt.Errorf("read %s: mem_limit of %s: %w", composeFile, name, err)
		}
		soft, err := parseBytes(service.Environment["GOMEMLIMIT"])
		if err != nil {
			return nil, fmt.Errorf("read %s: GOMEMLIMIT of %s: %w", composeFile, name, err)
		}
		found[name] = Container{Memory: memory, SoftMemory: soft}
	}
	return found, nil
}

// parseBytes parses a size as compose (512m, 3g) or Go (400MiB) writes it. All units are powers of 1024. An
// empty text is 0.
func parseBytes(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	number := strings.TrimRight(text, "bBiIkKmMgG")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("size %q: %w", text, err)
	}
	switch unit := strings.ToLower(text[len(number):]); unit {
	case "", "b":
		return n, nil
	case "k", "kb", "kib":
		return n << 10, nil
	case "m", "mb", "mib":
		return n << 20, nil
	case "g", "gb", "gib":
		return n << 30, nil
	default:
		return 0, fmt.Errorf("size %q: unknown unit", text)
	}
}
