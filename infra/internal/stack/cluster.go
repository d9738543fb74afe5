package stack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sori.internal/infra/internal/stack/proc"
	"sori.internal/shared/wait"
)

// Cluster lists the servers of a NATS cluster. Every server is configured with the routes to all others, and keeps its ports
// when it is restarted.
type Cluster []Member

// Member is the configuration of one server of a cluster. JetStream reports leaders by the Name.
type Member struct {
	Name    string
	Port    int // port for clients
	Route   int // port for the other members of the cluster
	Monitor int // port for HTTP monitoring
}

// NewCluster returns a member with free ports for each of the names.
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

// adminURL returns the client URLs of all members, separated by commas. A client connects to a member that answers.
func (c Cluster) adminURL(password string) string {
	urls := make([]string, len(c))
	for i, m := range c {
		urls[i] = adminURL(m.Port, password)
	}
	return strings.Join(urls, ",")
}

// blame wraps the error of a failed start in proc.ErrPortTaken if one of the member's ports is in use.
func (m Member) blame(err error) error {
	if m != (Member{}) && slices.ContainsFunc([]int{m.Port, m.Route, m.Monitor}, proc.PortTaken) {
		return fmt.Errorf("%w: %w", proc.ErrPortTaken, err)
	}
	return err
}

// lookAgain is the interval between two health checks of a member that is not current.
const lookAgain = 50 * time.Millisecond

// Current returns nil if the member's /healthz reports success: the cluster has a leader, and the member has caught up with
// the cluster and with every stream and consumer of which it has a replica.
func (m Member) Current(ctx context.Context) error {
	for {
		err := m.ask(ctx, "/healthz", nil)
		if err == nil {
			return nil
		}
		if wait.For(ctx, lookAgain) != nil {
			return fmt.Errorf("wait until %s is current: %w, after %w", m.Name, context.Cause(ctx), err)
		}
	}
}

// Leader returns the name of the cluster's meta leader as the member knows it, or "" if there is none.
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

// ask requests a page of the member's HTTP monitoring and decodes it into answer, unless answer is nil.
func (m Member) ask(ctx context.Context, page string, answer any) error {
	return get(ctx, "http://"+proc.Address(m.Monitor)+page, answer)
}
