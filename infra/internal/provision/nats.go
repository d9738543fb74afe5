// Package provision prepares servers for Sori, so that the services need no permission for it: it
// creates the streams, the durable consumers and the key-value buckets on NATS, the tables and the
// roles in Postgres, and the bucket, the identities and the policy on S3.
package provision

import (
	"context"
	"slices"

	dispatcher "sori.internal/services/dispatcher/app"
	gateway "sori.internal/services/gateway/app"
	tracker "sori.internal/services/tracker/app"
	uploader "sori.internal/services/uploader/app"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Resources returns what all services need on NATS.
func Resources() bus.Resources {
	var all bus.Resources
	for _, r := range []bus.Resources{gateway.Resources(), uploader.Resources(), dispatcher.Resources(), tracker.Resources()} {
		for _, s := range r.Streams {
			if !slices.ContainsFunc(all.Streams, func(other event.Stream) bool { return other.Name == s.Name }) {
				all.Streams = append(all.Streams, s)
			}
		}
		all.Consumers = append(all.Consumers, r.Consumers...)
		all.Buckets = append(all.Buckets, r.Buckets...)
	}
	return all
}

// NATS creates the resources that all services need on NATS, or updates those that differ. It returns
// the action on each.
func NATS(ctx context.Context, b *bus.Bus) ([]bus.Change, error) {
	return b.Provision(ctx, Resources())
}
