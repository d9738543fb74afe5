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

// Node is a server of the NATS cluster, counted from 0. JetStream knows it by the same name, and tells leaders by it.
func Node(i int) Part { return Part(fmt.Sprintf("%s-%d", NATS, i)) }

// placings bounds how often a cluster is placed anew because somebody else was quicker to take a port of it.
const placings = 5

// startNodes starts the servers of the cluster and returns when all are current.
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

// tryNodes starts the servers where they are placed, all or none.
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

// node finds the place of a part that is a server of the cluster.
func (s *Stack) node(part Part) (Member, error) {
	for _, m := range s.cluster {
		if m.Name == string(part) {
			return m, nil
		}
	}
	return Member{}, fmt.Errorf("no part %q", part)
}

// store is where a server of the cluster keeps its data.
func (s *Stack) store(part Part) string { return filepath.Join(s.opts.Dir, string(part)) }

func (s *Stack) launchNode(ctx context.Context, part Part, log zerolog.Logger) (server, error) {
	m, err := s.node(part)
	if err != nil {
		return nil, err
	}
	return StartNATS(ctx, proc.Port{}, NATSSettings{Dir: s.store(part), Member: m, Cluster: s.cluster}, log)
}

// AwaitNodes returns when every server of the cluster is current: as up to date as the others, in all that it has replicas of.
func (s *Stack) AwaitNodes(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range s.cluster {
		group.Go(func() error { return m.Current(ctx) })
	}
	return group.Wait()
}

// MetaLeader is the server of the cluster that leads it: it decides where streams and consumers are. It is told by the first
// server that answers, which may not know yet that a leader has died.
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

// Lose takes a server of the cluster away for good: it is killed, and its data are removed. Restart starts an empty one in its
// place.
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
