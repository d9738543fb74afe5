package command_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sori.internal/infra/internal/command"
	"sori.internal/shared/config"
)

func TestTheFolderTellsUnlessTheEnvironmentNamesABus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	remove, err := command.Endpoints{NATS: "nats://folder", Postgres: "postgres://folder", Tracker: "http://folder", Principal: "secret of the folder", S3SecretKey: "k"}.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{"NATS_URL": "nats://environment", "NATS_NAMESPACE": "n", "TRACKER_URL": "http://environment", "PRINCIPAL_SECRET": "secret of the environment"}
	for name, c := range map[string]struct {
		dir  string
		host string
	}{"the folder is named": {dir, "folder"}, "it is not": {"", "environment"}} {
		lookup, err := command.Settings(c.dir, config.Map(environment))
		if err != nil {
			t.Fatal(err)
		}
		bus, _ := lookup("NATS_URL")
		tracker, _ := lookup("TRACKER_URL")
		if secret, _ := lookup("PRINCIPAL_SECRET"); secret != "secret of the "+c.host {
			t.Errorf("%s: the secret is %q", name, secret)
		}
		if bus != "nats://"+c.host || tracker != "http://"+c.host {
			t.Errorf("%s: %s, %s", name, bus, tracker)
		}
		if ns, _ := lookup("NATS_NAMESPACE"); ns != "n" {
			t.Errorf("%s: namespace %q", name, ns)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, command.File)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	remove()
	if _, err := command.Settings(dir, config.Map(environment)); err == nil || !strings.Contains(err.Error(), "nothing runs in") {
		t.Errorf("after the end: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, command.File), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command.Settings(dir, config.Map(nil)); err == nil {
		t.Error("half a file was read")
	}
}

type grammar struct {
	N    int
	All  bool
	Name string
	Rest []string `arg:"" optional:""`
}

func TestFlagsMayStandAnywhereWithOneDashOrTwo(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"1", "-n", "7", "2", "-all", "3", "-name", "x"}, {"-n=7", "-all=true", "1", "2", "3", "--name=x"}, {"1", "--n", "7", "--all", "-name=x", "2", "--", "3"},
	} {
		var g grammar
		_, err := command.Parse("x", &g, args, io.Discard)
		if err != nil || !slices.Equal(g.Rest, []string{"1", "2", "3"}) || g.N != 7 || !g.All || g.Name != "x" {
			t.Errorf("%v: %+v %v", args, g, err)
		}
	}
	var g grammar
	if _, err := command.Parse("x", &g, []string{"-n", "-1", "--", "-2"}, io.Discard); err != nil || g.N != -1 || !slices.Equal(g.Rest, []string{"-2"}) {
		t.Errorf("numbers below 0: %+v %v", g, err)
	}
	for _, unknown := range []string{"-x", "--x", "-nn"} {
		if _, err := command.Parse("x", &g, []string{"1", unknown}, io.Discard); err == nil {
			t.Errorf("%s is taken", unknown)
		}
	}
}

func TestFlagsMayStandBeforeTheCommand(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-dir", "d", "run", "-all", "1", "-n", "7"}, {"-all", "-dir=d", "run", "1", "-n=7"}, {"run", "1", "-n", "7", "-all", "--dir", "d"}, {"-n=7", "-dir", "d", "-all", "run", "--", "1"},
	} {
		var g struct {
			Dir string
			Run struct {
				N    int
				All  bool
				Rest []string `arg:"" optional:""`
			} `cmd:""`
		}
		_, err := command.Parse("x", &g, args, io.Discard)
		if err != nil || g.Dir != "d" || g.Run.N != 7 || !g.Run.All || !slices.Equal(g.Run.Rest, []string{"1"}) {
			t.Errorf("%v: %+v %v", args, g, err)
		}
	}
}

func TestAFlagWithoutItsValueIsRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-all", "-name"}, {"-name", "", "-all"}, {"-name="}, {"--name=", "1"}} {
		var g grammar
		if _, err := command.Parse("x", &g, args, io.Discard); err == nil || !strings.Contains(err.Error(), "-name needs a value") {
			t.Errorf("%v: %+v %v", args, g, err)
		}
	}
}

func TestHelpIsWrittenAndNoFailure(t *testing.T) {
	t.Parallel()
	for _, ask := range []string{"-h", "-help", "--help"} {
		var g grammar
		var help strings.Builder
		if _, err := command.Parse("x", &g, []string{ask}, &help); !errors.Is(err, command.ErrHelp) || !strings.Contains(help.String(), "--name") {
			t.Errorf("%s: %v, %s", ask, err, help.String())
		}
	}
}

func TestACommandThatPassesItsArgumentsThroughGetsThemAsTheyAre(t *testing.T) {
	t.Parallel()
	args := []string{"-race", "-run", "X", "./a/...", "--", "-h"}
	for _, before := range [][]string{nil, {"-dir", "d"}} {
		var g struct {
			Dir  string
			Test struct {
				Args []string `arg:"" optional:""`
			} `cmd:"" passthrough:""`
		}
		_, err := command.Parse("x", &g, slices.Concat(before, []string{"test"}, args), io.Discard)
		if err != nil || !slices.Equal(g.Test.Args, args) || (g.Dir == "d") != (before != nil) {
			t.Errorf("%v: %+v, %v", before, g, err)
		}
	}
}
