package connect_test

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sori.internal/infra/internal/connect"
	"sori.internal/shared/config"
)

func settings(t *testing.T, environment map[string]string, args ...string) (config.Lookup, error) {
	t.Helper()
	flags := flag.NewFlagSet("x", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	find := connect.Flags(flags, config.Map(environment))
	if _, err := connect.Parse(flags, args); err != nil {
		t.Fatal(err)
	}
	return find()
}

func TestTheFolderTellsUnlessTheEnvironmentNamesABus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	remove, err := connect.Endpoints{NATS: "nats://folder", Postgres: "postgres://folder", Tracker: "http://folder", S3SecretKey: "k"}.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{"NATS_URL": "nats://environment", "NATS_NAMESPACE": "n", "TRACKER_URL": "http://environment"}
	for name, c := range map[string]struct {
		args []string
		host string
	}{"the folder is named": {[]string{"-dir", dir}, "folder"}, "it is not": {nil, "environment"}} {
		lookup, err := settings(t, environment, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		bus, _ := lookup("NATS_URL")
		tracker, _ := lookup("TRACKER_URL")
		if bus != "nats://"+c.host || tracker != "http://"+c.host {
			t.Errorf("%s: %s, %s", name, bus, tracker)
		}
		if ns, _ := lookup("NATS_NAMESPACE"); ns != "n" {
			t.Errorf("%s: namespace %q", name, ns)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, connect.File)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	remove()
	if _, err := settings(t, environment, "-dir", dir); err == nil || !strings.Contains(err.Error(), "nothing runs in") {
		t.Errorf("after the end: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, connect.File), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := settings(t, nil, "-dir", dir); err == nil {
		t.Error("half a file was read")
	}
}

func TestFlagsMayStandAnywhere(t *testing.T) {
	t.Parallel()
	flags := flag.NewFlagSet("x", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	n, all := flags.Int("n", 0, ""), flags.Bool("all", false, "")
	rest, err := connect.Parse(flags, []string{"1", "-n", "7", "2", "-all", "3"})
	if err != nil || !slices.Equal(rest, []string{"1", "2", "3"}) || *n != 7 || !*all {
		t.Errorf("%v %v %d %v", rest, err, *n, *all)
	}
	if _, err := connect.Parse(flags, []string{"1", "-x"}); err == nil {
		t.Error("an unknown flag is taken")
	}
}
