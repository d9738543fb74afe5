package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/services/gateway/internal/access"
	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
	"sori.internal/shared/principal"
)

// The limits of the keys of one owner. Revoked and expired keys count too. When the owner makes a
// key, keys that have been revoked or expired for more than deadKeyDays are deleted.
const (
	maxOwnerKeys = 200
	deadKeyDays  = 30
)

type apiKeyRow struct {
	ID         string         `db:"id"`
	Owner      string         `db:"owner"`
	Name       string         `db:"name"`
	Scopes     pq.StringArray `db:"scopes"`
	SecretHash []byte         `db:"secret_hash"`
	Created    time.Time      `db:"created_at"`
	Expires    *time.Time     `db:"expires_at"`
	LastUsed   *time.Time     `db:"last_used_at"`
	Revoked    *time.Time     `db:"revoked_at"`
}

func (r apiKeyRow) stored() access.StoredKey {
	k := access.StoredKey{SecretHash: r.SecretHash, Key: access.Key{
		ID: r.ID, Owner: r.Owner, Name: r.Name, Created: r.Created, Expires: r.Expires, LastUsed: r.LastUsed, Revoked: r.Revoked,
	}}
	for _, scope := range r.Scopes {
		k.Scopes = append(k.Scopes, principal.Scope(scope))
	}
	return k
}

func (r apiKeyRow) key() access.Key { return r.stored().Key }

// CreateAPIKey stores a new key and returns the stored key. It serializes the creations for one
// owner: otherwise concurrent requests could together exceed the number of keys that an owner may
// have.
func (s *Store) CreateAPIKey(ctx context.Context, k access.StoredKey) (access.Key, error) {
	const (
		lock  = `SELECT pg_advisory_xact_lock(hashtext('sori API keys'), hashtext($1))`
		clean = `
			DELETE FROM catalogue.api_keys
			WHERE owner = $1
				AND least(revoked_at, expires_at) < now() - make_interval(days => $2)`
		create = `
			INSERT INTO catalogue.api_keys (id, owner, name, scopes, secret_hash, expires_at)
			SELECT $1, $2, $3, $4, $5, $6
			WHERE (SELECT count(*) FROM catalogue.api_keys WHERE owner = $2) < $7
			RETURNING created_at`
	)
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	scopes := make(pq.StringArray, len(k.Scopes))
	for i, scope := range k.Scopes {
		scopes[i] = string(scope)
	}
	err := postgres.Tx(ctx, s.db, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, lock, k.Owner); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, clean, k.Owner, deadKeyDays); err != nil {
			return err
		}
		return tx.QueryRowxContext(ctx, create, k.ID, k.Owner, k.Name, scopes, k.SecretHash, k.Expires, maxOwnerKeys).Scan(&k.Created)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return k.Key, fault.Wrap(fault.Conflict, "too-many-api-keys", "The owner has as many API keys as one may have.", err)
	}
	return k.Key, translate("create an API key", err)
}

// APIKey implements access.KeyStore.
func (s *Store) APIKey(ctx context.Context, id string) (access.StoredKey, error) {
	const query = `
		SELECT id, owner, name, scopes, secret_hash, created_at, expires_at, last_used_at, revoked_at
		FROM catalogue.api_keys
		WHERE id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var row apiKeyRow
	err := s.db.GetContext(ctx, &row, query, id)
	if errors.Is(err, sql.ErrNoRows) {
		return access.StoredKey{}, access.KeyNotFound()
	}
	return row.stored(), translate("read an API key", err)
}

// APIKeys lists the keys of an owner, the oldest first. If the owner is empty, it lists the keys of
// all owners.
func (s *Store) APIKeys(ctx context.Context, owner string, p catalogue.Page) (catalogue.List[access.Key], error) {
	const query = `
		SELECT id, owner, name, scopes, created_at, expires_at, last_used_at, revoked_at
		FROM catalogue.api_keys
		WHERE $1 = ''
			OR owner = $1
		ORDER BY created_at, id
		OFFSET $2
		LIMIT $3`
	var rows []apiKeyRow
	err := s.selectList(ctx, "list API keys", &rows, query, owner, p.Skip, p.Limit+1)
	return pageOf(rows, len(rows), p.Limit, apiKeyRow.key), err
}

// RevokeAPIKey revokes a key of an owner, or of any owner if owner is empty. Revoking a key again
// changes nothing.
func (s *Store) RevokeAPIKey(ctx context.Context, id, owner string) error {
	const query = `
		UPDATE catalogue.api_keys
		SET revoked_at = coalesce(revoked_at, now())
		WHERE id = $1
			AND ($2 = '' OR owner = $2)`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	result, err := s.db.ExecContext(ctx, query, id, owner)
	if err != nil {
		return translate("revoke an API key", err)
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return access.KeyNotFound()
	}
	return translate("revoke an API key", err)
}

// MarkAPIKeyUsed implements access.KeyStore. All replicas together write the time of the last use
// of a key at most once a minute.
func (s *Store) MarkAPIKeyUsed(ctx context.Context, id string) error {
	const query = `
		UPDATE catalogue.api_keys
		SET last_used_at = now()
		WHERE id = $1
			AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	_, err := s.db.ExecContext(ctx, query, id)
	return translate("store the use of an API key", err)
}
