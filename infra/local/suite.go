package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
	"sori.internal/shared/testkit"
)

type testCommand struct {
	Args []string `arg:"" optional:"" help:"the arguments of go test"`
}

// Run starts dependencies in a temporary folder, and runs the tests of every module, or of the named
// packages, against them.
func (c *testCommand) Run(ctx context.Context) (err error) {
	dir, err := suiteFolder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Remove(dir)) }()
	deps, err := stack.Start(ctx, stack.Options{Dir: dir, Fast: true, Log: quietLog()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop(ctx, deps)) }()
	release, err := keepStream(ctx, deps.NATSURL)
	if err != nil {
		return err
	}
	defer release()
	return goTest(ctx, c.Args, deps.Endpoints, dir)
}

// keepStream creates a stream that no test deletes. When the last stream is deleted,
// nats-server removes the folder of all streams in the background; the creation of a
// stream at that moment fails with "no such file or directory". Only tests delete
// streams.
func keepStream(ctx context.Context, url string) (release func(), err error) {
	nc, err := nats.Connect(url, nats.Timeout(time.Minute))
	if err != nil {
		return nil, fmt.Errorf("keep a stream: %w", err)
	}
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}, MaxMsgs: 1})
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("keep a stream: %w", err)
	}
	return nc.Close, nil
}

// goTest runs `go test` on the workspace, or on the packages that args name. The tests create their
// temporary files in dir. There they also share a folder with files that take long to create
// (harness.SharedVariable). The temporary files of the go command itself, which may be several GB, are
// not in dir but in the usual folder.
func goTest(ctx context.Context, args []string, deps stack.Endpoints, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	files, err := filesOf(dir)
	if err != nil {
		return err
	}
	command := append([]string{"test", "-p=" + atOnce(), "-parallel=" + atOnce()}, args...)
	if !namesPackages(args) {
		command = append(command, "work")
	}
	test := exec.CommandContext(ctx, "go", command...)
	test.Stdout, test.Stderr = os.Stdout, os.Stderr
	proc.Group(test, syscall.SIGINT)
	test.WaitDelay = 10 * time.Second
	test.Env = append(os.Environ(),
		testkit.EnvNATS+"="+deps.NATSURL,
		testkit.EnvDatabase+"="+deps.AdminURL,
		testkit.EnvS3+"="+deps.S3Endpoint,
		testkit.EnvS3Access+"="+deps.S3AccessKey,
		testkit.EnvS3Secret+"="+deps.S3SecretKey,
		harness.SharedVariable+"="+filepath.Join(dir, "shared"),
		"TMPDIR="+files,
		"GOTMPDIR="+cmp.Or(os.Getenv("GOTMPDIR"), os.TempDir()),
		proc.ProgramVariable+"="+self,
	)
	if err := test.Run(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	return nil
}

// atOnce returns how many packages, and how many tests of each, run at the same time, unless args say otherwise. Tests wait
// for servers much of the time: with as many at once as there are processors, which is the default of the go command, two
// processors are idle for more than half of it.
func atOnce() string {
	const enough = 4
	return strconv.Itoa(max(enough, runtime.GOMAXPROCS(0)))
}

func namesPackages(args []string) bool {
	for _, a := range args {
		if a == "work" || strings.HasPrefix(a, "./") || strings.HasPrefix(a, "sori.internal/") {
			return true
		}
	}
	return false
}

// stopPatience is the time limit for the stop of the dependencies.
const stopPatience = 20 * time.Second

// stop stops the dependencies, also after the end of ctx.
func stop(ctx context.Context, deps *stack.Stack) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	return deps.Stop(ctx)
}

// quietLog returns a logger for the console that writes only warnings and errors.
func quietLog() zerolog.Logger {
	return zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: "15:04:05"}).
		Level(zerolog.WarnLevel).With().Timestamp().Logger()
}
