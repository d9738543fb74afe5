// Package containers_test compares the files for containers with each other and with the
// services' settings. Without a container engine it finds settings that are misspelt,
// unknown, or described with another default.
package containers_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestEveryContainerIsConfined(t *testing.T) {
	t.Parallel()
	for name, s := range services(t) {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: read only %v, drops %v, %v", name, s.ReadOnly, s.CapDrop, s.SecurityOpt)
		}
		if s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "" {
			t.Errorf("%s: its log grows without bounds", name)
		}
		if len(s.Healthcheck.Test) == 0 && !slices.Contains(s.Profiles, "tools") && name != "provision" {
			t.Errorf("%s: nobody asks for its health", name)
		}
		for _, port := range s.Ports {
			if host := expand(port, nil); !strings.HasPrefix(host, "127.0.0.1:") {
				t.Errorf("%s: %s is published to everybody by default", name, port)
			}
		}
	}
}

// megabytes parses a size such as 512m, 3g or 400MiB.
func megabytes(t *testing.T, size string) int {
	t.Helper()
	m := regexp.MustCompile(`^(\d+)(m|MiB|g)$`).FindStringSubmatch(size)
	if m == nil {
		t.Fatalf("%q is no size", size)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	if m[2] == "g" {
		n *= 1024
	}
	return n
}

func TestEveryContainerHasLimits(t *testing.T) {
	t.Parallel()
	for name, s := range services(t) {
		cpus, err := strconv.ParseFloat(expand(s.CPUs, nil), 64)
		if s.PidsLimit <= 0 || cpus <= 0 || err != nil {
			t.Errorf("%s: pids %d, cpus %q", name, s.PidsLimit, s.CPUs)
		}
		limit := megabytes(t, s.MemLimit)
		if name == "postgres" { // no Go program
			continue
		}
		// A fifth of the limit is for memory that Go does not count: the stacks of threads, and temporary
		// files in memory.
		if soft := megabytes(t, s.Environment["GOMEMLIMIT"]); soft*10 > limit*8 {
			t.Errorf("%s: GOMEMLIMIT is %d MiB of %d", name, soft, limit)
		}
	}
}

func TestEachContainerReachesOnlyWhatItNeeds(t *testing.T) {
	t.Parallel()
	file := compose(t)
	reaches := map[string]string{
		"analyzer": "dispatcher s3", "postgres": "gateway provision sorictl tracker",
		"nats":     "dispatcher gateway provision sorictl tracker uploader",
		"uploader": "dispatcher gateway nats provision s3 sorictl tracker",
	}
	for name, want := range reaches {
		var got []string
		for other, s := range file.Services {
			shares := slices.ContainsFunc(s.Networks, func(n string) bool { return slices.Contains(file.Services[name].Networks, n) })
			if other != name && shares {
				got = append(got, other)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s and %v reach each other, want %s", name, got, want)
		}
	}
	for name, s := range file.Services {
		if len(s.Networks) == 0 || s.NetworkMode != "" || s.Privileged {
			t.Errorf("%s: networks %v, mode %q, privileged %v", name, s.Networks, s.NetworkMode, s.Privileged)
		}
		for _, n := range s.Networks {
			network, known := file.Networks[n]
			if !known {
				t.Errorf("%s: the network %s is not declared", name, n)
			}
			outer := !network.Internal
			if may := name == "gateway" || name == "s3" || name == "dispatcher" || name == "uploader"; outer && !may {
				t.Errorf("%s reaches other hosts by %s", name, n)
			}
		}
	}
}

func TestOnlyTheGatewayAndS3ArePublished(t *testing.T) {
	t.Parallel()
	for name, s := range services(t) {
		if published := name == "gateway" || name == "s3"; (len(s.Ports) > 0) != published {
			t.Errorf("%s: ports %v", name, s.Ports)
		}
		for _, v := range s.Volumes {
			if strings.Contains(v, "docker.sock") {
				t.Errorf("%s has the container engine's socket", name)
			}
		}
	}
}

func TestTemporaryFilesBelongToTheImagesUser(t *testing.T) {
	t.Parallel()
	m := regexp.MustCompile(`(?m)^USER (\d+):(\d+)$`).FindStringSubmatch(read(t, "infra/Dockerfile"))
	if m == nil {
		t.Fatal("the image's user is not there")
	}
	found := false
	for name, s := range services(t) {
		for _, mount := range s.Tmpfs {
			if s.Build.Args["PROGRAM"] == "" {
				continue
			}
			found = true
			options := strings.Split(mount[strings.Index(mount, ":")+1:], ",")
			if !slices.Contains(options, "uid="+m[1]) || !slices.Contains(options, "gid="+m[2]) {
				t.Errorf("%s: %s is not the image's user %s:%s", name, mount, m[1], m[2])
			}
		}
	}
	if !found {
		t.Error("no program of ours has temporary files")
	}
}
