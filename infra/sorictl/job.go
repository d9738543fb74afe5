package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/infra/internal/tail"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/staging"
)

type jobCommand struct {
	ID string `arg:"" help:"the id of the job"`
}

// Run prints all that is known of one job on one screen. If a source cannot be reached, it prints the
// error in that source's place and goes on, since the other sources may answer the operator's question.
// It fails if nothing is known of the job, since its id may be misspelt.
func (c *jobCommand) Run(ctx context.Context, t terminal) error {
	id, ok := event.ParseJobID(c.ID)
	if !ok {
		return fmt.Errorf("%q is not a job id", c.ID)
	}
	lookup, err := t.settings()
	if err != nil {
		return err
	}
	return t.withBus(ctx, func(b *bus.Bus) error { return t.showJob(ctx, b, lookup, id) })
}

func (t terminal) showJob(ctx context.Context, b *bus.Bus, lookup config.Lookup, id string) error {
	history, err := historyOf(ctx, b, id)
	if err != nil {
		return err
	}
	table := t.table()
	known := len(history.lines) > 0
	tell := func(what, value string, err error) {
		known = known || value != none
		if err != nil {
			value = "unknown: " + said(err)
		}
		fmt.Fprintf(table, "%s\t%s\n", what, value)
	}
	fmt.Fprintf(table, "job\t%s\n", describeJob(id, history.log))
	value, rowErr := describeRow(ctx, lookup, id, history.log)
	tell("record", value, rowErr)
	value, objectErr := describeObjects(ctx, lookup, id)
	tell("object", value, objectErr)
	value, stagedErr := describeStaging(ctx, b, id, history.log)
	tell("staging", value, stagedErr)
	value, deadErr := describeLetters(ctx, b, id)
	tell("dead", value, deadErr)
	fmt.Fprintln(table, "\nSEQ\tTIME\tAFTER\tEVENT\tTRACE\tDETAILS")
	for _, l := range history.lines {
		fmt.Fprintln(table, l)
	}
	err = errors.Join(table.Flush(), errors.Join(rowErr, objectErr, stagedErr, deadErr))
	if err == nil && !known {
		return fmt.Errorf("job %s is unknown: it has no events, no record, no recording, no staged bytes and no dead letters", id)
	}
	return err
}

// history is a job's log, and a line of output for each of its state and progress events, in the order of the stream.
type history struct {
	log   event.Log
	lines []string
}

func historyOf(ctx context.Context, b *bus.Bus, id string) (h history, err error) {
	var began time.Time
	err = b.Stream(event.Jobs()).Scan(ctx, true, []string{event.LogSubject(id), event.ProgressSubject(id)}, func(m bus.Message) error {
		if began.IsZero() {
			began = m.Time
		}
		_, name, err := event.ParseSubject(m.Subject)
		if err != nil {
			return nil //nolint:nilerr // a message with another subject is no event of the job
		}
		h.lines = append(h.lines, fmt.Sprintf("%d\t%s\t+%.3fs\t%s\t%s\t%s", m.Seq, m.Time.UTC().Format(stamp),
			m.Time.Sub(began).Seconds(), name, m.TraceID(), tail.Said(m.Data)))
		return nil
	})
	if err == nil {
		h.log, err = joblog.New(b).Read(ctx, id)
	}
	return h, err
}

func describeRow(ctx context.Context, settings config.Lookup, id string, log event.Log) (string, error) {
	records, err := openRows(settings)
	if err != nil {
		return "", err
	}
	defer records.db.Close()
	r, err := records.find(ctx, id)
	if err != nil {
		return "", err
	}
	if r == nil {
		return none, nil
	}
	text := fmt.Sprintf("%s, progress %d, attempt %d, version %d, last event %d", r.Status, r.Progress, r.Attempt, r.Version, r.StateSeq)
	if seq := log.Seq(); seq > r.StateSeq {
		text += fmt.Sprintf(" (BEHIND the log, which ends at %d)", seq)
	}
	text += ", " + ownedBy(r.Owner)
	if r.ErrorCode != nil {
		text += fmt.Sprintf("\n\terror %s, %s: %s", tail.Clean(*r.ErrorCode), chance(r.Retryable), tail.Clean(*r.ErrorDetail))
	}
	if r.Status == string(event.NameErased) {
		text += "\n\ta tombstone: nothing else is kept"
	} else if r.TokenID != nil {
		text += fmt.Sprintf("\n\ttoken %d, file %q, %s, %d bytes, %.1f s, sha256 %s", *r.TokenID, r.FileName, tail.Clean(r.MediaType), r.Size, r.Duration, tail.Clean(r.SHA256))
	}
	if r.ResultBytes != nil {
		text += fmt.Sprintf("\n\tresult of %d bytes", *r.ResultBytes)
		if r.Cached {
			text += ", cached" + cachedFrom(log)
		}
	}
	if r.CreatedAt != nil && r.UpdatedAt != nil {
		text += fmt.Sprintf("\n\tcreated %s, updated %s", r.CreatedAt.UTC().Format(stamp), r.UpdatedAt.UTC().Format(stamp))
	}
	return text, nil
}

// cachedFrom returns a text about the job whose analysis produced the result, for a job that was completed with a cached
// result. For any other job it returns "".
func cachedFrom(log event.Log) string {
	completed, _ := event.Last[event.Completed](log)
	if completed.CachedFrom == "" {
		return ""
	}
	return ": the analysis is of job " + tail.Clean(completed.CachedFrom)
}

// ownedBy describes the owner of a job.
func ownedBy(owner string) string {
	if owner == "" {
		return "no owner"
	}
	return fmt.Sprintf("owner %q", owner)
}

// chance describes whether a failed job is retryable.
func chance(retryable *bool) string {
	if retryable != nil && *retryable {
		return "retryable"
	}
	return "not retryable"
}

func describeObjects(ctx context.Context, settings config.Lookup, id string) (string, error) {
	bucket, err := openObjects(settings)
	if err != nil {
		return "", err
	}
	text := ""
	err = bucket.EachObject(ctx, id, func(_ string, o minio.ObjectInfo) {
		text = joined(text, fmt.Sprintf("s3://%s/%s, %d bytes, %s", bucket.Bucket, tail.Clean(o.Key), o.Size, o.LastModified.UTC().Format(stamp)))
	})
	return orNone(text), err
}

// describeStaging lists the job's entries in staging: those that the log names, and the entry with the job's id, which is
// that of an upload even if no event in the log names it.
func describeStaging(ctx context.Context, b *bus.Bus, id string, log event.Log) (string, error) {
	entries := []string{id}
	if received, ok := event.Last[event.Received](log); ok && received.Staged().Entry != id {
		entries = append(entries, received.Staged().Entry)
	}
	if completed, ok := event.Last[event.Completed](log); ok && completed.ResultEntry != "" {
		entries = append(entries, completed.ResultEntry)
	}
	text := ""
	for _, entry := range entries {
		n, err := staging.New(b).Chunks(ctx, entry)
		if err != nil {
			return "", err
		}
		if n > 0 {
			text = joined(text, fmt.Sprintf("%s, %d chunks", entry, n))
		}
	}
	return orNone(text), nil
}

func describeLetters(ctx context.Context, b *bus.Bus, id string) (string, error) {
	letters, err := deadletter.New(b).List(ctx, "")
	text := ""
	for _, l := range letters {
		if l.Job == id {
			text = joined(text, fmt.Sprintf("letter %d of %s: %s: %s", l.Seq, l.Consumer, tail.Clean(l.Code), tail.Clean(l.Reason)))
		}
	}
	return orNone(text), err
}

func joined(text, further string) string {
	if text == "" {
		return further
	}
	return text + "\n\t" + further
}

// none is shown for a source that has nothing of a job.
const none = "none"

func orNone(text string) string {
	if text == "" {
		return none
	}
	return text
}
