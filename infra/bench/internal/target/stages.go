package target

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Stages records when the state events of jobs are published.
type Stages struct {
	sub *nats.Subscription

	mu   sync.Mutex
	seen map[string]map[string]time.Time // times of the events, by job and event
}

// WatchStages starts to record the events of all jobs.
func WatchStages(nc *nats.Conn) (*Stages, error) {
	s := &Stages{seen: map[string]map[string]time.Time{}}
	var err error
	if s.sub, err = nc.Subscribe("audio.jobs.*.*", s.note); err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("watch the stages: %w", err)
	}
	return s, nil
}

// Close stops the recording.
func (s *Stages) Close() { _ = s.sub.Unsubscribe() } // an error does not matter: the connection will be closed

func (s *Stages) note(msg *nats.Msg) {
	now := time.Now()
	parts := strings.Split(msg.Subject, ".")
	job, event := parts[2], parts[3]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[job] == nil {
		s.seen[job] = map[string]time.Time{}
	}
	if s.seen[job][event].IsZero() {
		s.seen[job][event] = now
	}
}

// Of returns the times of a job's events by name, and deletes them.
func (s *Stages) Of(job string) map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen[job]
	delete(s.seen, job)
	return seen
}
