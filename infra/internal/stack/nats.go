package stack

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/natsauth"
	"sori.internal/infra/internal/stack/proc"
)

// NATSRole is the role (proc.StartPart) of a NATS server's process.
const NATSRole = "nats"

const natsStopGrace = 10 * time.Second

// NATSSettings is the configuration of a NATS server's process.
type NATSSettings struct {
	Dir        string // the store directory, an absolute path
	Port       int
	MaxPayload int32 // largest message in bytes; 0 is the server's default of 1 MiB, which installations use

	MemoryLimit int64 // see Options.MemoryLimit; 0 means none

	// AdminPassword is the password of natsauth.Admin, from which those of the other users are derived
	// (natsauth.Login). If it is empty, the server does not authenticate clients.
	AdminPassword string

	// Member is the server's configuration in Cluster, with its ports; the zero value runs a single server.
	Member  Member
	Cluster Cluster // all members, this server included
}

// NATSServer is a running NATS server with JetStream, in a separate process that can be killed and
// paused. It flushes its store to the disk once a second: a power cut may lose the last second, but
// killing the process loses nothing.
type NATSServer struct {
	child
	admin string // the password of natsauth.Admin
}

// StartNATS starts a NATS server and returns when it accepts clients and has recovered its store. The
// server listens on the port of set.Member if that is set, else on the given port.
func StartNATS(ctx context.Context, port proc.Port, set NATSSettings, log zerolog.Logger) (*NATSServer, error) {
	srv := &NATSServer{admin: set.AdminPassword}
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

// URL returns the URL for clients, with the credentials of natsauth.Admin.
func (s *NATSServer) URL() string { return adminURL(s.port, s.admin) }

func adminURL(port int, password string) string {
	u := url.URL{Scheme: "nats", Host: proc.Address(port)}
	if password != "" {
		u.User = url.UserPassword(natsauth.Admin, password)
	}
	return u.String()
}

// NATSURL returns the URL of the NATS server that listens on the port, without credentials.
func NATSURL(port int) string { return "nats://" + proc.Address(port) }

// Stop stops the server and returns when its process has exited. A second call does nothing.
func (s *NATSServer) Stop(ctx context.Context) error { return s.stop(ctx, natsStopGrace) }
