package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"sori.internal/infra/internal/stack/proc"
)

// Node returns the part that is the i-th server of the NATS cluster, counted from 0. It is also the server's name, by which
// JetStream reports leaders.
func Node(i int) Part { return Part(fmt.Sprintf("%s-%d", NATS, i)) }

// placings is how many times the start of a cluster is tried, each time with other ports, if another process has taken one
// of the ports.
const placings = 5

// startNodes starts the servers of the cluster and returns when all of them are current.
func (s *Stack) startNodes(ctx context.Context) error {
	names := make([]string, s.opts.NATSNodes)
	for i := range names {
		names[i] = string(Node(i))
	}
	var err error
	for range placings {
		if s.cluster, err = NewCluster(names...); err != nil {
			return err
		}
		if err = s.tryNodes(ctx); !errors.Is(err, proc.ErrPortTaken) {
			return err
		}
	}
	return err
}

// tryNodes starts the servers on the ports chosen for them. If one does not start, it stops the others again.
func (s *Stack) tryNodes(ctx context.Context) error {
	group, starting := errgroup.WithContext(ctx)
	for _, m := range s.cluster {
		group.Go(func() error { return s.start(starting, Part(m.Name), proc.Port{Fixed: m.Port}) })
	}
	err := group.Wait()
	if err == nil {
		return s.AwaitNodes(ctx)
	}
	for _, m := range s.cluster {
		if started := s.member(Part(m.Name)); started != nil {
			err = errors.Join(err, started.end(context.WithoutCancel(ctx)))
		}
	}
	return err
}

// node returns the cluster member of a part, or an error if the part is no server of the cluster.
func (s *Stack) node(part Part) (Member, error) {
	for _, m := range s.cluster {
		if m.Name == string(part) {
			return m, nil
		}
	}
	return Member{}, fmt.Errorf("no part %q", part)
}

// store returns the data folder of a server of the cluster.
func (s *Stack) store(part Part) string { return filepath.Join(s.opts.Dir, string(part)) }

func (s *Stack) launchNode(ctx context.Context, part Part, log zerolog.Logger) (server, error) {
	m, err := s.node(part)
	if err != nil {
		return nil, err
	}
	return StartNATS(ctx, proc.Port{}, NATSSettings{Dir: s.store(part), Member: m, Cluster: s.cluster, AdminPassword: s.keys.NATSAdmin}, log)
}

// AwaitNodes waits until every server of the cluster is current (see Member.Current).
func (s *Stack) AwaitNodes(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range s.cluster {
		group.Go(func() error { return m.Current(ctx) })
	}
	return group.Wait()
}

// MetaLeader returns the server that is the meta leader of the cluster, which places streams and consumers on servers. It
// returns the leader that the first server with a known leader reports. That server may not have noticed yet that the leader
// has died.
func (s *Stack) MetaLeader(ctx context.Context) (Part, error) {
	errs := []error{errors.New("no server knows of a leader")}
	for _, m := range s.cluster {
		leader, err := m.Leader(ctx)
		if leader != "" {
			return Part(leader), nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// Lose kills a server of the cluster and deletes its data. A later Restart starts the server with an empty store.
func (s *Stack) Lose(ctx context.Context, part Part) error {
	if _, err := s.node(part); err != nil {
		return fmt.Errorf("lose %s: %w", part, err)
	}
	m := s.member(part)
	m.expect()
	if err := s.Signal(part, syscall.SIGKILL); err != nil {
		return err
	}
	if err := m.end(ctx); err != nil {
		return fmt.Errorf("lose %s: %w", part, err)
	}
	if err := os.RemoveAll(s.store(part)); err != nil {
		return fmt.Errorf("lose %s: %w", part, err)
	}
	return nil
}
