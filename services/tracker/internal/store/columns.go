package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/services/tracker/internal/job"
)

// column is a column of analysis_results, with the field of the record that it stores. All queries
// are built from lists of columns, so that a new field needs only one line.
type column struct {
	name    string
	sqlType string
	dest    func(*job.Record) any          // returns the destination for Scan
	value   func(*job.Record) any          // returns the value of a record, as a query parameter
	array   func(records []job.Record) any // returns the values of several records, as one array parameter
}

// newColumn returns a column with the value that a function returns for a record.
func newColumn[T any](name, sqlType string, dest func(*job.Record) any, value func(*job.Record) T) column {
	return column{
		name: name, sqlType: sqlType, dest: dest,
		value: func(r *job.Record) any { return value(r) },
		array: func(records []job.Record) any {
			values := make([]T, len(records))
			for i := range records {
				values[i] = value(&records[i])
			}
			return pq.Array(values)
		},
	}
}

// snapshotColumns returns the columns of a snapshot, except the result.
func snapshotColumns() []column {
	return []column{
		text("job_id", "uuid", func(r *job.Record) *string { return &r.JobID }),
		text("owner", "text", func(r *job.Record) *string { return &r.Owner }),
		nullable("token_id", "bigint", func(r *job.Record) *int64 { return &r.TokenID }, known),
		text("file_name", "text", func(r *job.Record) *string { return &r.FileName }),
		text("status", "text", func(r *job.Record) *job.Status { return &r.Status }),
		text("stage", "text", func(r *job.Record) *job.Stage { return &r.Stage }),
		text("message", "text", func(r *job.Record) *string { return &r.Message }),
		integer("progress", "integer", func(r *job.Record) *int { return &r.Progress }),
		integer("version", "bigint", func(r *job.Record) *int64 { return &r.Version }),
		nullable("error_code", "text", func(r *job.Record) *string { return &r.Error.Code }, failed),
		nullable("error_detail", "text", func(r *job.Record) *string { return &r.Error.Detail }, failed),
		nullable("error_retryable", "boolean", func(r *job.Record) *bool { return &r.Error.Retryable }, failed),
		instant("created_at", func(r *job.Record) *time.Time { return &r.CreatedAt }),
		instant("updated_at", func(r *job.Record) *time.Time { return &r.UpdatedAt }),
		instant("ended_at", func(r *job.Record) *time.Time { return &r.EndedAt }),
		instant("audio_deleted_at", func(r *job.Record) *time.Time { return &r.AudioDeletedAt }),
		instant("wait_until", func(r *job.Record) *time.Time { return &r.WaitUntil }),
		text("warnings", "text", func(r *job.Record) *job.Warnings { return &r.Warnings }),
		text("wait_code", "text", func(r *job.Record) *string { return &r.WaitCode }),
		boolean("cached", func(r *job.Record) *bool { return &r.Cached }),
		text("refused_code", "text", func(r *job.Record) *string { return &r.RefusalCode }),
		integer("fetch_bytes", "bigint", func(r *job.Record) *int64 { return &r.FetchState.Bytes }),
		integer("fetch_size", "bigint", func(r *job.Record) *int64 { return &r.FetchState.Size }),
		integer("fetch_try", "integer", func(r *job.Record) *int { return &r.FetchState.Try }),
		text("fetch_code", "text", func(r *job.Record) *string { return &r.FetchState.Code }),
		integer("fetch_status", "integer", func(r *job.Record) *int { return &r.FetchState.Status }),
	}
}

// listColumns returns the columns of query.Listed.
func listColumns() []column {
	return append(snapshotColumns(),
		integer("attempt", "integer", func(r *job.Record) *int { return &r.Attempt }),
		text("media_type", "text", func(r *job.Record) *string { return &r.MediaType }),
		integer("size", "bigint", func(r *job.Record) *int64 { return &r.Size }),
		newColumn("duration", "double precision",
			func(r *job.Record) any { return &r.Duration }, func(r *job.Record) float64 { return r.Duration }),
	)
}

// recordColumns returns the columns of a record, except the result.
func recordColumns() []column {
	return append(listColumns(),
		integer("state_seq", "bigint", func(r *job.Record) *uint64 { return &r.StateSeq }),
		integer("progress_attempt", "integer", func(r *job.Record) *int { return &r.ProgressAttempt }),
		integer("message_seq", "bigint", func(r *job.Record) *uint64 { return &r.MessageSeq }),
		text("s3_bucket", "text", func(r *job.Record) *string { return &r.Bucket }),
		text("s3_key", "text", func(r *job.Record) *string { return &r.Key }),
		text("sha256", "text", func(r *job.Record) *string { return &r.SHA256 }),
		text("analysis_job_id", "text", func(r *job.Record) *string { return &r.AnalysisJobID }),
		integer("stage_seq", "bigint", func(r *job.Record) *uint64 { return &r.StageSeq }),
		instant("stage_at", func(r *job.Record) *time.Time { return &r.StageAt }),
		boolean("analysing", func(r *job.Record) *bool { return &r.Analysing }),
		integer("wait_seq", "bigint", func(r *job.Record) *uint64 { return &r.WaitSeq }),
		integer("wait_attempt", "integer", func(r *job.Record) *int { return &r.WaitAttempt }),
		integer("refused_seq", "bigint", func(r *job.Record) *uint64 { return &r.RefusalSeq }),
		integer("refused_attempt", "integer", func(r *job.Record) *int { return &r.RefusalAttempt }),
		integer("fetch_seq", "bigint", func(r *job.Record) *uint64 { return &r.FetchSeq }),
		integer("fetch_attempt", "integer", func(r *job.Record) *int { return &r.FetchAttempt }),
		integer("log_bytes", "bigint", func(r *job.Record) *int64 { return &r.LogBytes }),
		text("log_seqs", "text", func(r *job.Record) *string { return &r.LogSeqs }),
	)
}

func resultColumn() column {
	return nullable("result", "json", func(r *job.Record) *job.Result { return &r.Result },
		func(r *job.Record) bool { return r.Result != "" })
}

// known reports whether the event `received` is merged. Until then the token is NULL.
func known(r *job.Record) bool { return !r.CreatedAt.IsZero() }

func failed(r *job.Record) bool { return r.Status == job.Failed }

// text returns a column whose field is a string.
func text[T ~string](name, sqlType string, field func(*job.Record) *T) column {
	return newColumn(name, sqlType, func(r *job.Record) any { return field(r) }, func(r *job.Record) string { return string(*field(r)) })
}

// integer returns a column whose field is an integer.
func integer[T ~int | ~int64 | ~uint64](name, sqlType string, field func(*job.Record) *T) column {
	return newColumn(name, sqlType, func(r *job.Record) any { return field(r) }, func(r *job.Record) int64 { return int64(*field(r)) })
}

// boolean returns a column whose field is a boolean.
func boolean(name string, field func(*job.Record) *bool) column {
	return newColumn(name, "boolean", func(r *job.Record) any { return field(r) }, func(r *job.Record) bool { return *field(r) })
}

// instant returns a column for a time. The zero time is stored as NULL.
func instant(name string, field func(*job.Record) *time.Time) column {
	return newColumn(name, "timestamptz",
		func(r *job.Record) any { return utc{field(r)} }, func(r *job.Record) *string { return timestamp(*field(r)) })
}

// nullable returns a column that is NULL unless present returns true. Reading NULL sets the field
// to its zero value.
func nullable[T any](name, sqlType string, field func(*job.Record) *T, present func(*job.Record) bool) column {
	return newColumn(name, sqlType,
		func(r *job.Record) any { return zeroIfNull[T]{field(r)} }, func(r *job.Record) *T { return nullUnless(present(r), *field(r)) })
}

// zeroIfNull is a sql.Scanner that reads NULL as the zero value.
type zeroIfNull[T any] struct{ dest *T }

// Scan implements sql.Scanner.
func (z zeroIfNull[T]) Scan(src any) error {
	var v sql.Null[T]
	err := v.Scan(src)
	*z.dest = v.V
	return err
}

// utc is a sql.Scanner that reads a time in UTC, and NULL as the zero time.
type utc struct{ dest *time.Time }

// Scan implements sql.Scanner.
func (u utc) Scan(src any) error {
	var v sql.NullTime
	if err := v.Scan(src); err != nil {
		return err
	}
	if *u.dest = (time.Time{}); v.Valid {
		*u.dest = v.Time.UTC()
	}
	return nil
}

// nullUnless returns a pointer to v, or nil, which is stored as NULL, if holds is false.
func nullUnless[T any](holds bool, v T) *T {
	if !holds {
		return nil
	}
	return &v
}

func timestamp(t time.Time) *string { return nullUnless(!t.IsZero(), t.Format(time.RFC3339Nano)) }

// names returns the names of the columns, separated by commas.
func names(columns []column) string {
	return join(columns, func(_ int, c column) string { return c.name })
}

// assignments returns the SET clause of an UPDATE whose new values are in a table c.
func assignments(columns []column) string {
	return join(columns, func(_ int, c column) string { return c.name + " = c." + c.name })
}

// arrayParameters returns the arguments of unnest: "$1::uuid[], …", an array for each column.
func arrayParameters(columns []column) string {
	return join(columns, func(i int, c column) string { return fmt.Sprintf("$%d::%s[]", i+1, c.sqlType) })
}

// valueParameters returns the values of a row: "$1::uuid, …", a parameter for each column.
func valueParameters(columns []column) string {
	return join(columns, func(i int, c column) string { return fmt.Sprintf("$%d::%s", i+1, c.sqlType) })
}

func join(columns []column, of func(int, column) string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = of(i, c)
	}
	return strings.Join(parts, ", ")
}

// arrays returns the query arguments for arrayParameters: for each column, the values of all
// records.
func arrays(columns []column, records []job.Record) []any {
	values := make([]any, len(columns))
	for i, c := range columns {
		values[i] = c.array(records)
	}
	return values
}

// values returns the query arguments for valueParameters: for each column, the value of the record.
func values(columns []column, r *job.Record) []any {
	values := make([]any, len(columns))
	for i, c := range columns {
		values[i] = c.value(r)
	}
	return values
}

// selectRecords executes a query that selects the columns, and returns its rows as records.
func selectRecords(ctx context.Context, db sqlx.QueryerContext, columns []column, query string, args ...any) ([]job.Record, error) {
	rows, err := db.QueryxContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Scan or rows.Err returns an error of reading
	var records []job.Record
	for rows.Next() {
		var r job.Record
		dests := make([]any, len(columns))
		for i, c := range columns {
			dests[i] = c.dest(&r)
		}
		if err := rows.Scan(dests...); err != nil {
			return nil, err
		}
		r.SetStageDetails()
		records = append(records, r)
	}
	return records, rows.Err()
}
