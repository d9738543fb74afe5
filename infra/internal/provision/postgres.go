package provision

import (
	"context"
	"errors"

	gateway "sori.internal/services/gateway/app"
	tracker "sori.internal/services/tracker/app"
	"sori.internal/shared/config"
	"sori.internal/shared/postgres"
)

// Roles has the names and the passwords of the services' roles in Postgres. A role without a password
// is not provisioned.
type Roles struct {
	Gateway  string `env:"GATEWAY_DATABASE_USER" envDefault:"sori_gateway"`
	Tracker  string `env:"TRACKER_DATABASE_USER" envDefault:"sori_tracker"`
	Operator string `env:"SORICTL_DATABASE_USER" envDefault:"sori_sorictl"`

	GatewayPassword  config.Secret `env:"GATEWAY_DATABASE_PASSWORD"`
	TrackerPassword  config.Secret `env:"TRACKER_DATABASE_PASSWORD"`
	OperatorPassword config.Secret `env:"SORICTL_DATABASE_PASSWORD"`
}

// list returns the roles. A service may read and write the rows of its own schema. The operator's
// tool reads the records of jobs, manages API keys, and appends what it changes to the audit log.
func (r Roles) list() []postgres.Role {
	const rows = "SELECT, INSERT, UPDATE, DELETE"
	return []postgres.Role{
		{Name: r.Gateway, Password: r.GatewayPassword, Grants: []postgres.Grant{{Schema: gateway.Schema, Privileges: rows}}},
		{Name: r.Tracker, Password: r.TrackerPassword, Grants: []postgres.Grant{{Schema: tracker.Schema, Privileges: rows}}},
		{Name: r.Operator, Password: r.OperatorPassword, Grants: []postgres.Grant{
			{Schema: tracker.Schema, Privileges: "SELECT"},
			{Schema: gateway.Schema, Table: gateway.KeysTable, Privileges: rows},
			{Schema: gateway.Schema, Table: gateway.AuditTable, Privileges: "SELECT, INSERT"},
		}},
	}
}

// Postgres applies the migrations of all services, and creates the roles of the services or changes
// them. The user in cfg must own the tables and be allowed to create roles. Postgres returns the names
// of the roles.
func Postgres(ctx context.Context, cfg postgres.Config, roles Roles) (names []string, err error) {
	for _, migrate := range []func(context.Context, postgres.Config) error{gateway.Migrate, tracker.Migrate} {
		if err := migrate(ctx, cfg); err != nil {
			return nil, err
		}
	}
	db, err := postgres.Open(cfg, "provision")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, role := range roles.list() {
		if role.Password == "" {
			continue
		}
		if err := postgres.ProvisionRole(ctx, db, role); err != nil {
			return names, err
		}
		names = append(names, role.Name)
	}
	return names, nil
}
