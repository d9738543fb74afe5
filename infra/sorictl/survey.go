package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/minio/minio-go/v7"

	"sori.internal/infra/internal/invariants"
	"sori.internal/shared/bus"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
)

// The consumers whose work is compared: the tracker's, whose the records are, and
// the uploader's, which removes the recordings of erased jobs.
const (
	projection = "tracker-projection"
	erasures   = "uploader-erased"
)

// survey is what log, rows and bucket hold, read one after the other while the
// services go on. What it concludes must hold nevertheless, so it remembers what
// was certain before each of them was read:
//
//   - an object is compared with jobs that were stored before the bucket was
//     listed, and a job with objects that were listed before the log was read;
//   - a row is compared with events that were settled before the rows were read;
//   - an object of an erased job, where the uploader had seen to that before the
//     bucket was listed;
//   - a job that was erased after the log was read is not compared: its log goes.
type survey struct {
	jobs    map[string]*known
	leaving map[string]bool // jobs that were erased after the log was read
	letters int
	lag     uint64 // events that the tracker has not recorded yet
	missing bool   // whether the tracker's consumer does not exist

	listed  uint64         // the log's end before the bucket was listed
	cleared uint64         // up to where the uploader had seen to erasures then
	settled uint64         // what the tracker had settled before the rows were read
	read    uint64         // the log's end when it was read
	after   bus.StreamInfo // of the log, after all was read
}

// known is what is known of one job. Its zero value is a job of which only one of
// the three knows.
type known struct {
	states  []state // oldest first
	row     *record
	objects []string
}

// state is a state event.
type state struct {
	seq  uint64
	name event.Name
}

// upTo is the newest state event up to a sequence; the zero value where there is
// none.
func (k *known) upTo(seq uint64) state {
	for _, s := range slices.Backward(k.states) {
		if s.seq <= seq {
			return s
		}
	}
	return state{}
}

// has tells whether the log has an event of a name.
func (k *known) has(name event.Name) bool {
	return slices.ContainsFunc(k.states, func(s state) bool { return s.name == name })
}

func (s *survey) of(job string) *known {
	k := s.jobs[job]
	if k == nil {
		k = &known{}
		s.jobs[job] = k
	}
	return k
}

// take makes a survey.
func take(ctx context.Context, b *bus.Bus, table rows, bucket objects) (*survey, error) {
	s := &survey{jobs: map[string]*known{}, leaving: map[string]bool{}}
	before, err := b.Stream(event.Jobs()).Info(ctx)
	if err != nil {
		return nil, err
	}
	s.listed = before.LastSeq
	if s.cleared, err = seenTo(ctx, b, erasures, before.LastSeq); err != nil {
		return nil, err
	}
	if err := bucket.each(ctx, "", func(job string, o minio.ObjectInfo) {
		k := s.of(job)
		k.objects = append(k.objects, o.Key)
	}); err != nil {
		return nil, err
	}
	state, found, err := b.ConsumerState(ctx, projection)
	if err != nil {
		return nil, err
	}
	s.settled, s.lag, s.missing = state.AckFloor, state.Pending+uint64(state.AckPending), !found
	if err := s.readLog(ctx, b); err != nil {
		return nil, err
	}
	if err := table.each(ctx, func(r record) { s.of(r.JobID).row = &r }); err != nil {
		return nil, err
	}
	if s.after, err = b.Stream(event.Jobs()).Info(ctx); err != nil {
		return nil, err
	}
	if err := s.readErasures(ctx, b); err != nil {
		return nil, err
	}
	letters, err := deadletter.New(b).List(ctx, "")
	s.letters = len(letters)
	return s, err
}

// seenTo is up to where a consumer has nothing left to do, which was at least up to
// end before.
func seenTo(ctx context.Context, b *bus.Bus, consumer string, end uint64) (uint64, error) {
	state, found, err := b.ConsumerState(ctx, consumer)
	if err == nil && found && state.Pending == 0 && state.AckPending == 0 {
		return end, nil
	}
	return state.AckFloor, err
}

// readErasures finds the jobs that were erased after the log was read.
func (s *survey) readErasures(ctx context.Context, b *bus.Bus) error {
	return b.Stream(event.Jobs()).Scan(ctx, false, []string{event.Filter(event.NameErased)}, func(m bus.Message) error {
		if job, _, err := event.ParseSubject(m.Subject); err == nil && m.Seq > s.read {
			s.leaving[job] = true
		}
		return nil
	})
}

func (s *survey) readLog(ctx context.Context, b *bus.Bus) error {
	info, err := b.Stream(event.Jobs()).Info(ctx)
	if err != nil {
		return err
	}
	s.read = info.LastSeq
	return b.Stream(event.Jobs()).Scan(ctx, false, []string{event.AllJobs}, func(m bus.Message) error {
		job, name, err := event.ParseSubject(m.Subject)
		if err != nil || m.Seq > s.read {
			return nil //nolint:nilerr // what names no job, or is newer than the survey, is not compared
		}
		k := s.of(job)
		k.states = append(k.states, state{m.Seq, name})
		return nil
	})
}

// kind is a way in which log, rows and objects can differ.
type kind string

// The kinds. A replay to the tracker mends the first three.
const (
	rowMissing    kind = "row-missing"    // the log has a job without a record
	rowBehind     kind = "row-behind"     // a record lacks events that were settled
	rowDiffers    kind = "row-differs"    // a record has another status than the event that it is of
	rowAhead      kind = "row-ahead"      // a record tells of an event that the log does not have
	rowAbandoned  kind = "row-abandoned"  // a record is under way, and its log has expired
	objectMissing kind = "object-missing" // a completed job has no recording
	objectOrphan  kind = "object-orphan"  // a recording has no job that wants it
)

func kinds() []kind {
	return []kind{rowMissing, rowBehind, rowDiffers, rowAhead, rowAbandoned, objectMissing, objectOrphan}
}

func (k kind) mendable() bool { return k == rowMissing || k == rowBehind || k == rowDiffers }

// finding is one difference.
type finding struct {
	Kind   kind   `json:"kind"`
	Job    string `json:"job_id"`
	Owner  string `json:"owner,omitempty"` // by the record; empty if the job has none, or no record
	Detail string `json:"detail"`
}

// findings compares, in the order of the jobs' ids, which is that of their age.
func (s *survey) findings() []finding {
	var found []finding
	for job, k := range s.jobs {
		if s.leaving[job] {
			continue
		}
		for _, f := range []finding{s.judgeRow(k), s.judgeObject(k)} {
			if f.Kind != "" {
				f.Job = job
				if k.row != nil {
					f.Owner = k.row.Owner
				}
				found = append(found, f)
			}
		}
	}
	slices.SortFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Job, b.Job), cmp.Compare(a.Kind, b.Kind))
	})
	return found
}

// judgeRow compares a job's record with its log.
func (s *survey) judgeRow(k *known) finding {
	want := k.upTo(s.settled)
	switch row := k.row; {
	case row == nil && want.seq == 0:
		return finding{}
	case row == nil || !row.Shown && k.has(event.NameReceived) && want.seq > 0:
		return finding{Kind: rowMissing, Detail: fmt.Sprintf("the log ends with %s, %d", want.name, want.seq)}
	case row.StateSeq > s.after.LastSeq, row.StateSeq > k.upTo(s.read).seq && row.StateSeq <= s.read && row.StateSeq >= s.after.FirstSeq:
		return finding{Kind: rowAhead, Detail: fmt.Sprintf("the record is %s of event %d, which the log does not have", row.Status, row.StateSeq)}
	case len(k.states) == 0 && row.StateSeq < s.after.FirstSeq && row.Status == invariants.Processing:
		return finding{Kind: rowAbandoned, Detail: fmt.Sprintf("the record is %s of event %d, and the log begins at %d", row.Status, row.StateSeq, s.after.FirstSeq)}
	case row.StateSeq < want.seq:
		return finding{Kind: rowBehind, Detail: fmt.Sprintf("the record is %s of event %d, the log ends with %s, %d", row.Status, row.StateSeq, want.name, want.seq)}
	case row.StateSeq == want.seq && want.seq > 0 && invariants.Status(want.name) != "" && row.Status != invariants.Status(want.name):
		return finding{Kind: rowDiffers, Detail: fmt.Sprintf("the record is %s, the log ends with %s, %d", row.Status, want.name, want.seq)}
	default:
		return finding{}
	}
}

// judgeObject compares a job's recording with its log and, where that has
// expired, with its record.
func (s *survey) judgeObject(k *known) finding {
	last := k.upTo(s.listed)
	current := last == k.upTo(s.read) // nothing happened to the job while the bucket was listed
	if end := k.upTo(s.read); end.name == event.NameErased || len(k.states) == 0 && k.row != nil && k.row.Status == string(event.NameErased) {
		if len(k.objects) > 0 && end.seq <= s.cleared {
			return finding{Kind: objectOrphan, Detail: k.objects[0] + " is of a job that was erased"}
		}
		return finding{}
	}
	switch {
	case len(k.objects) == 0 && current && last.name == event.NameCompleted:
		return finding{Kind: objectMissing, Detail: "the job is completed and its recording is not in the bucket"}
	case len(k.objects) == 0 && len(k.states) == 0 && k.row != nil && k.row.Key != "" && k.row.Status == string(event.NameCompleted) && k.row.StateSeq <= s.listed:
		return finding{Kind: objectMissing, Detail: "the record is completed and " + k.row.Key + " is not in the bucket"}
	case len(k.objects) > 0 && len(k.states) == 0 && k.row == nil:
		return finding{Kind: objectOrphan, Detail: k.objects[0] + " is of a job that neither log nor records know"}
	case len(k.objects) > 0 && current && last.name.Terminal() && !k.has(event.NameStored) && k.has(event.NameReceived):
		return finding{Kind: objectOrphan, Detail: k.objects[0] + " is of a job that ended before it was stored"}
	default:
		return finding{}
	}
}
