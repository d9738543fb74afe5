package cluster_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/bus"
)

// If the bucket of the slots kept its only replica, no recording could be analysed while that server is
// down, although every stream has three replicas.
func TestABucketOfASingleServerGetsTheReplicasOfTheCluster(t *testing.T) {
	t.Parallel()
	s := newServers(t)
	for bucket, open := range map[string]func() error{
		"PROVISIONED": func() error {
			_, err := s.buses[0].Provision(s.ctx, bus.Resources{Buckets: []string{"PROVISIONED"}})
			return err
		},
		"OPENED": func() error {
			_, err := s.buses[1].KeyValue(s.ctx, "OPENED")
			return err
		},
	} {
		if _, err := s.js.CreateKeyValue(s.ctx, jetstream.KeyValueConfig{Bucket: bucket, Replicas: 1}); err != nil {
			t.Fatal(err)
		}
		s.insist(t, open)
		stream, err := s.js.Stream(s.ctx, "KV_"+bucket)
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().Config.Replicas; n != nodes {
			t.Errorf("%s has %d replicas", bucket, n)
		}
	}
}
