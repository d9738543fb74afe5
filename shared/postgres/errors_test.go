package postgres_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/lib/pq"

	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
	"sori.internal/shared/testkit"
)

func TestEveryClassOfErrorsHasItsKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err     error
		want    fault.Kind
		lasting bool
	}{
		"serialization failure": {&pq.Error{Code: "40001"}, fault.Unavailable, false},
		"deadlock":              {&pq.Error{Code: "40P01"}, fault.Unavailable, false},
		"too many connections":  {&pq.Error{Code: "53300"}, fault.Unavailable, false},
		"disk full":             {&pq.Error{Code: "53100"}, fault.Unavailable, false},
		"read only":             {&pq.Error{Code: "25006"}, fault.Unavailable, false},
		"shutting down":         {&pq.Error{Code: "57P01"}, fault.Unavailable, false},
		"starting up":           {&pq.Error{Code: "57P03"}, fault.Unavailable, false},
		"wrong password":        {&pq.Error{Code: "28P01"}, fault.Unavailable, true},
		"may not log in":        {&pq.Error{Code: "28000"}, fault.Unavailable, true},
		"no such database":      {&pq.Error{Code: "3D000"}, fault.Unavailable, true},
		"permission denied":     {fmt.Errorf("insert: %w", &pq.Error{Code: "42501"}), fault.Unavailable, true},
		"unique":                {fmt.Errorf("insert: %w", &pq.Error{Code: "23505"}), fault.Invalid, false},
		"bad text":              {&pq.Error{Code: "22P05"}, fault.Invalid, false},
		"nesting too deep":      {&pq.Error{Code: "54001"}, fault.Invalid, false},
		"syntax":                {&pq.Error{Code: "42601"}, fault.Internal, false},
		"no such table":         {&pq.Error{Code: "42P01"}, fault.Internal, false},
		"no code":               {&pq.Error{}, fault.Internal, false},
		"refused":               {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, fault.Unavailable, false},
		"reset":                 {fmt.Errorf("read: %w", syscall.ECONNRESET), fault.Unavailable, false},
		"cut off":               {io.ErrUnexpectedEOF, fault.Unavailable, false},
		"bad connection":        {driver.ErrBadConn, fault.Unavailable, false},
		"out of time":           {context.DeadlineExceeded, fault.Unavailable, false},
		"no row":                {sql.ErrNoRows, fault.Internal, false},
		"known already":         {fault.New(fault.Conflict, "actor-exists", "x"), fault.Conflict, false},
	} {
		err := postgres.Translate("ask", c.err)
		if !fault.Is(err, c.want) || !errors.Is(err, c.err) || !strings.Contains(err.Error(), "ask") {
			t.Errorf("%s: %s %v", name, fault.KindOf(err), err)
		}
		if f := fault.As(err); f.Permanent != c.lasting || f.Permanent && strings.Contains(f.Detail, "cannot be reached") {
			t.Errorf("%s: lasting %v, %v", name, f.Permanent, err)
		}
	}
	if postgres.Translate("ask", nil) != nil {
		t.Error("no error became one")
	}
}

// PgBouncer 1.18 to 1.25 sends one SQLSTATE with all of its errors, so that only the message shows
// whether a retry can succeed.
func TestWhatAPoolerSaysIsJudgedByWhetherWaitingHelps(t *testing.T) {
	t.Parallel()
	for message, advice := range map[string]string{
		"unsupported startup parameter: search_path":                                "ignore_startup_parameters",
		"unsupported startup parameter in options: statement_timeout":               "ignore_startup_parameters",
		`unrecognized configuration parameter "pgbouncer"`:                          "out of DATABASE_URL",
		"no such database: sori":                                                    "name",
		`database "sori" does not exist`:                                            "name",
		`role "sori" does not exist`:                                                "name",
		"database does not allow connections: sori":                                 "name",
		"password authentication failed":                                            "password",
		`password authentication failed for user "sori"`:                            "password",
		"SASL authentication failed":                                                "password",
		"no such user: sori":                                                        "user",
		`no pg_hba.conf entry for host "10.0.0.7", user "sori", database "sori"`:    "log in",
		`permission denied for database "sori"`:                                     "log in",
		"SSL required":                                                              "sslmode",
		"server login failed: wrong password type":                                  "that the pooler has",
		"bouncer config error":                                                      "settings of the pooler",
		"transaction blocks not allowed in statement pooling mode":                  "pool_mode",
		"query_wait_timeout":                                                        "",
		"client_login_timeout (server down)":                                        "",
		"no more connections allowed (max_client_conn)":                             "",
		"server login has been failing, try again later (server_login_retry)":       "",
		"the database system is starting up":                                        "",
		"sorry, too many clients already":                                           "",
		`too many connections for database "sori"`:                                  "",
		"server conn crashed?":                                                      "",
		"pgbouncer cannot connect to server":                                        "",
		"something that a later version says, which nobody has taken for permanent": "",
	} {
		err := postgres.Translate("ask", &pq.Error{Severity: "FATAL", Code: "08P01", Message: message})
		f := fault.As(err)
		if f.Kind != fault.Unavailable || f.Permanent != (advice != "") || strings.Contains(f.Detail, "cannot be reached") {
			t.Errorf("%s: lasting %v, %v", message, f.Permanent, err)
		}
		if !strings.Contains(err.Error(), message) || !strings.Contains(err.Error(), advice) {
			t.Errorf("%s: %v does not advise %q", message, err, advice)
		}
	}
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	db := open(t, "postgres://user:hunter2@127.0.0.1:1/x?sslmode=disable", "s")
	for what, err := range map[string]error{
		"ping": postgres.Ping(db)(k.Context()), "migrate": postgres.Migrate(k.Context(), db, "s", migrations(notes)),
	} {
		if !fault.Is(err, fault.Unavailable) || fault.As(err).Permanent || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, postgres.Ping(open(t, k.Database(), "s"))(k.Context()))
}

func TestWhatIsRefusedAtTheStartLastsAndSaysWhatToCorrect(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	for name, c := range map[string]struct {
		change func(*url.URL)
		says   string
	}{
		"unknown database":   {func(u *url.URL) { u.Path = "/no_such_database" }, "check the names"},
		"wrong password":     {func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "hunter2") }, "PGPASSWORD"},
		"unknown user":       {func(u *url.URL) { u.User = url.UserPassword("nobody", "hunter2") }, "PGPASSWORD"},
		"unknown parameter":  {add("pgbouncer", "true"), "take the parameter out"},
		"value of parameter": {add("statement_timeout", "soon"), "take the parameter out"},
		"fixed parameter":    {add("shared_buffers", "1"), "take the parameter out"},
		"options":            {add("options", "nonsense"), "take the parameter out"},
		"no TLS":             {add("sslmode", "require"), "sslmode"},
	} {
		u, err := url.Parse(k.Database())
		must(t, err)
		c.change(u)
		db := open(t, u.String(), "s")
		for what, err := range map[string]error{
			"ping": postgres.Ping(db)(k.Context()), "migrate": postgres.Migrate(k.Context(), db, "s", migrations(notes)),
		} {
			f := fault.As(err)
			if f == nil || f.Kind != fault.Unavailable || !f.Permanent || strings.Contains(f.Detail, "cannot be reached") {
				t.Errorf("%s, %s: %v", name, what, err)
				continue
			}
			if text := err.Error(); !strings.Contains(text, c.says) || strings.Contains(text, "hunter2") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
}

func add(name, value string) func(*url.URL) {
	return func(u *url.URL) {
		q := u.Query()
		q.Set(name, value)
		u.RawQuery = q.Encode()
	}
}
