package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
	"sori.internal/shared/testkit"
)

// recorder forwards connections to a server and records what the client sends.
type recorder struct {
	url     string
	standby atomic.Bool // the server refuses transactions that write, as a standby does

	mu       sync.Mutex
	made     int      // number of connections
	startUp  []string // names of the parameters in the start-up message
	messages string   // types of the messages, one letter each
}

func record(t *testing.T, server string) *recorder {
	t.Helper()
	u, err := url.Parse(server)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	target := u.Host
	u.Host = l.Addr().String()
	r := &recorder{url: u.String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(client, target)
		}
	}()
	return r
}

func (r *recorder) serve(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	r.made++
	r.mu.Unlock()
	go func() { _, _ = io.Copy(client, server) }()
	// A message is recorded before it is forwarded, so that it is recorded when the client gets the
	// response.
	var message bytes.Buffer
	said := io.TeeReader(bufio.NewReader(client), &message)
	r.keepStartUp(said)
	for kind := make([]byte, 1); ; {
		if _, err := message.WriteTo(server); err != nil {
			return
		}
		if _, err := io.ReadFull(said, kind); err != nil || body(said) == nil {
			return
		}
		if r.standby.Load() && bytes.HasSuffix(message.Bytes(), []byte("BEGIN READ WRITE\x00")) {
			message.Reset()
			message.Write(query(`DO $$BEGIN RAISE EXCEPTION 'in recovery' USING ERRCODE = '0A000'; END$$`))
		}
		r.mu.Lock()
		r.messages += string(kind)
		r.mu.Unlock()
	}
}

// query returns the message of a simple query.
func query(text string) []byte {
	const ownLength, end = 4, 1
	length := uint32(ownLength + len(text) + end)
	return append(binary.BigEndian.AppendUint32([]byte{'Q'}, length), text+"\x00"...)
}

// body reads the rest of a message: the length, which includes its own four bytes, and the content.
func body(from io.Reader) []byte {
	var length uint32
	if binary.Read(from, binary.BigEndian, &length) != nil {
		return nil
	}
	text := make([]byte, length-4)
	if _, err := io.ReadFull(from, text); err != nil {
		return nil
	}
	return text
}

func (r *recorder) keepStartUp(said io.Reader) {
	pairs := strings.Split(string(body(said)[4:]), "\x00")
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := 0; i+1 < len(pairs) && pairs[i] != ""; i += 2 {
		r.startUp = append(r.startUp, pairs[i])
	}
}

func (r *recorder) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made
}

// sentDuring runs f and returns the types of the messages that the client has sent during f.
func (r *recorder) sentDuring(f func()) string {
	r.mu.Lock()
	before := len(r.messages)
	r.mu.Unlock()
	f()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.messages[before:]
}

func TestAConnectionBeginsWithNothingThatAPoolerRefuses(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	r := record(t, k.Database()+"&search_path=elsewhere")
	must(t, open(t, r.url, "s").PingContext(k.Context()))
	known := []string{"application_name", "client_encoding", "database", "datestyle", "user"}
	if slices.Sort(r.startUp); !slices.Equal(r.startUp, known) {
		t.Errorf("the start-up message holds %v", r.startUp)
	}
}

// After a Sync outside a transaction, a pooler may assign the server connection to another client.
// An unnamed statement is then lost, so a query must be sent in one batch with one Sync.
func TestAQueryIsSentWithItsValuesAtOnce(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	r := record(t, k.Database())
	db := open(t, r.url, "s")
	must(t, db.PingContext(k.Context()))
	for name, ask := range map[string]func() error{
		"query": func() error { return db.GetContext(k.Context(), new(int), `SELECT $1::int`, 7) },
		"exec": func() error {
			_, err := db.ExecContext(k.Context(), `SELECT $1::text, $2::bytea, $3::timestamptz`, "a", []byte{0, 255}, time.Now())
			return err
		},
	} {
		if sent := r.sentDuring(func() { must(t, ask()) }); sent != "PBDES" { // the message types Parse, Bind, Describe, Execute and Sync
			t.Errorf("%s: %s", name, sent)
		}
	}
}

// After a failover, a connection may lead to the former primary, which only reads. The database of
// this test is read-only for sessions that begin at a certain time, and they stay so.
func TestASessionThatIsReadOnlyIsReplaced(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	u, err := url.Parse(k.Database())
	must(t, err)
	database := pq.QuoteIdentifier(strings.TrimPrefix(u.Path, "/"))
	admin := open(t, k.Database(), "s")
	admin.SetMaxOpenConns(1) // the session that begins first may always write
	exec := func(statement string) {
		t.Helper()
		_, err := admin.ExecContext(k.Context(), statement)
		must(t, err)
	}
	exec(`CREATE TABLE public.notes (id bigint)`)
	for name, write := range map[string]func(*sqlx.DB) error{
		"statement": func(db *sqlx.DB) error {
			_, err := db.ExecContext(k.Context(), `INSERT INTO public.notes VALUES ($1)`, 1)
			return err
		},
		"query": func(db *sqlx.DB) error {
			var id int64
			return db.GetContext(k.Context(), &id, `INSERT INTO public.notes VALUES ($1) RETURNING id`, 1)
		},
	} {
		exec(`ALTER DATABASE ` + database + ` SET default_transaction_read_only = on`)
		db := open(t, k.Database(), "s")
		if err := postgres.Translate("write", write(db)); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s of a read-only session: %v", name, err)
		}
		exec(`ALTER DATABASE ` + database + ` RESET default_transaction_read_only`)
		if err := write(db); err != nil {
			t.Errorf("%s after that: %v", name, err)
		}
	}
}

// A standby answers the beginning of a transaction like the server behind this recorder. If the error
// counted as a defect, it would fail jobs.
func TestATransactionAtAStandbyIsRepeatedAtAnotherConnection(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	r := record(t, k.Database())
	r.standby.Store(true)
	db := open(t, r.url, "s")
	write := func() error {
		return postgres.Tx(k.Context(), db, func(tx *sqlx.Tx) error {
			_, err := tx.ExecContext(k.Context(), `SELECT 1`)
			return err
		})
	}
	if err := postgres.Translate("write", write()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("at a standby: %v", err)
	}
	before := r.connections()
	r.standby.Store(false)
	if err := write(); err != nil || r.connections() != before+1 {
		t.Errorf("after that: %v, %d connections after %d", err, r.connections(), before)
	}
}

func TestMigrationsThatAKilledReplicaHasLockedAreTakenOver(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	db := open(t, k.Database(), "s")
	must(t, postgres.Migrate(k.Context(), db, "s", migrations(notes)))
	_, err := db.ExecContext(k.Context(), `
		UPDATE s.migrations_lock
		SET locked = true, locked_by = 'killed', lease_expires_at = now() + interval '1500 milliseconds'`)
	must(t, err)
	must(t, postgres.Migrate(k.Context(), db, "s", migrations(notes, `INSERT INTO s.notes (id, text) SELECT 1, locked_by FROM s.migrations_lock;`)))
	if n := count(t, db, `SELECT count(*) FROM s.notes WHERE text <> 'killed'`); n != 1 {
		t.Error("the migration was applied under the lock of another")
	}
}

// role creates a role without any permission except to log in, and returns its URL.
func role(t *testing.T, k *testkit.Kit, admin *sqlx.DB) (name, dsn string) {
	t.Helper()
	u, err := url.Parse(k.Database())
	must(t, err)
	database := strings.TrimPrefix(u.Path, "/")
	name = database + "_service"
	exec := func(statement string) {
		t.Helper()
		_, err := admin.ExecContext(context.WithoutCancel(k.Context()), statement)
		must(t, err)
	}
	exec(`CREATE ROLE ` + pq.QuoteIdentifier(name) + ` LOGIN PASSWORD 'p'`)
	t.Cleanup(func() {
		exec(`DROP OWNED BY ` + pq.QuoteIdentifier(name) + ` CASCADE`)
		exec(`DROP ROLE ` + pq.QuoteIdentifier(name))
	})
	u.User = url.UserPassword(name, "p")
	return name, u.String()
}

func TestARoleMayLackThePermissionToMakeSchemasWhereItsOwnExists(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	admin := open(t, k.Database(), "s")
	name, dsn := role(t, k, admin)
	db := open(t, dsn, "s")
	err := postgres.Migrate(k.Context(), db, "s", migrations(notes))
	if f := fault.As(err); f == nil || !f.Permanent || !strings.Contains(err.Error(), "lacks a permission") {
		t.Fatalf("without a schema: %v", err)
	}
	_, err = admin.ExecContext(k.Context(), `CREATE SCHEMA s AUTHORIZATION `+pq.QuoteIdentifier(name))
	must(t, err)
	must(t, postgres.Migrate(k.Context(), db, "s", migrations(notes)))
}
