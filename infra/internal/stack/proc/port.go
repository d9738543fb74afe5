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
)

// Host is the loopback address, the only one on which a local stack listens.
const Host = "127.0.0.1"

// portAttempts bounds how often a port that was free and then taken by somebody else is replaced by another.
const portAttempts = 5

// portRelease is how long a fixed port may take to get free.
const portRelease = 500 * time.Millisecond

// The ports that are picked from, the lowest included.
const lowestPort, highestPort = 20_000, 27_000

// ErrPortTaken means that somebody else listens on the port.
var ErrPortTaken = errors.New("port is taken")

// Port is a wish for a port.
type Port struct {
	Fixed  int // this one or none
	Prefer int // without a fixed one: this one if it is free, else any
}

// Address is the loopback address with a port.
func Address(port int) string { return net.JoinHostPort(Host, strconv.Itoa(port)) }

// PortTaken tells whether a port cannot be listened on now.
func PortTaken(port int) bool {
	l, err := net.Listen("tcp4", Address(port))
	if err != nil {
		return true
	}
	return l.Close() != nil
}

// WithPort calls start with a port that was free a moment ago, and again with another one when somebody was faster. A fixed
// port is tried once, and refused without calling start when it stays taken for longer than a killed holder needs to go.
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
		claimPort(port) // an earlier start in this process may hold the claim
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
	tick := time.NewTicker(portRelease / 25)
	defer tick.Stop()
	for PortTaken(port) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("listen on %s: %w", Address(port), ErrPortTaken)
		}
	}
	return nil
}

// FreePorts finds so many ports that are free, for parts that must know of each other before they start. What takes one of
// them before its part does makes that part fail.
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

// claimPort keeps a port from all processes of this user that look for one, this one
// included, until this process ends. A port is not listened on between its choice and
// its use, nor while its part restarts, and whoever looked then would take it. Where
// nothing can be claimed, whoever is first to listen has the port.
func claimPort(port int) bool {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("sori-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return true
	}
	const flags = syscall.O_RDWR | syscall.O_CREAT | syscall.O_CLOEXEC | syscall.O_NOFOLLOW
	// A bare descriptor, which nothing closes: the claim is to last as long as the process.
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

// freePort looks below the range from which systems take the ports of outgoing connections: such a connection would take the
// port while the part that owns it restarts. Only a claimed port is tried: to try is to listen for a moment, and its owner may
// start just then.
func freePort() (int, error) {
	for range 10 * portAttempts {
		if port := lowestPort + rand.IntN(highestPort-lowestPort); claimPort(port) && !PortTaken(port) {
			return port, nil
		}
	}
	l, err := net.Listen("tcp4", Address(0))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("find a free port: %w", syscall.EAFNOSUPPORT)
	}
	return addr.Port, nil
}
