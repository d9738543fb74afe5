package stack

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/proc"
)

// NATSRole is the name of the part that a NATS server's process plays.
const NATSRole = "nats"

const natsStopGrace = 10 * time.Second

// NATSSettings is what the process of a NATS server needs to know.
type NATSSettings struct {
	Dir        string // an absolute path; the store's
	Port       int
	MaxPayload int32 // 0 is the server's own default of 1 MiB, what other installations run with

	// Member makes the server one of a cluster, on the member's own ports; the zero value stands alone.
	Member  Member
	Cluster Cluster // of which it is one
}

// NATSServer is a running NATS server with JetStream, in a process of its own, which can be killed and
// paused. It flushes its store once a second: a power cut may cost the last second, a killed process
// costs nothing.
type NATSServer struct{ child }

// StartNATS starts a NATS server on the port, or on that of its Member, and returns when it accepts
// clients and its store is recovered.
func StartNATS(ctx context.Context, port proc.Port, set NATSSettings, log zerolog.Logger) (*NATSServer, error) {
	srv := &NATSServer{}
	if set.Member != (Member{}) {
		port = proc.Port{Fixed: set.Member.Port}
	}
	err := proc.WithPort(ctx, port, func(port int) (err error) {
		set.Port, srv.port = port, port
		srv.Process, err = proc.StartPart(ctx, NATSRole, set, log)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start nats: %w", set.Member.blame(err))
	}
	return srv, nil
}

// URL is where clients connect.
func (s *NATSServer) URL() string { return NATSURL(s.port) }

// NATSURL is where the server on a port is.
func NATSURL(port int) string { return "nats://" + proc.Address(port) }

// Stop ends the server and returns when its store is closed; a second call finds nothing to do.
func (s *NATSServer) Stop(ctx context.Context) error { return s.stop(ctx, natsStopGrace) }
