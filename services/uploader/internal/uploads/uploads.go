// Package uploads stores the uploads that are not completed in a stream of NATS: one message for each.
package uploads

import (
	"context"
	"encoding/json"
	"fmt"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Store implements direct.Records.
type Store struct {
	bus    *bus.Bus
	stream *bus.Stream
}

// New makes a Store.
func New(b *bus.Bus) *Store { return &Store{bus: b, stream: b.Stream(event.Uploads())} }

func subjectOf(u direct.Upload) string { return event.UploadSubject(u.Way(), u.Owner, u.JobID) }

// Put implements direct.Records.
func (s *Store) Put(ctx context.Context, u direct.Upload) error {
	body, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("record the upload of job %s: %w", u.JobID, err)
	}
	ack, err := s.bus.PublishBytes(subjectOf(u), body)
	if err != nil {
		return err
	}
	return ack.Wait(ctx)
}

// Find implements direct.Records. Other replicas have written the record, so it reads from the leader
// of the stream if a replica does not have it.
func (s *Store) Find(ctx context.Context, way event.UploadWay, owner, job string) (direct.Upload, bool, error) {
	m, err := s.stream.Last(ctx, event.UploadSubject(way, owner, job))
	if err != nil || m == nil {
		return direct.Upload{}, false, err
	}
	u, err := parse(m)
	return u, err == nil, err
}

// Delete implements direct.Records.
func (s *Store) Delete(ctx context.Context, u direct.Upload) error {
	return s.stream.Purge(ctx, subjectOf(u), 0)
}

// All implements direct.Records.
func (s *Store) All(ctx context.Context, way event.UploadWay) ([]direct.Upload, error) {
	messages, err := s.stream.LastPerSubject(ctx, event.UploadsOf(way))
	if err != nil {
		return nil, err
	}
	all := make([]direct.Upload, 0, len(messages))
	for i := range messages {
		u, err := parse(&messages[i])
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// Count implements direct.Records.
func (s *Store) Count(ctx context.Context, owner string) (int, error) {
	subjects, err := s.stream.Subjects(ctx, event.UploadsOfOwner(owner))
	return len(subjects), err
}

func parse(m *bus.Message) (direct.Upload, error) {
	var u direct.Upload
	if err := json.Unmarshal(m.Data, &u); err != nil {
		return u, fmt.Errorf("read the upload %s: %w", m.Subject, err)
	}
	return u, nil
}
