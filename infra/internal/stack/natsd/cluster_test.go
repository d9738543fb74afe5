package natsd_test

import (
	"errors"
	"net"
	"testing"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/loopback"
	"sori.internal/infra/internal/stack/natsd"
)

// Whoever places a cluster must be told at once, to place it anew.
func TestAMemberWhosePortIsTakenIsRefusedAsSuch(t *testing.T) {
	t.Parallel()
	for name, port := range map[string]func(natsd.Member) int{
		"client":  func(m natsd.Member) int { return m.Port },
		"route":   func(m natsd.Member) int { return m.Route },
		"monitor": func(m natsd.Member) int { return m.Monitor },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := natsd.NewCluster("a", "b")
			if err != nil {
				t.Fatal(err)
			}
			l, err := net.Listen("tcp4", loopback.Address(port(c[0])))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_, err = natsd.Start(testContext(t), natsd.Options{
				Dir: t.TempDir(), Member: c[0], Cluster: c, Log: zerolog.Nop(),
			})
			if !errors.Is(err, loopback.ErrTaken) {
				t.Errorf("start: %v, want %v", err, loopback.ErrTaken)
			}
		})
	}
}
