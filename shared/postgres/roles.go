package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
)

// Role is a role that may log in to the database, with its privileges.
type Role struct {
	Name     string
	Password config.Secret
	Grants   []Grant
}

// Grant lets a role use the rows of tables of a schema. The role may neither create nor change
// tables.
type Grant struct {
	Schema     string
	Table      string // if empty, all tables and sequences of the schema except those of the migrations
	Privileges string // separated by commas, such as SELECT, INSERT
}

// ProvisionRole creates a role that may log in, or changes its password and its privileges. It
// revokes the privileges that the role had before in the schemas of its grants. The caller must be
// allowed to create roles, and own the tables. If another program provisions the role at the same
// time, perhaps for another database, ProvisionRole fails with fault.Unavailable and changes
// nothing.
func ProvisionRole(ctx context.Context, db *sqlx.DB, role Role) error {
	verifier, err := scramVerifier(role.Password.Reveal())
	if err != nil {
		return fmt.Errorf("provision role %s: %w", role.Name, err)
	}
	err = Tx(ctx, db, func(tx *sqlx.Tx) error {
		const query = `
			SELECT rolsuper OR rolcreatedb OR rolcreaterole
			FROM pg_roles
			WHERE rolname = $1`
		var former []bool
		if err := tx.SelectContext(ctx, &former, query, role.Name); err != nil {
			return err
		}
		var database string
		if err := tx.GetContext(ctx, &database, `SELECT current_database()`); err != nil {
			return err
		}
		for _, statement := range role.statements(former, database, verifier) {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if isConcurrent(err) {
		return fault.Wrap(fault.Unavailable, "contended", "The role is provisioned by somebody else, too. Please try again.", err)
	}
	return Translate("provision role "+role.Name, err)
}

// isConcurrent reports whether a role was created or changed by two transactions at the same time. No
// lock prevents that: an advisory lock holds in one database, but all databases share the roles.
func isConcurrent(err error) bool {
	switch SQLState(err) {
	case "42710", "23505": // duplicate_object and unique_violation: another transaction has created the role
		return true
	case "XX000": // internal_error
		return strings.Contains(err.Error(), "tuple concurrently updated")
	}
	return false
}

// statements returns the SQL that creates or changes the role. If the role exists, former has one
// element: whether the role may create databases and roles. A new role may do neither. Only a
// superuser may revoke these permissions from an existing role, so they are revoked only if it has
// them.
//
// By default everybody may connect to a database and, before Postgres 15, create tables in the schema
// public.
func (r Role) statements(former []bool, database, verifier string) []string {
	name, verb, rights := pq.QuoteIdentifier(r.Name), "CREATE", ""
	if len(former) > 0 {
		verb = "ALTER"
	}
	if slices.Contains(former, true) {
		rights = " NOSUPERUSER NOCREATEDB NOCREATEROLE"
	}
	all := []string{
		verb + " ROLE " + name + " LOGIN" + rights + " PASSWORD " + pq.QuoteLiteral(verifier),
		"REVOKE ALL ON DATABASE " + pq.QuoteIdentifier(database) + " FROM PUBLIC",
		"REVOKE CREATE ON SCHEMA public FROM PUBLIC",
		"GRANT CONNECT ON DATABASE " + pq.QuoteIdentifier(database) + " TO " + name,
	}
	for _, g := range r.Grants { // all REVOKEs precede the first GRANT, since several grants may be for one schema
		all = append(all, "REVOKE ALL ON ALL TABLES IN SCHEMA "+pq.QuoteIdentifier(g.Schema)+" FROM "+name)
	}
	for _, g := range r.Grants {
		schema := pq.QuoteIdentifier(g.Schema)
		all = append(all, "GRANT USAGE ON SCHEMA "+schema+" TO "+name)
		if g.Table != "" {
			all = append(all, "GRANT "+g.Privileges+" ON "+schema+"."+pq.QuoteIdentifier(g.Table)+" TO "+name)
			continue
		}
		all = append(all,
			"GRANT "+g.Privileges+" ON ALL TABLES IN SCHEMA "+schema+" TO "+name,
			"GRANT USAGE ON ALL SEQUENCES IN SCHEMA "+schema+" TO "+name,
			"REVOKE ALL ON "+schema+".migrations, "+schema+".migrations_lock FROM "+name,
			"GRANT SELECT ON "+schema+".migrations TO "+name)
	}
	return all
}

// scramVerifier returns the form in which Postgres stores a password (RFC 5803). The statement
// contains this form and not the password, since the server may log statements.
func scramVerifier(password string) (string, error) {
	const iterations = 4096 // the default of Postgres
	var salt [16]byte
	_, _ = rand.Read(salt[:])
	salted, err := pbkdf2.Key(sha256.New, password, salt[:], iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive a key: %w", err)
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		_, _ = h.Write([]byte(text)) // Write of a hash never returns an error
		return h.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt[:]), encode(stored[:]), encode(mac("Server Key"))), nil
}
