package stack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sori.internal/infra/internal/stack/proc"
)

// Cluster is servers that keep streams together. They know each other from the start, and each keeps its ports over every
// start of its own.
type Cluster []Member

// Member is a server's place in a cluster. Its name is what JetStream calls a leader by.
type Member struct {
	Name    string
	Port    int // for clients
	Route   int // for the other members
	Monitor int // where it tells how it is
}

// NewCluster finds a place for each of the names.
func NewCluster(names ...string) (Cluster, error) {
	const each = 3
	ports, err := proc.FreePorts(each * len(names))
	if err != nil {
		return nil, fmt.Errorf("place a cluster: %w", err)
	}
	var c Cluster
	for i, name := range names {
		own := ports[each*i:]
		c = append(c, Member{Name: name, Port: own[0], Route: own[1], Monitor: own[2]})
	}
	return c, nil
}

// URL is where clients connect: to whichever member answers.
func (c Cluster) URL() string {
	urls := make([]string, len(c))
	for i, m := range c {
		urls[i] = NATSURL(m.Port)
	}
	return strings.Join(urls, ",")
}

// blame says of a start that has failed that a port is taken, where one of the member's own is.
func (m Member) blame(err error) error {
	if m != (Member{}) && slices.ContainsFunc([]int{m.Port, m.Route, m.Monitor}, proc.PortTaken) {
		return fmt.Errorf("%w: %w", proc.ErrPortTaken, err)
	}
	return err
}

// lookAgain is the pause between two looks at a member that is not current.
const lookAgain = 50 * time.Millisecond

// Current returns when the member has caught up with the cluster, which then has a leader, and with every stream and consumer
// that it has a replica of.
func (m Member) Current(ctx context.Context) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		err := m.ask(ctx, "/healthz", nil)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is current: %w, after %w", m.Name, context.Cause(ctx), err)
		}
	}
}

// Leader is the name of the cluster's leader, as far as the member knows; empty where there is none.
func (m Member) Leader(ctx context.Context) (string, error) {
	var told struct {
		Meta struct {
			Leader string `json:"leader"`
		} `json:"meta_cluster"`
	}
	if err := m.ask(ctx, "/jsz", &told); err != nil {
		return "", fmt.Errorf("ask %s for the leader: %w", m.Name, err)
	}
	return told.Meta.Leader, nil
}

// ask gets a page of the member's monitoring and reads it into answer, if that is given.
func (m Member) ask(ctx context.Context, page string, answer any) error {
	return get(ctx, "http://"+proc.Address(m.Monitor)+page, answer)
}
