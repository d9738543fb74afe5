package bus

import (
	"context"
	"fmt"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Resources are what a service needs on the server.
type Resources struct {
	Streams   []event.Stream
	Consumers []Consumer // the field Handle of each consumer is ignored
	Buckets   []string   // key-value buckets
}

// Action is what Provision did to a resource.
type Action string

// The actions.
const (
	Unchanged Action = "unchanged"
	Created   Action = "created"
	Updated   Action = "updated"
)

// actionOn returns Created if the resource had no name, since it did not exist; otherwise Updated.
func actionOn(name string) Action {
	if name == "" {
		return Created
	}
	return Updated
}

// Change is the action on one resource, such as "stream AUDIO_JOBS".
type Change struct {
	Resource string
	Action   Action
}

// Provision creates the resources, or updates those whose configuration differs. It may be called
// again at any time. If it fails, it also returns the changes that it made before the failure.
func (b *Bus) Provision(ctx context.Context, r Resources) (changes []Change, err error) {
	if err := b.checkServer(ctx); err != nil {
		return nil, err
	}
	for _, s := range r.Streams {
		action, err := b.ensure(ctx, s)
		if err != nil {
			return changes, translate("provision stream "+s.Name, err)
		}
		changes = append(changes, Change{"stream " + s.Name, action})
	}
	for _, c := range r.Consumers {
		_, action, err := b.ensureConsumer(ctx, c)
		if err != nil {
			return changes, err
		}
		changes = append(changes, Change{"consumer " + c.Name, action})
	}
	for _, bucket := range r.Buckets {
		_, action, err := b.ensureBucket(ctx, bucket)
		if err == nil && action == Unchanged {
			action, err = b.replicateBucket(ctx, bucket)
		}
		if err != nil {
			return changes, err
		}
		changes = append(changes, Change{"bucket " + bucket, action})
	}
	return changes, nil
}

// notProvisioned returns the error of a client that does not create what it needs, and does not find
// it.
func notProvisioned(resource string) error {
	return fault.Unreachable("message bus", fmt.Errorf("%s does not exist, or lacks a subject: run `sorictl provision`", resource))
}

// warnOfDifference logs that a resource is used although the settings of this client differ.
func (b *Bus) warnOfDifference(resource string) {
	b.log.Warn().Str("resource", resource).Msg("configuration on the bus differs from the settings, run sorictl provision")
}
