package provision_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/provision"
	gateway "sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/postgres"
	"sori.internal/shared/testkit"
)

const rolePassword = "a password with ' and \\ and %"

// provisioned returns the roles that are provisioned in the database of a test, and the database.
func provisioned(t *testing.T, k *testkit.Kit) (provision.Roles, postgres.Config) {
	t.Helper()
	k.Database()
	var cfg postgres.Config
	k.Load(&cfg)
	prefix := string(k.Namespace()) + "_"
	roles := provision.Roles{
		Gateway: prefix + "gateway", Tracker: prefix + "tracker", Operator: prefix + "sorictl",
		GatewayPassword: rolePassword, TrackerPassword: rolePassword, OperatorPassword: rolePassword,
	}
	for range 2 { // again changes nothing
		names, err := provision.Postgres(k.Context(), cfg, roles)
		if err != nil || len(names) != 3 {
			t.Fatalf("%v, %v", names, err)
		}
	}
	return roles, cfg
}

// login connects as a role.
func login(t *testing.T, cfg postgres.Config, role, password string) *sqlx.DB {
	t.Helper()
	url := cfg.URL.Reveal()
	if at := strings.LastIndex(url, "@"); at >= 0 {
		url = "postgres://" + url[at+1:]
	}
	db, err := postgres.Open(postgres.Config{URL: config.Secret(url), User: role, Password: config.Secret(password), MaxConnections: 2}, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestARoleMayUseTheRowsOfItsOwnSchemaAndNothingElse(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	roles, cfg := provisioned(t, k)
	const all = "gateway tracker sorictl"
	for statement, who := range map[string]string{
		`SELECT count(*) FROM catalogue.tokens`: "gateway", `DELETE FROM catalogue.tokens`: "gateway",
		`SELECT nextval('catalogue.tokens_id_seq')`: "gateway", `TRUNCATE catalogue.tokens`: "",
		`SELECT count(*) FROM catalogue.api_keys`: "gateway sorictl", `DELETE FROM catalogue.api_keys`: "gateway",
		`UPDATE catalogue.api_keys SET name = name`: "gateway sorictl",
		`SELECT count(*) FROM catalogue.audit_log`:  "gateway sorictl", `DELETE FROM catalogue.audit_log`: "gateway",
		`SELECT count(*) FROM tracker.analysis_results`: "tracker sorictl", `DELETE FROM tracker.analysis_results`: "tracker",
		`SELECT count(*) FROM catalogue.migrations`: "gateway", `DELETE FROM catalogue.migrations`: "", `DELETE FROM tracker.migrations`: "",
		`SELECT count(*) FROM tracker.migrations`: "tracker sorictl", `DROP TABLE catalogue.tokens`: "", `CREATE TABLE catalogue.mine (a int)`: "",
		`ALTER TABLE tracker.analysis_results ADD mine int`: "", `CREATE TABLE public.mine (a int)`: "", `CREATE SCHEMA mine`: "",
		`CREATE ROLE mine`: "", `COPY (SELECT 1) TO PROGRAM 'true'`: "", `SELECT rolpassword FROM pg_authid`: "", `SELECT 1`: all,
	} {
		for name, role := range map[string]string{"gateway": roles.Gateway, "tracker": roles.Tracker, "sorictl": roles.Operator} {
			_, err := login(t, cfg, role, rolePassword).ExecContext(k.Context(), statement)
			if may := err == nil; may != strings.Contains(who, name) {
				t.Errorf("%s: %s: %v", name, statement, err)
			} else if !may && !strings.Contains(err.Error(), "42501") && !strings.Contains(err.Error(), "denied") && !strings.Contains(err.Error(), "must be owner") {
				t.Errorf("%s: %s fails for another reason: %v", name, statement, err)
			}
		}
	}
}

func TestAChangedPasswordReplacesTheOldOne(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	roles, cfg := provisioned(t, k)
	roles.GatewayPassword = "another"
	if _, err := provision.Postgres(k.Context(), cfg, roles); err != nil {
		t.Fatal(err)
	}
	if err := login(t, cfg, roles.Gateway, "another").PingContext(k.Context()); err != nil {
		t.Error(err)
	}
	if err := login(t, cfg, roles.Gateway, rolePassword).PingContext(k.Context()); err == nil {
		t.Error("the old password is accepted")
	}
}

func TestAServiceThatMayNotMigrateWaitsForTheMigrations(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	k.Database()
	var cfg postgres.Config
	k.Load(&cfg)
	service := k.Run(gateway.Run, map[string]string{
		"TRACKER_URL": "http://127.0.0.1:1", "DISPATCHER_URL": "http://127.0.0.1:1", "DATABASE_MIGRATE": "false",
	})
	testkit.Eventually(t, func() error {
		if strings.Contains(k.Logged(), "run `sorictl provision`") {
			return nil
		}
		return errNotLogged
	})
	if _, err := provision.Postgres(k.Context(), cfg, provision.Roles{}); err != nil {
		t.Fatal(err)
	}
	if err := harness.WaitReady(k.Context(), service.URL); err != nil {
		t.Error(err)
	}
}

var errNotLogged = errors.New("the service does not say what it waits for")
