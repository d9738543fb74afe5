package app

import (
	"context"

	"sori.internal/services/gateway/internal/audit"
	"sori.internal/shared/postgres"
)

// operator is the owner in the audit log entries of programs that the operator runs.
const operator = "operator"

// AuditEntry is an entry of the audit log.
type AuditEntry = audit.Entry

// AuditFilter selects entries of the audit log.
type AuditFilter = audit.Filter

// AuditLog reads the audit log in a database without a running gateway, for operators' programs.
type AuditLog struct{ database }

// OpenAuditLog prepares the access to the audit log in a database. It does not dial.
func OpenAuditLog(cfg postgres.Config) (*AuditLog, error) {
	db, err := openDatabase(cfg)
	return &AuditLog{db}, err
}

// List returns the newest entries that match a filter, at most limit entries. It sorts them from
// the oldest to the newest.
func (l *AuditLog) List(ctx context.Context, f AuditFilter, limit int) ([]AuditEntry, error) {
	return l.store.Audit(ctx, f, limit)
}
