package main

import (
	"context"
	"fmt"
	"time"

	"sori.internal/infra/internal/provision"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/postgres"
	"sori.internal/shared/wait"
)

type provisionCommand struct {
	Wait period `default:"1m" help:"the time limit, including the wait for servers that are unavailable; a migration that has begun may take longer"`
}

// provisionPause is the pause between two attempts.
const provisionPause = time.Second

// Run creates what the services need on NATS, in Postgres if DATABASE_URL is set, and on S3 if
// S3_ENDPOINT is set, and prints it. It can be repeated at any time.
func (c *provisionCommand) Run(ctx context.Context, t terminal) error {
	lookup, err := t.settings()
	if err != nil {
		return err
	}
	unlimited := ctx
	ctx, cancel := context.WithTimeout(ctx, c.Wait.duration())
	defer cancel()
	if err := t.provisionNATS(ctx, lookup); err != nil {
		return err
	}
	if url, _ := lookup("DATABASE_URL"); url != "" {
		if err := t.provisionPostgres(ctx, unlimited, lookup); err != nil {
			return err
		}
	}
	if endpoint, _ := lookup("S3_ENDPOINT"); endpoint == "" {
		return nil // without an endpoint the server is AWS, where the operator creates the identities
	}
	return t.provisionS3(ctx, lookup)
}

// provisionS3 creates the bucket, and the identities whose secret keys are set. If no secret key is
// set, it does not change S3.
func (t terminal) provisionS3(ctx context.Context, lookup config.Lookup) error {
	var identities provision.Identities
	if err := config.Load(lookup, &identities); err != nil || identities.Empty() {
		return err
	}
	var cfg objectstore.Config
	if err := config.Load(lookup, &cfg); err != nil {
		return err
	}
	return t.repeat(ctx, func() error {
		names, err := provision.S3(ctx, cfg, identities)
		for _, name := range names {
			fmt.Fprintf(t.out, "granted    S3 identity %s\n", name)
		}
		return err
	})
}

// provisionPostgres applies the migrations and creates the roles, as the user in DATABASE_URL. It waits
// for the server until ctx ends, and applies the migrations in the context work: a migration of a large
// table that were interrupted would begin again with the next call, and never end.
func (t terminal) provisionPostgres(ctx, work context.Context, lookup config.Lookup) error {
	var cfg struct {
		Postgres postgres.Config
		Roles    provision.Roles
	}
	if err := config.Load(lookup, &cfg); err != nil {
		return err
	}
	return t.repeat(ctx, func() error {
		names, err := provision.Postgres(work, cfg.Postgres, cfg.Roles)
		if err != nil {
			return err
		}
		fmt.Fprintln(t.out, "migrated   the schemas of gateway and tracker")
		for _, name := range names {
			fmt.Fprintf(t.out, "granted    role %s\n", name)
		}
		return nil
	})
}

func (t terminal) provisionNATS(ctx context.Context, lookup config.Lookup) error {
	provisioning := func(name string) (string, bool) {
		if name == "NATS_PROVISION" { // NATS_PROVISION=false is for the services
			return "true", true
		}
		return lookup(name)
	}
	return t.repeat(ctx, func() error {
		b, err := t.openBus(ctx, provisioning)
		if err != nil {
			return err
		}
		defer func() { _ = b.Close() }() // an error does not matter: every request was answered
		changes, err := provision.NATS(ctx, b)
		t.print(changes)
		return err
	})
}

func (t terminal) print(changes []bus.Change) {
	for _, c := range changes {
		fmt.Fprintf(t.out, "%-9s  %s\n", c.Action, c.Resource)
	}
}

// repeat calls work again as long as the error means that a server is unavailable, or until ctx ends.
func (t terminal) repeat(ctx context.Context, work func() error) error {
	for {
		err := work()
		if !fault.Is(err, fault.Unavailable) || fault.As(err).Permanent {
			return err
		}
		fmt.Fprintln(t.errs, "sorictl: waiting:", said(err))
		if wait.For(ctx, provisionPause) != nil {
			return err
		}
	}
}
