package harness

import (
	"context"
	"errors"
	"fmt"
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
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/postgres"
	"sori.internal/shared/wait"
)

// Accounts are the accounts of the services at NATS, in Postgres and at S3, each with the rights that
// its service needs, as sorictl provision creates them for an installation.
type Accounts struct {
	prefix         string // prefix of the names, since tests share the servers
	database, s3   bool   // whether these accounts exist; the accounts at NATS always do
	databaseSecret string // the passwords are derived from those of the administrators
	s3Secret       string
}

// ReferenceSettings lists the settings that name buckets other than the bucket of recordings.
func ReferenceSettings() []string {
	return []string{"REFERENCE_BUCKET_NAME", "AWS_S3_BUCKET_NAME", "REFERENCE_PREFIXES"}
}

// Provision creates what the services need on NATS, and their accounts. The settings contain the
// credentials of administrators. Without DATABASE_URL Provision creates no accounts in Postgres.
// Without S3_ENDPOINT it creates none at S3; nor if references are in another bucket than the
// recordings, since the policy of that bucket may be someone else's. Provision repeats what fails
// while a server is unavailable.
func Provision(ctx context.Context, settings map[string]string) (Accounts, error) {
	a := Accounts{prefix: settings["S3_BUCKET_NAME"]}
	if err := provisionNATS(ctx, settings); err != nil {
		return a, err
	}
	if settings["DATABASE_URL"] != "" {
		if err := a.provisionDatabase(ctx, settings); err != nil {
			return a, err
		}
	}
	for _, further := range ReferenceSettings() {
		if settings[further] != "" {
			return a, nil
		}
	}
	if settings["S3_ENDPOINT"] == "" {
		return a, nil
	}
	return a, a.provisionS3(ctx, settings)
}

func (a *Accounts) provisionDatabase(ctx context.Context, settings map[string]string) error {
	var cfg postgres.Config
	if err := config.Load(config.Map(settings), &cfg); err != nil {
		return err
	}
	u, err := url.Parse(cfg.URL.Reveal())
	if err != nil {
		return errors.New("DATABASE_URL is not a valid URL")
	}
	a.database = true
	a.databaseSecret, _ = u.User.Password()
	var roles provision.Roles
	roles.Gateway, roles.GatewayPassword = a.role(Gateway)
	roles.Tracker, roles.TrackerPassword = a.role(Tracker)
	return repeat(ctx, "Postgres", func() error {
		_, err := provision.Postgres(ctx, cfg, roles)
		return err
	})
}

func (a *Accounts) provisionS3(ctx context.Context, settings map[string]string) error {
	var cfg objectstore.Config
	if err := config.Load(config.Map(settings), &cfg); err != nil {
		return err
	}
	a.s3, a.s3Secret = true, cfg.SecretKey.Reveal()
	var all provision.Identities
	all.Gateway, all.GatewaySecret = a.identity(Gateway)
	all.Uploader, all.UploaderSecret = a.identity(Uploader)
	all.Dispatcher, all.DispatcherSecret = a.identity(Dispatcher)
	all.Tracker, all.TrackerSecret = a.identity(Tracker)
	return repeat(ctx, "S3", func() error {
		_, err := provision.S3(ctx, cfg, all)
		return err
	})
}

// repeat calls do again as long as the error means that a server is unavailable.
func repeat(ctx context.Context, server string, do func() error) error {
	for {
		err := do()
		if !fault.Is(err, fault.Unavailable) {
			return err
		}
		if wait.For(ctx, provisionPause) != nil {
			return fmt.Errorf("provision %s: %w", server, err)
		}
	}
}

// role returns the name and the password of a service's role in Postgres.
func (a *Accounts) role(name string) (user string, password config.Secret) {
	user = a.prefix + "_" + name
	return user, config.Secret(natsauth.Password(user, a.databaseSecret))
}

// identity returns the access key and the secret key of a service at S3.
func (a *Accounts) identity(name string) (access string, secret config.Secret) {
	access = a.prefix + "-" + name
	return access, config.Secret(natsauth.Password(access, a.s3Secret))
}

// Settings returns settings in which the credentials of administrators are replaced by those of a
// service's own accounts.
func (a *Accounts) Settings(settings map[string]string, name string) map[string]string {
	own := maps.Clone(AsUser(settings, name))
	if a.database && (name == Gateway || name == Tracker) {
		if u, err := url.Parse(own["DATABASE_URL"]); err == nil {
			u.User = nil
			own["DATABASE_URL"], own["DATABASE_MIGRATE"] = u.String(), "false"
			user, password := a.role(name)
			own["PGUSER"], own["PGPASSWORD"] = user, password.Reveal()
		}
	}
	if a.s3 {
		access, secret := a.identity(name)
		own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"] = access, secret.Reveal()
	}
	return own
}

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
