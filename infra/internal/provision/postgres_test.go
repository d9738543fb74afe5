package provision_test

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/provision"
	gateway "sori.internal/services/gateway/app"
	"sori.internal/shared/config"
	"sori.internal/shared/fault"
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
	for range 2 { // the second run changes nothing
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
		`SELECT count(*) FROM catalogue.api_keys`: "gateway sorictl", `DELETE FROM catalogue.api_keys`: "gateway sorictl",
		`UPDATE catalogue.api_keys SET name = name`: "gateway sorictl",
		`SELECT count(*) FROM catalogue.audit_log`:  "gateway sorictl", `DELETE FROM catalogue.audit_log`: "gateway",
		`UPDATE catalogue.audit_log SET owner = owner`: "gateway",
		`INSERT INTO catalogue.audit_log (at, owner, key_id, action, object, status, address, request_id) VALUES (now(), '', '', '', '', 0, '', '')`: "gateway sorictl",
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

// ownedBy makes a role that may create roles, but is no superuser, the owner of the test's database.
func ownedBy(t *testing.T, k *testkit.Kit, admin *sqlx.DB, role string) {
	t.Helper()
	change := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := admin.Exec(statement); err != nil { //nolint:noctx // runs in a cleanup, too, where the test's context has ended
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	var database, superuser string
	if err := admin.QueryRowContext(k.Context(), `SELECT current_database(), current_user`).Scan(&database, &superuser); err != nil {
		t.Fatal(err)
	}
	change("CREATE ROLE "+role+" LOGIN CREATEROLE PASSWORD 'owner'", "ALTER DATABASE "+database+" OWNER TO "+role)
	t.Cleanup(func() {
		change("ALTER DATABASE "+database+" OWNER TO "+superuser, "REASSIGN OWNED BY "+role+" TO "+superuser)
	})
}

func TestRolesAreProvisionedByAnOwnerWhoIsNoSuperuser(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	admin, err := sqlx.Open("postgres", k.Database())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	owner := string(k.Namespace()) + "_owner"
	ownedBy(t, k, admin, owner)
	u, err := url.Parse(k.Database())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(owner, "owner")
	cfg := postgres.Config{URL: config.Secret(u.String()), MaxConnections: 2, Migrate: true}
	roles := provision.Roles{Gateway: string(k.Namespace()) + "_gateway", GatewayPassword: rolePassword}
	for range 2 { // the first call creates the role, the second one changes it
		if _, err := provision.Postgres(k.Context(), cfg, roles); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := login(t, cfg, roles.Gateway, rolePassword).ExecContext(k.Context(), `SELECT count(*) FROM catalogue.tokens`); err != nil {
		t.Error(err)
	}
	// Permissions that somebody else has granted to the role must be revoked. If that is impossible, the error
	// must say so.
	if _, err := admin.ExecContext(k.Context(), "ALTER ROLE "+roles.Gateway+" SUPERUSER"); err != nil {
		t.Fatal(err)
	}
	if _, err := provision.Postgres(k.Context(), cfg, roles); err == nil {
		t.Error("a superuser stays one, without an error")
	}
	if _, err := provision.Postgres(k.Context(), postgres.Config{URL: config.Secret(k.Database()), MaxConnections: 2, Migrate: true}, roles); err != nil {
		t.Fatal(err)
	}
	var still bool
	if err := admin.GetContext(k.Context(), &still, `SELECT rolsuper FROM pg_roles WHERE rolname = $1`, roles.Gateway); err != nil || still {
		t.Errorf("superuser: %v, %v", still, err)
	}
}

// Roles are shared by all databases of a server.
func TestRolesAreProvisionedSeveralTimesAtOnce(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	k.Database()
	var cfg postgres.Config
	k.Load(&cfg)
	roles := provision.Roles{
		Gateway: string(k.Namespace()) + "_gateway", GatewayPassword: rolePassword,
		Tracker: string(k.Namespace()) + "_tracker", TrackerPassword: rolePassword,
	}
	if _, err := provision.Postgres(k.Context(), cfg, provision.Roles{}); err != nil { // without passwords, only the migrations are applied
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				testkit.Eventually(t, func() error {
					_, err := provision.Postgres(k.Context(), cfg, roles)
					if err != nil && !fault.Is(err, fault.Unavailable) {
						t.Error(err)
						return nil
					}
					return err
				})
			}
		})
	}
	all.Wait()
	if err := login(t, cfg, roles.Tracker, rolePassword).PingContext(k.Context()); err != nil {
		t.Error(err)
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
