package harness

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/natsauth"
	"sori.internal/infra/internal/provision"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
)

// AsUser returns settings with which a program logs in to NATS as the user with the program's name,
// who may not create streams, consumers or buckets. It returns the settings unchanged if their
// NATS_URL does not contain the credentials of natsauth.Admin, or if they name a user already.
func AsUser(settings map[string]string, name string) map[string]string {
	first, _, _ := strings.Cut(settings["NATS_URL"], ",")
	u, err := url.Parse(first)
	if err != nil || u.User.Username() != natsauth.Admin || settings["NATS_USER"] != "" {
		return settings
	}
	password, _ := u.User.Password()
	own := maps.Clone(settings)
	own["NATS_USER"], own["NATS_PASSWORD"] = natsauth.Login(event.Namespace(settings["NATS_NAMESPACE"]), name, password)
	own["NATS_PROVISION"] = "false"
	return own
}

// provisionPause is the pause between two attempts to provision NATS.
const provisionPause = 100 * time.Millisecond

// provisionNATS creates what the services need on NATS, as the user natsauth.Operator.
func provisionNATS(ctx context.Context, settings map[string]string) (err error) {
	settings = maps.Clone(AsUser(settings, natsauth.Operator))
	settings["NATS_PROVISION"] = "true"
	var cfg bus.Config
	if err := config.Load(config.Map(settings), &cfg); err != nil {
		return err
	}
	b, err := bus.Open(cfg, natsauth.Operator, zerolog.Nop())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return repeat(ctx, "NATS", func() error {
		_, err := provision.NATS(ctx, b)
		return err
	})
}
