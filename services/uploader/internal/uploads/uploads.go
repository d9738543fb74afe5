// Package uploads stores the records of uploads in a NATS stream. The newest message on the subject
// of an upload is its record.
package uploads

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rs/zerolog"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/resumable"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Store implements direct.Records and resumable.Records.
type Store struct {
	bus    *bus.Bus
	stream *bus.Stream
}

// New makes a Store.
func New(b *bus.Bus) *Store { return &Store{bus: b, stream: b.Stream(event.Uploads())} }

func subjectOf(u direct.Upload) string { return event.UploadSubject(u.Way(), u.Owner, u.JobID) }

// Put implements direct.Records.
func (s *Store) Put(ctx context.Context, u direct.Upload) error {
	body, err := encode(u.JobID, u)
	if err != nil {
		return err
	}
	ack, err := s.bus.PublishBytes(subjectOf(u), body)
	if err != nil {
		return err
	}
	return ack.Wait(ctx)
}

// Find implements direct.Records. If the NATS server that answers does not have the record, Find
// reads from the leader of the stream, since another replica may have written the record a moment
// ago.
func (s *Store) Find(ctx context.Context, way event.UploadWay, owner, job string) (direct.Upload, bool, error) {
	m, err := s.stream.Last(ctx, event.UploadSubject(way, owner, job))
	if err != nil || m == nil {
		return direct.Upload{}, false, err
	}
	u, err := parse[direct.Upload](m)
	return u, err == nil, err
}

// Delete implements direct.Records.
func (s *Store) Delete(ctx context.Context, u direct.Upload) error {
	return s.stream.Purge(ctx, subjectOf(u), 0)
}

// All implements direct.Records.
func (s *Store) All(ctx context.Context, way event.UploadWay) ([]direct.Upload, error) {
	return allOf[direct.Upload](ctx, s, way)
}

// Count implements direct.Records.
func (s *Store) Count(ctx context.Context, owner string) (open, spent int, err error) {
	subjects, err := s.stream.Subjects(ctx, event.UploadsOfOwner(owner))
	prefix := event.UploadSubject(event.WaySpent, owner, "")
	for _, subject := range subjects {
		if strings.HasPrefix(subject, prefix) {
			spent++
		} else {
			open++
		}
	}
	return open, spent, err
}

// Save implements resumable.Records. It purges the older records of the upload. A stream limit of
// one message for each subject would not suffice: a NATS server that is killed may keep a discarded
// message, which would become the newest record when the newest one is removed.
func (s *Store) Save(ctx context.Context, u resumable.Upload, last uint64) (uint64, error) {
	body, err := encode(u.JobID, u)
	if err != nil {
		return 0, err
	}
	subject := subjectOf(u.Upload)
	seq, err := s.bus.PublishBytesExpecting(ctx, subject, body, subject, last)
	if err == nil && last > 0 {
		_ = s.stream.Purge(ctx, subject, seq) // after an error, the next Save or Delete purges the older records
	}
	return seq, err
}

// Load implements resumable.Records. It reads from the leader of the stream, since another server
// may have an older record.
func (s *Store) Load(ctx context.Context, owner, job string) (resumable.Upload, uint64, bool, error) {
	m, err := s.stream.LastFromLeader(ctx, event.UploadSubject(event.WayTus, owner, job))
	if err == nil && m == nil {
		m, err = s.stream.LastFromLeader(ctx, event.UploadSubject(event.WaySpent, owner, job))
	}
	if err != nil || m == nil {
		return resumable.Upload{}, 0, false, err
	}
	u, err := parse[resumable.Upload](m)
	return u, m.Seq, err == nil && u.Resumable, err // a spent form is not resumable
}

// Resumable implements resumable.Records.
func (s *Store) Resumable(ctx context.Context) ([]resumable.Upload, error) {
	return allOf[resumable.Upload](ctx, s, event.WayTus)
}

// allOf reads all uploads of one way. It logs and skips a record that cannot be decoded, for
// example one of a newer release, so that the other uploads are completed and swept.
func allOf[U any](ctx context.Context, s *Store, way event.UploadWay) ([]U, error) {
	messages, err := s.stream.LastOfAll(ctx, event.UploadsOf(way))
	if err != nil {
		return nil, err
	}
	all := make([]U, 0, len(messages))
	for i := range messages {
		u, err := parse[U](&messages[i])
		if err != nil {
			zerolog.Ctx(ctx).Error().Err(err).Msg("record of an upload not readable")
			continue
		}
		all = append(all, u)
	}
	return all, nil
}

// parse decodes the record of an upload. The record of any upload can be decoded as a
// direct.Upload.
func parse[U any](m *bus.Message) (U, error) {
	var u U
	if err := json.Unmarshal(m.Data, &u); err != nil {
		return u, fmt.Errorf("read the upload %s: %w", m.Subject, err)
	}
	return u, nil
}

// encode encodes the record of an upload. The error contains the job.
func encode(job string, u any) ([]byte, error) {
	body, err := json.Marshal(u)
	if err != nil {
		return nil, fmt.Errorf("record the upload of job %s: %w", job, err)
	}
	return body, nil
}
