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

// ProgramVariable names the program that plays the parts. Where it is empty this very program does, executed again.
const ProgramVariable = "SORI_STACK_PROGRAM"

// roleVariable marks a process as one that plays a part, and names the part.
const roleVariable = "SORI_STACK_CHILD"

// reportFD is where a child finds the pipe on which it reports: the first one after the standard three.
const reportFD = 3

// ErrNotHooked means that this very process was started to play a part and did not: its main lacks the hook.
var ErrNotHooked = errors.New("this process is a child of the stack: main must call parts.RunChild before anything else")

// Role is a part that a program can play. It calls ready once when it is at work, or just returns when it
// has nothing to keep running; ctx ends when the parent stops it or dies.
type Role func(ctx context.Context, config json.RawMessage, ready func()) error

type report struct {
	Ready bool   `json:"ready,omitempty"`
	Error string `json:"error,omitempty"`
}

// RunRole plays the part that the environment names. In a process that is no child it does nothing and says so;
// otherwise the process should end with the code.
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

// play reads the configuration from the input and takes the end of the input for the parent's end.
func play(role Role, ready func()) error {
	dec := json.NewDecoder(os.Stdin)
	var config json.RawMessage
	if err := dec.Decode(&config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return role(ctx, config, ready)
}

// StartPart runs the program of the parts in the given role and waits until it is ready.
func StartPart(ctx context.Context, role string, config any, log zerolog.Logger) (*Process, error) {
	p, out, err := startRole(role, config, log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	var r report
	read := make(chan error, 1) // the close of out, or the end of the child, ends the reader
	go func() { read <- json.NewDecoder(out).Decode(&r) }()
	select {
	case err = <-read:
	case <-ctx.Done():
		p.Stop(ctx)
		<-read //nolint:errcheck // that the start was cut short is the failure to tell
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

// RunPart runs the program of the parts in a role that ends by itself.
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
		// A few hundred bytes fit the pipe, so this cannot block; a child that is gone already tells so by its end.
		_, _ = inW.Write(append(body, '\n')) // the decoder wants to see the end of a bare value
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
