package store

import (
	"context"
	"encoding/json"
	"time"

	"sori.internal/services/gateway/internal/audit"
)

// AppendAudit implements audit.Store.
func (s *Store) AppendAudit(ctx context.Context, entries []audit.Entry) error {
	const query = `
		INSERT INTO catalogue.audit_log (at, owner, key_id, action, object, status, address, request_id)
		SELECT at, owner, key_id, action, object, status, address, request_id
		FROM jsonb_to_recordset($1) AS entry (
			at timestamptz, owner text, key_id text, action text, object text, status int, address text, request_id text)`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	text, err := json.Marshal(entries)
	if err != nil {
		return translate("write audit entries", err)
	}
	_, err = s.db.ExecContext(ctx, query, string(text))
	return translate("write audit entries", err)
}

// DeleteAudit implements audit.Store. Replicas that sweep at the same time delete different rows.
func (s *Store) DeleteAudit(ctx context.Context, before time.Time) (int64, error) {
	const query = `
		DELETE FROM catalogue.audit_log
		WHERE id IN (
			SELECT id
			FROM catalogue.audit_log
			WHERE at < $2
			ORDER BY at
			LIMIT $1
			FOR UPDATE SKIP LOCKED)`
	return s.deleteInBatches(ctx, "delete audit entries", query, before)
}

// Audit returns the newest entries that match a filter, at most limit entries. It sorts them from
// the oldest to the newest.
func (s *Store) Audit(ctx context.Context, f audit.Filter, limit int) ([]audit.Entry, error) {
	const query = `
		SELECT at, owner, key_id, action, object, status, address, request_id
		FROM (
			SELECT *
			FROM catalogue.audit_log
			WHERE ($1 = '' OR owner = $1)
				AND object LIKE $2
				AND at >= $3
			ORDER BY id DESC
			LIMIT $4) AS newest
		ORDER BY id`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var entries []audit.Entry
	err := s.db.SelectContext(ctx, &entries, query, f.Owner, containing(f.Object), f.Since, limit)
	return entries, translate("read audit entries", err)
}
