package proc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"sori.internal/shared/wait"
)

// Host is the loopback address, the only one on which a local stack listens.
const Host = "127.0.0.1"

// portAttempts is how many ports WithPort tries if another process takes each of them first.
const portAttempts = 5

// portRelease is how long WithPort waits for a fixed port to become free.
const portRelease = 500 * time.Millisecond

// freePort chooses from lowestPort (inclusive) to highestPort (exclusive).
const lowestPort, highestPort = 20_000, 27_000

// ErrPortTaken means that another process listens on the port.
var ErrPortTaken = errors.New("port is taken")

// Port is a request for a port.
type Port struct {
	Fixed  int // if not 0: only this port
	Prefer int // if Fixed is 0: this port if it is free, else any free port
}

// Address returns the loopback address with the port.
func Address(port int) string { return net.JoinHostPort(Host, strconv.Itoa(port)) }

// PortTaken reports whether a process listens on the port now. It binds a socket to the port but does not listen on it: a
// process that this one forks at that moment has a copy of the socket until it executes its program, and a listening copy
// would make the port look taken.
func PortTaken(port int) bool {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return true
	}
	err = errors.Join(
		// With this option two sockets may be bound to a port as long as neither listens. The servers of a stack set it too.
		syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(socket, &syscall.SockaddrInet4{Port: port, Addr: [4]byte(net.ParseIP(Host).To4())}),
	)
	return errors.Join(err, syscall.Close(socket)) != nil
}

// WithPort calls the function start with a port that was free a moment ago. If start fails and another process has taken
// that port in the meantime, WithPort calls start again with another port. For a fixed port it calls start once. If the
// fixed port stays in use for longer than a killed process needs to release a port, WithPort returns ErrPortTaken and does
// not call start.
func WithPort(ctx context.Context, want Port, start func(port int) error) error {
	if want.Fixed != 0 {
		if err := awaitPort(ctx, want.Fixed); err != nil {
			return err
		}
		return start(want.Fixed)
	}
	port := want.Prefer
	if port == 0 || PortTaken(port) {
		port = 0
	} else {
		claimPort(port) // the result is ignored: this process may have claimed the port in an earlier start
	}
	var err error
	for range portAttempts {
		if port == 0 {
			if port, err = freePort(); err != nil {
				return err
			}
		}
		if err = start(port); err == nil || !PortTaken(port) {
			return err
		}
		port = 0
	}
	return err
}

func awaitPort(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, portRelease)
	defer cancel()
	for PortTaken(port) {
		if wait.For(ctx, portRelease/25) != nil {
			return fmt.Errorf("listen on %s: %w", Address(port), ErrPortTaken)
		}
	}
	return nil
}

// FreePorts returns n different free ports, for processes whose addresses must be known before they start. If another program
// takes one of the ports before that process listens on it, the start of the process fails.
func FreePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for len(ports) < n {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// claimPort locks a file for the port until this process ends, and reports whether it
// could. Then freePort does not return the port again, neither in this process nor in
// another one of this user: the port looks free before its process listens on it and
// while that process restarts. If the file cannot be created, claimPort returns true,
// and the first process to listen has the port. The file is not in os.TempDir(), which
// is not the same for all processes.
func claimPort(port int) bool {
	dir := filepath.Join("/tmp", fmt.Sprintf("sori-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return true
	}
	const flags = syscall.O_RDWR | syscall.O_CREAT | syscall.O_CLOEXEC | syscall.O_NOFOLLOW
	// A plain file descriptor and not an os.File, which the garbage collector would close: the lock lasts until the process ends.
	file, err := syscall.Open(filepath.Join(dir, strconv.Itoa(port)), flags, 0o600)
	if err != nil {
		return true
	}
	if syscall.Flock(file, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = syscall.Close(file)
		return false
	}
	return true
}

// freePort returns a free port, and claims it. It chooses below the range of ports for outgoing connections, because such a
// connection could take the port while the process that uses it restarts. It claims a port before it checks whether the port
// is free, because another process that has claimed it may be starting.
func freePort() (int, error) {
	for _, offset := range rand.Perm(highestPort - lowestPort) {
		if port := lowestPort + offset; claimPort(port) && !PortTaken(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: none from %d to %d is free", lowestPort, highestPort-1)
}
