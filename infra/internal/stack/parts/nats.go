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

	"sori.internal/infra/internal/natsauth"
	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
)

// clusterName is the name of the cluster, and of the server if it runs without a cluster.
const clusterName = "sori"

const (
	syncInterval  = time.Second
	readyLimit    = 2 * time.Minute  // generous: a server that cannot start reports its error at once
	storeClosesIn = 10 * time.Second // time limit for a server of an earlier run to close the store

	// maxStore is the largest sum of the maximum sizes of all streams. It reserves no disk space. By default the server uses
	// a part of the free disk space instead, so that the tests could create more or fewer streams depending on the machine.
	maxStore  = 1 << 40
	maxMemory = 1 << 30
)

// runNATS is the role of a NATS server: it runs the server until ctx ends.
func runNATS(ctx context.Context, config json.RawMessage, ready func()) error {
	var set stack.NATSSettings
	if err := json.Unmarshal(config, &set); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	limitMemory(set.MemoryLimit)
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
	if set.AdminPassword != "" {
		opts.CustomClientAuthentication = authenticator{set.AdminPassword}
	}
	join(set.Member, set.Cluster, opts)
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	// The logger ends this process at a fatal error, and the parent includes the logged line in its error.
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

// authenticator gives each client the permissions of its user.
type authenticator struct{ adminPassword string }

// Check implements server.Authentication.
func (a authenticator) Check(c server.ClientAuthentication) bool {
	login := c.GetOpts()
	u, ok := natsauth.Authenticate(login.Username, login.Password, a.adminPassword)
	if !ok {
		return false
	}
	user := &server.User{Username: login.Username}
	if u != nil {
		user.Permissions = &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: u.Publish, Deny: u.DenyPublish},
			Subscribe: &server.SubjectPermission{Allow: u.Subscribe},
		}
	}
	c.RegisterUser(user)
	return true
}

// join configures a server as a member of the cluster. The routes contain the server itself, which ignores that route.
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

// holdStore locks the store. It waits for the lock, since a server whose parent was killed needs a moment to close the store.
func holdStore(ctx context.Context, dir string) (*proc.Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create store: %w", err)
	}
	return proc.WaitForLock(ctx, filepath.Join(dir, "lock"), storeClosesIn)
}
