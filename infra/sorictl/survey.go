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

// The consumers whose work is checked: the tracker's, which writes the records, and the
// uploader's, which deletes the recordings of erased jobs.
const (
	projection = "tracker-projection"
	erasures   = "uploader-erased"
)

// survey contains the contents of the log, the rows and the bucket, which are read one
// after the other while the services go on working. Its findings must be right
// nevertheless, so it also contains the sequences up to which each of them was certainly
// complete:
//
//   - The recording of a job is checked only if the log contains no event of the job that is
//     newer than the start of the bucket's listing.
//   - An object is a finding if its job is neither in the log nor in the rows nor in the
//     unfinished uploads, because these three were read after the listing.
//   - A row is compared with the events that the tracker had acked before the rows were
//     read.
//   - An object of an erased job is a finding only if the uploader had handled the erasure
//     before the bucket was listed.
//   - A job that was erased after the log was read is not compared, because its log is
//     being deleted.
type survey struct {
	jobs    map[string]*known
	leaving map[string]bool // the jobs that were erased after the log was read
	letters int
	lag     uint64 // events that the tracker has not recorded yet
	missing bool   // whether the tracker's consumer is missing on NATS

	listed  uint64         // the log's last sequence before the bucket was listed
	cleared uint64         // the sequence up to which the uploader had handled erasures before the bucket was listed
	settled uint64         // the tracker's ack floor before the rows were read
	read    uint64         // the log's last sequence when it was read
	after   bus.StreamInfo // the state of the log after everything was read
}

// known is what the log, the rows and the bucket contain of one job. A field is empty if
// its source does not contain the job.
type known struct {
	states  []state // oldest first
	row     *record
	objects []string
}

// state is a state event of a job.
type state struct {
	seq  uint64
	name event.Name
}

// upTo returns the newest state event up to a sequence, or the zero value if there is
// none. It skips expired, which changes no status.
func (k *known) upTo(seq uint64) state {
	for _, s := range slices.Backward(k.states) {
		if s.seq <= seq && s.name != event.NameExpired {
			return s
		}
	}
	return state{}
}

// has reports whether the log contains an event with the name.
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

// take reads the log, the rows and the bucket, and returns the survey.
func take(ctx context.Context, b *bus.Bus, table rows, bucket invariants.Checker) (*survey, error) {
	s := &survey{jobs: map[string]*known{}, leaving: map[string]bool{}}
	before, err := b.Stream(event.Jobs()).Info(ctx)
	if err != nil {
		return nil, err
	}
	s.listed = before.LastSeq
	if s.cleared, err = seenTo(ctx, b, erasures, before.LastSeq); err != nil {
		return nil, err
	}
	if err := bucket.EachObject(ctx, "", func(job string, o minio.ObjectInfo) {
		k := s.of(job)
		k.objects = append(k.objects, o.Key)
	}); err != nil {
		return nil, err
	}
	uploads, err := b.Stream(event.Uploads()).Subjects(ctx, event.AllUploads)
	if err != nil {
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
	if err := table.eachRecord(ctx, func(r record) { s.of(r.JobID).row = &r }); err != nil {
		return nil, err
	}
	s.omitUploads(uploads)
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

// seenTo returns the sequence up to which a consumer has handled all its events. If
// nothing is pending, that is the parameter end, which is the log's last sequence before
// the call; otherwise it is the ack floor.
func seenTo(ctx context.Context, b *bus.Bus, consumer string, end uint64) (uint64, error) {
	state, found, err := b.ConsumerState(ctx, consumer)
	if err == nil && found && state.Pending == 0 && state.AckPending == 0 {
		return end, nil
	}
	return state.AckFloor, err
}

// omitUploads removes unfinished uploads from the survey. They may have objects, but are no jobs yet.
func (s *survey) omitUploads(subjects []string) {
	for _, subject := range subjects {
		job, _ := event.ParseUploadSubject(subject)
		if k := s.jobs[job]; k != nil && len(k.states) == 0 && k.row == nil {
			delete(s.jobs, job)
		}
	}
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
			return nil //nolint:nilerr // a message of no job, or newer than the survey, is not compared
		}
		k := s.of(job)
		k.states = append(k.states, state{m.Seq, name})
		return nil
	})
}

// kind is a kind of difference between log, rows and objects.
type kind string

// The kinds. A replay of the job's events to the tracker repairs the first three.
const (
	rowMissing    kind = "row-missing"    // a job in the log has no record
	rowBehind     kind = "row-behind"     // a record lacks events that the tracker has acked
	rowDiffers    kind = "row-differs"    // the status of a record does not match the record's newest event
	rowAhead      kind = "row-ahead"      // a record has the sequence of an event that the log does not contain
	rowAbandoned  kind = "row-abandoned"  // a record's job has not ended, and its log has expired
	objectMissing kind = "object-missing" // a completed job has no recording in the bucket
	objectOrphan  kind = "object-orphan"  // a recording belongs to no job, or to one that must not have it
)

func kinds() []kind {
	return []kind{rowMissing, rowBehind, rowDiffers, rowAhead, rowAbandoned, objectMissing, objectOrphan}
}

func (k kind) mendable() bool { return k == rowMissing || k == rowBehind || k == rowDiffers }

// finding is one difference.
type finding struct {
	Kind   kind   `json:"kind"`
	Job    string `json:"job_id"`
	Owner  string `json:"owner,omitempty"` // owner in the record; empty if the job has no owner or no record
	Detail string `json:"detail"`
}

// findings returns the differences, ordered by job id, which is the order in which the jobs were created.
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
		return finding{Kind: rowMissing, Detail: fmt.Sprintf("the log ends with event %d, %s", want.seq, want.name)}
	case row.StateSeq > s.after.LastSeq, row.StateSeq > k.upTo(s.read).seq && row.StateSeq <= s.read && row.StateSeq >= s.after.FirstSeq:
		return finding{Kind: rowAhead, Detail: fmt.Sprintf("the record has the status %s of event %d, which is not in the log", row.Status, row.StateSeq)}
	case len(k.states) == 0 && row.StateSeq < s.after.FirstSeq && row.Status == invariants.Processing:
		return finding{Kind: rowAbandoned, Detail: fmt.Sprintf("the record has the status %s of event %d, and the log begins at %d", row.Status, row.StateSeq, s.after.FirstSeq)}
	case row.StateSeq < want.seq:
		return finding{Kind: rowBehind, Detail: fmt.Sprintf("the record has the status %s of event %d, the log ends with event %d, %s", row.Status, row.StateSeq, want.seq, want.name)}
	case row.StateSeq == want.seq && want.seq > 0 && invariants.Status(want.name) != "" && row.Status != invariants.Status(want.name):
		return finding{Kind: rowDiffers, Detail: fmt.Sprintf("the record has the status %s, the log ends with event %d, %s", row.Status, want.seq, want.name)}
	default:
		return finding{}
	}
}

// judgeObject compares a job's recording with its log or, if that has expired, with its
// record.
func (s *survey) judgeObject(k *known) finding {
	last := k.upTo(s.listed)
	current := last == k.upTo(s.read) // whether the log has no event of the job after the start of the listing
	if end := k.upTo(s.read); end.name == event.NameErased || len(k.states) == 0 && k.row != nil && k.row.Status == string(event.NameErased) {
		if len(k.objects) > 0 && end.seq <= s.cleared {
			return finding{Kind: objectOrphan, Detail: k.objects[0] + " belongs to a job that was erased"}
		}
		return finding{}
	}
	if k.has(event.NameExpired) || k.row != nil && k.row.AudioDeleted {
		return finding{}
	}
	switch {
	case len(k.objects) == 0 && current && last.name == event.NameCompleted:
		return finding{Kind: objectMissing, Detail: "the job is completed and its recording is not in the bucket"}
	case len(k.objects) == 0 && len(k.states) == 0 && k.row != nil && k.row.Key != "" && k.row.Status == string(event.NameCompleted) && k.row.StateSeq <= s.listed:
		return finding{Kind: objectMissing, Detail: "the record is completed and " + k.row.Key + " is not in the bucket"}
	case len(k.objects) > 0 && len(k.states) == 0 && k.row == nil:
		return finding{Kind: objectOrphan, Detail: k.objects[0] + " belongs to a job that is neither in the log nor in the records"}
	case len(k.objects) > 0 && current && last.name.Terminal() && !k.has(event.NameStored) && k.has(event.NameReceived):
		return finding{Kind: objectOrphan, Detail: k.objects[0] + " belongs to a job that ended before it was stored"}
	default:
		return finding{}
	}
}
