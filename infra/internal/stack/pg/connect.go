package pg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lib/pq"
)

const pollEvery = 10 * time.Millisecond

// The SQLSTATE codes of errors that have a meaning of their own while the server starts.
const (
	codeStartingUp    = "57P03"
	codeWrongPassword = "28P01"
)

var (
	errEarlyExit = errors.New("the server ended before it was ready")
	errPassword  = errors.New("the cluster has another password than the one kept beside it: remove both to begin anew")
)

// await polls until the server answers a query. The password makes sure that the answer is from this server and not from
// another one on the same port.
func (s *Server) await(ctx context.Context) error {
	db, err := open(s.AdminURL())
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err = db.PingContext(ctx)
		if err == nil {
			return nil
		}
		var refused *pq.Error
		if errors.As(err, &refused) && refused.Code != codeStartingUp {
			if refused.Code == codeWrongPassword {
				return fmt.Errorf("%w: %w", errPassword, err)
			}
			return fmt.Errorf("connect: %w", err)
		}
		select {
		case <-tick.C:
		case <-s.proc.Done():
			return fmt.Errorf("%w: %w", errEarlyExit, s.proc.Err())
		case <-ctx.Done():
			return fmt.Errorf("wait for an answer: %w", context.Cause(ctx))
		}
	}
}

// prepare creates the owner of the services' tables, who may create the roles of the services, and
// the database.
func (s *Server) prepare(ctx context.Context) error {
	db, err := open(s.AdminURL())
	if err != nil {
		return err
	}
	defer db.Close()
	const missing = `
SELECT
	NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1),
	NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1 AND rolcreaterole),
	NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)`
	var noRole, mayNotCreate, noDatabase bool
	if err = db.QueryRowContext(ctx, missing, owner).Scan(&noRole, &mayNotCreate, &noDatabase); err != nil {
		return fmt.Errorf("look for the database: %w", err)
	}
	if noRole {
		// CREATE ROLE and CREATE DATABASE accept no parameters. The values are not user input.
		q := "CREATE ROLE " + pq.QuoteIdentifier(owner) + " LOGIN PASSWORD " + pq.QuoteLiteral(s.opts.OwnerPassword)
		if _, err = db.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("create role: %w", err)
		}
	}
	if mayNotCreate {
		if _, err = db.ExecContext(ctx, "ALTER ROLE "+pq.QuoteIdentifier(owner)+" CREATEROLE"); err != nil {
			return fmt.Errorf("let the owner create roles: %w", err)
		}
	}
	if noDatabase {
		q := "CREATE DATABASE " + pq.QuoteIdentifier(owner) + " OWNER " + pq.QuoteIdentifier(owner)
		if _, err = db.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("create database: %w", err)
		}
	}
	return nil
}

func open(dsn string) (*sql.DB, error) {
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("read address: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db, nil
}
