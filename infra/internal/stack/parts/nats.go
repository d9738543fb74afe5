package parts

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/logger"
	"github.com/nats-io/nats-server/v2/server"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
)

// clusterName is the name of a server that stands alone, and of a cluster.
const clusterName = "sori"

const (
	syncInterval  = time.Second
	readyLimit    = 2 * time.Minute  // a server that cannot start says so at once
	storeClosesIn = 10 * time.Second // after the end of whoever had it open

	// maxStore is a limit on accounting, not a reservation of disk: streams that ask for room are refused beyond it.
	// The default, a share of the free disk, would let the number of test streams depend on the machine.
	maxStore  = 1 << 40
	maxMemory = 1 << 30
)

// runNATS is the part of a NATS server.
func runNATS(ctx context.Context, config json.RawMessage, ready func()) error {
	var set stack.NATSSettings
	if err := json.Unmarshal(config, &set); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	lock, err := holdStore(ctx, set.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }()
	ns, err := startNATS(set)
	if err != nil {
		return err
	}
	ready()
	stop := context.AfterFunc(ctx, ns.Shutdown)
	defer stop()
	ns.WaitForShutdown()
	return nil
}

func startNATS(set stack.NATSSettings) (*server.Server, error) {
	opts := &server.Options{
		ServerName: cmp.Or(set.Member.Name, clusterName),
		Host:       proc.Host,
		Port:       set.Port,
		NoSigs:     true,
		MaxPayload: set.MaxPayload,

		JetStream:          true,
		JetStreamMaxStore:  maxStore,
		JetStreamMaxMemory: maxMemory,
		StoreDir:           filepath.Clean(set.Dir),
		SyncInterval:       syncInterval,
	}
	join(set.Member, set.Cluster, opts)
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	// A fatal line ends this process, and its parent tells the line.
	ns.SetLoggerV2(logger.NewStdLogger(false, false, false, false, false), false, false, false)
	ns.Start()
	if !ns.ReadyForConnections(readyLimit) {
		err = errors.New("not ready in time")
	}
	if err == nil && !ns.JetStreamEnabled() {
		err = errors.New("its store did not open")
	}
	if err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, err
	}
	return ns, nil
}

// join has a server join the others. One that finds itself among the routes leaves it at that.
func join(m stack.Member, c stack.Cluster, opts *server.Options) {
	if m == (stack.Member{}) {
		return
	}
	opts.Cluster = server.ClusterOpts{Name: clusterName, Host: proc.Host, Port: m.Route}
	opts.HTTPHost, opts.HTTPPort = proc.Host, m.Monitor
	for _, other := range c {
		opts.Routes = append(opts.Routes, server.RoutesFromStr(stack.NATSURL(other.Route))...)
	}
}

// holdStore keeps the store for one server. A process whose parent was killed may take a moment to close it.
func holdStore(ctx context.Context, dir string) (*proc.Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create store: %w", err)
	}
	return proc.WaitForLock(ctx, filepath.Join(dir, "lock"), storeClosesIn)
}
