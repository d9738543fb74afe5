package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/rs/zerolog"
)

// ProgramVariable is the environment variable with the path of the program that runs the parts. If it is empty, the parts run
// in the current program, executed again.
const ProgramVariable = "SORI_STACK_PROGRAM"

// roleVariable is the environment variable that marks a process as a part, and contains the name of its role.
const roleVariable = "SORI_STACK_CHILD"

// reportFD is the file descriptor of the pipe on which a child sends its report: the first one after the three standard ones.
const reportFD = 3

// ErrNotHooked means that this process was started as a part but its main did not call parts.RunChild.
var ErrNotHooked = errors.New("this process is a child of the stack: main must call parts.RunChild before anything else")

// Role runs a part in a child process. A server calls ready once it serves and runs until ctx ends; a role with
// a limited task returns when it is done. ctx ends when the parent stops the part or dies.
type Role func(ctx context.Context, config json.RawMessage, ready func()) error

type report struct {
	Ready bool   `json:"ready,omitempty"`
	Error string `json:"error,omitempty"`
}

// RunRole runs the role with which StartPart or RunPart started this process, and returns true and the exit code for the
// process. In any other process it does nothing and returns false.
func RunRole(roles map[string]Role) (ran bool, code int) {
	name, child := os.LookupEnv(roleVariable)
	if !child {
		return false, 0
	}
	syscall.CloseOnExec(reportFD)
	out := os.NewFile(reportFD, "report")
	defer out.Close()
	enc := json.NewEncoder(out)
	role, known := roles[name]
	if !known {
		_ = enc.Encode(report{Error: fmt.Sprintf("no part %q", name)})
		return true, 2
	}
	if err := play(role, func() { _ = enc.Encode(report{Ready: true}) }); err != nil {
		_ = enc.Encode(report{Error: err.Error()})
		fmt.Fprintln(os.Stderr, err)
		return true, 1
	}
	return true, 0
}

// play reads the configuration from stdin and runs the role. When stdin is closed, by the parent or because the parent died,
// it cancels the role's context.
func play(role Role, ready func()) error {
	dec := json.NewDecoder(os.Stdin)
	var config json.RawMessage
	if err := dec.Decode(&config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // the context of the whole process
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return role(ctx, config, ready)
}

// StartPart starts a child process with the given role and returns when it has reported that it is ready.
func StartPart(ctx context.Context, role string, config any, log zerolog.Logger) (*Process, error) {
	p, out, err := startRole(role, config, log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	var r report
	read := make(chan error, 1) // the goroutine ends when out is closed or the child ends
	go func() { read <- json.NewDecoder(out).Decode(&r) }()
	select {
	case err = <-read:
	case <-ctx.Done():
		p.Stop(ctx)
		<-read //nolint:errcheck // the error to return is the end of ctx
		return nil, fmt.Errorf("start %s: %w", role, context.Cause(ctx))
	}
	if err == nil && r.Ready {
		return p, nil
	}
	p.Stop(ctx)
	if err == nil {
		err = errors.New(r.Error)
	} else {
		err = fmt.Errorf("it ended before it was ready (does main call parts.RunChild first?): %w", p.Err())
	}
	return nil, fmt.Errorf("start %s: %w", role, err)
}

// RunPart runs a child process with a role that ends by itself, and waits for its end.
func RunPart(ctx context.Context, role string, config any, log zerolog.Logger) error {
	p, out, err := startRole(role, config, log)
	if err != nil {
		return err
	}
	defer out.Close()
	defer p.endInput()
	return p.wait(ctx)
}

func startRole(role string, config any, log zerolog.Logger) (p *Process, out *os.File, err error) {
	if _, child := os.LookupEnv(roleVariable); child {
		return nil, nil, fmt.Errorf("start %s: %w", role, ErrNotHooked)
	}
	path, err := program()
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", role, err)
	}
	body, err := json.Marshal(config)
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", role, err)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", role, err)
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		_ = inW.Close()
		return nil, nil, fmt.Errorf("start %s: %w", role, err)
	}
	defer outW.Close()

	p, err = Start(Spec{
		Name: role, Path: path, Env: append(os.Environ(), roleVariable+"="+role),
		OnParentDeath: syscall.SIGKILL, Log: log, stdin: inR, report: outW,
	})
	if err == nil {
		p.input = inW
		// A few hundred bytes fit into the pipe's buffer, so Write cannot block. Its error is ignored: if the child has
		// already ended, the caller notices that.
		_, _ = inW.Write(append(body, '\n')) // the newline ends the value for the decoder
		return p, outR, nil
	}
	_ = inW.Close()
	_ = outR.Close()
	return nil, nil, err
}

func program() (string, error) {
	if path := os.Getenv(ProgramVariable); path != "" {
		return path, nil
	}
	return os.Executable()
}
