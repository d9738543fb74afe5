package stack_test

import (
	"errors"
	"net"
	"testing"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
)

// The caller that has chosen the ports must get the error at once, so that it can choose others.
func TestAMemberWhosePortIsTakenIsRefusedAsSuch(t *testing.T) {
	t.Parallel()
	for name, port := range map[string]func(stack.Member) int{
		"client":  func(m stack.Member) int { return m.Port },
		"route":   func(m stack.Member) int { return m.Route },
		"monitor": func(m stack.Member) int { return m.Monitor },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := stack.NewCluster("a", "b")
			if err != nil {
				t.Fatal(err)
			}
			l, err := net.Listen("tcp4", proc.Address(port(c[0])))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_, err = stack.StartNATS(testContext(t), proc.Port{}, stack.NATSSettings{Dir: t.TempDir(), Member: c[0], Cluster: c}, zerolog.Nop())
			if !errors.Is(err, proc.ErrPortTaken) {
				t.Errorf("start: %v, want %v", err, proc.ErrPortTaken)
			}
		})
	}
}
