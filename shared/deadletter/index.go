package deadletter

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// index remembers to which jobs the dead letters belong that this process has read. It reads them one
// by one from the leader of the stream: a faster scan needs a consumer, and a client that may create
// consumers can make the server publish to any subject. Without index, the erasure of each job would
// read all dead letters.
type index struct {
	mu      sync.Mutex
	created time.Time // when the stream was made; if it was made again, its sequences begin again
	read    uint64    // sequence up to which the dead letters are known
	known   []indexed // oldest first; deleted dead letters may be among them
}

// indexed is a dead letter. There may be many, so that a job is stored in 16 bytes.
type indexed struct {
	seq uint64
	job uuid.UUID
}

// find returns the sequences of the dead letters of a job, except those of its event `erased`.
func (x *index) find(ctx context.Context, stream *bus.Stream, job string) (seqs []uint64, err error) {
	id, err := uuid.Parse(job)
	if err != nil { // no dead letter belongs to such a job
		return nil, nil //nolint:nilerr // as above
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.update(ctx, stream); err != nil {
		return nil, err
	}
	for _, l := range x.known {
		if l.job == id {
			seqs = append(seqs, l.seq)
		}
	}
	return seqs, nil
}

// update reads the dead letters that were stored since the last call, and forgets those that have
// expired.
func (x *index) update(ctx context.Context, stream *bus.Stream) error {
	info, err := stream.Info(ctx)
	if err != nil {
		return err
	}
	if !info.Created.Equal(x.created) {
		x.created, x.read, x.known = info.Created, 0, nil
	}
	expired := 0
	for expired < len(x.known) && x.known[expired].seq < info.FirstSeq {
		expired++
	}
	x.known = x.known[expired:]
	for x.read < info.LastSeq {
		m, err := stream.NextFromLeader(ctx, event.AllDead, max(x.read+1, info.FirstSeq))
		if err != nil {
			return err
		}
		if m == nil {
			x.read = info.LastSeq
			break
		}
		x.read = m.Seq
		job, name, err := event.ParseSubject(m.Header.Get(bus.HeaderSubject))
		if err != nil || name == event.NameErased { // err: the dead letter belongs to no job
			continue
		}
		if id, err := uuid.Parse(job); err == nil {
			x.known = append(x.known, indexed{m.Seq, id})
		}
	}
	return nil
}
