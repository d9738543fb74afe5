package job_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/locale"
)

const id = "01890a5d-ac96-774b-bcce-b302099a8057"

var began = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

func TestARecordEndsTheSameWhateverTheOrder(t *testing.T) {
	t.Parallel()
	histories := map[string][]job.Entry{
		"plain": history(received(), uploading(0), uploading(400), uploading(1000), stored(), attempted(1), dispatched(1),
			progressed(1, 20, "pitch"), progressed(1, 60, ""), completed(1)),
		"running": history(received(), uploading(0), stored(), attempted(1), dispatched(1), progressed(1, 55, "pitch"), progressed(1, 33, "formants")),
		"several attempts": history(received(), uploading(10), stored(), attempted(1), dispatched(1), progressed(1, 80, "one"),
			attempted(2), progressed(2, 5, "early"), dispatched(2), progressed(2, 30, "two"), attempted(3), dispatched(3), completed(3)),
		"attempts, running":            history(received(), stored(), attempted(1), dispatched(1), progressed(1, 99, "one"), attempted(2), dispatched(2)),
		"webhook before dispatched":    history(received(), stored(), attempted(1), progressed(1, 10, "quick"), completed(1)),
		"completed, late progress":     history(received(), stored(), attempted(1), dispatched(1), completed(1), progressed(1, 70, "late"), uploading(999)),
		"failed in the upload":         history(received(), uploading(300), uploading(600), failed(0)),
		"failed in the analysis":       history(received(), stored(), attempted(1), dispatched(1), progressed(1, 50, "x"), failed(1)),
		"canceled at once":             history(received(), canceled()),
		"canceled, completed too late": history(received(), stored(), attempted(1), dispatched(1), canceled()),
		"failed, begun again":          history(received(), stored(), attempted(1), dispatched(1), failed(1), attempted(2), dispatched(2), completed(2)),
		"lapsed, asked again": history(received(), stored(), attempted(1), dispatched(1), progressed(1, 80, "one"), lapsed(1),
			attempted(2), dispatched(2), progressed(2, 10, "two"), completed(2)),
		"lapsed to the end": history(received(), stored(), attempted(1), dispatched(1), lapsed(1), attempted(2), dispatched(2), lapsed(2), failed(2)),
		"lapsed, retried":   history(received(), stored(), attempted(1), dispatched(1), lapsed(1), failed(1), retried(2), attempted(2), dispatched(2)),
		"retried at once":   history(received(), stored(), failed(0), retried(1)),
		"retried, running": history(received(), stored(), attempted(1), dispatched(1), progressed(1, 50, "one"), failed(1),
			retried(2), attempted(2), dispatched(2), progressed(2, 30, "two"), progressed(2, 20, "too")),
		"retried, completed": history(received(), uploading(1000), stored(), attempted(1), dispatched(1), progressed(1, 90, "one"), failed(1),
			retried(2), attempted(2), progressed(2, 80, "two"), dispatched(2), completed(2)),
		"retried twice, failed": history(received(), stored(), attempted(1), failed(1), retried(2), attempted(2), dispatched(2),
			progressed(2, 80, "two"), failed(2), retried(3), attempted(3), dispatched(3), progressed(3, 10, "three"), failed(3)),
		"fetched": history(received(), fetching(0, 0), fetching(0, 400), fetching(0, 1000), stored(), attempted(1), dispatched(1), completed(1), fetching(0, 900)),
		"fetched again": history(received(), fetching(0, 400), failed(0), event.Retried{JobID: id, Attempt: 1, Fetch: true}, fetching(1, 100), fetching(0, 500),
			event.Stored{JobID: id, TokenID: 7, Bucket: "b", Key: "k", MediaType: "audio/x-wav", Size: 1001, SHA256: "cd", Attempt: 1}, attempted(1), dispatched(1), fetching(1, 900)),
		"fetched in vain":  history(received(), fetching(0, 400), failed(0), event.Retried{JobID: id, Attempt: 1, Fetch: true}, fetching(1, 100), failed(1)),
		"waiting":          history(received(), stored(), attempted(1), waiting(1, 1), waiting(1, 3), waiting(1, 2)),
		"waited, taken":    history(received(), stored(), attempted(1), waiting(1, 1), waiting(1, 2), dispatched(1)),
		"waited, reported": history(received(), stored(), attempted(1), waiting(1, 1), progressed(1, 10, "quick"), waiting(1, 2)),
		"accepted at one replica, waiting at another": history(received(), stored(), attempted(1), waiting(1, 1), dispatched(1), waiting(1, 2)),
		"waited, canceled":                            history(received(), stored(), attempted(1), waiting(1, 1), canceled(), waiting(1, 2)),
		"waited too long, retried": history(received(), stored(), attempted(1), waiting(1, 1), failed(1), waiting(1, 2),
			retried(2), attempted(2), waiting(2, 3), waiting(1, 4)),
		"waited, completed": history(received(), stored(), attempted(1), waiting(1, 1), dispatched(1), progressed(1, 50, "x"), lapsed(1),
			attempted(2), waiting(2, 2), progressed(1, 70, "late"), waiting(2, 3), dispatched(2), completed(2), waiting(2, 4)),
		"lapsed, waiting": history(received(), stored(), attempted(1), dispatched(1), progressed(1, 50, "x"), lapsed(1), attempted(2),
			waiting(2, 2), progressed(1, 70, "late")),
		"retried, canceled":                 history(received(), stored(), attempted(1), dispatched(1), failed(1), retried(2), attempted(2), canceled()),
		"erased at once":                    history(received(), erased()),
		"erased, running":                   history(received(), uploading(400), stored(), attempted(1), waiting(1, 1), dispatched(1), progressed(1, 20, "pitch"), erased(), progressed(1, 30, "late")),
		"erased, completed":                 history(received(), stored(), attempted(1), dispatched(1), progressed(1, 20, "pitch"), completed(1), erased()),
		"erased, failed":                    history(received(), stored(), attempted(1), failed(1), retried(2), attempted(2), failed(2), erased()),
		"erased, canceled":                  history(received(), canceled(), erased(), uploading(999)),
		"erased, forgotten":                 history(uploading(10), stored(), erased()),
		"erased, with its owner":            history(received(), stored(), event.Erased{JobID: id, Owner: "alice"}),
		"erased, forgotten, with its owner": history(stored(), event.Erased{JobID: id, Owner: "alice"}),
		"erased, of an older release":       history(event.Received{JobID: id, TokenID: 7}, event.Erased{JobID: id, Owner: "alice"}),
		"erased, of two owners":             history(received(), event.Erased{JobID: id, Owner: "bob"}),
	}
	for name, entries := range histories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := play(entries)
			for seed := range uint64(2000) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				got := shuffled(t, rnd, entries)
				if got.final() != want.final() {
					t.Fatalf("seed %d:\n got %+v\nwant %+v", seed, got.final(), want.final())
				}
				version := got.row.Version
				if got.merge(entries...) || got.row.Version != version {
					t.Fatalf("seed %d: a replay changed %+v", seed, got.row)
				}
			}
		})
	}
}

// Progress is published after the job has failed. If the progress is merged before the failure, the
// record shows it, since the shown progress never decreases; otherwise it is ignored. All other
// fields must be the same in both cases.
func TestProgressAfterAFailureChangesNothingElse(t *testing.T) {
	t.Parallel()
	for name, ending := range map[string]event.Event{"failed": failed(1), "canceled": canceled()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entries := history(received(), stored(), attempted(1), dispatched(1), progressed(1, 20, "on time"), ending, progressed(1, 90, "late"))
			want := play(entries)
			if want.row.Progress != 91 {
				t.Fatalf("in order the progress is %d", want.row.Progress)
			}
			before := play(entries[:len(entries)-1])
			if before.row != want.row {
				t.Fatalf("late progress changed %+v to %+v", before.row, want.row)
			}
			for seed := range uint64(2000) {
				got := shuffled(t, rand.New(rand.NewPCG(seed, 2)), entries).final()
				if got.Progress != 91 && got.Progress != 98 {
					t.Fatalf("seed %d: progress %d", seed, got.Progress)
				}
				if got.Progress = want.row.Progress; got != want.final() {
					t.Fatalf("seed %d:\n got %+v\nwant %+v", seed, got, want.final())
				}
			}
		})
	}
}

func TestARetryResetsAFailedJobToStored(t *testing.T) {
	t.Parallel()
	table := play(history(received(), stored(), attempted(1), dispatched(1), progressed(1, 50, "one"), failed(1)))
	before := table.row
	if before.Status != job.Failed || before.Progress != 94 || before.Error.Code == "" {
		t.Fatalf("failed: %+v", before)
	}
	table.merge(job.Entry{Event: retried(2), Seq: 99, Time: began.Add(time.Hour)})
	after := table.row
	if after.Status != job.Processing || after.Progress != 70 || after.Stage != job.StageStored || after.Error != (job.Failure{}) ||
		after.Message != "" || after.Attempt != 2 || after.Version != before.Version+1 || after.AnalysisJobID != "" || after.Key != "k" {
		t.Errorf("retried: %+v", after)
	}
	if late := table.merge(job.Entry{Event: progressed(1, 80, "late"), Seq: 100}); late {
		t.Errorf("the old attempt changed it to %+v", table.row)
	}
}

func TestStagesAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	table := &table{row: job.New(id)}
	for i, step := range []struct {
		event    event.Event
		status   job.Status
		progress int
		stage    job.Stage
		text     string
		version  int64
	}{
		{received(), job.Processing, 10, job.StageReceived, "업로드 시작", 1},
		{uploading(0), job.Processing, 40, job.StageUploading, "S3 업로드 중...", 2},
		{uploading(500), job.Processing, 54, job.StageUploading, "S3 업로드 중...", 3},
		{uploading(1000), job.Processing, 69, job.StageUploading, "S3 업로드 중...", 4},
		{stored(), job.Processing, 70, job.StageStored, "분석 서버 요청 중...", 5},
		{attempted(1), job.Processing, 70, job.StageStored, "분석 서버 요청 중...", 5},
		{waiting(1, 1), job.Processing, 70, job.StageWaiting, "분석 서버 대기 중, 다음 시도 03:05:05 UTC", 6},
		{waiting(1, 2), job.Processing, 70, job.StageWaiting, "분석 서버 대기 중, 다음 시도 03:06:05 UTC", 7},
		{dispatched(1), job.Processing, 90, job.StageDispatched, "분석 중... 결과 대기", 8},
		{waiting(1, 3), job.Processing, 90, job.StageDispatched, "분석 중... 결과 대기", 8},
		{progressed(1, 50, ""), job.Processing, 94, job.StageDispatched, "분석 중... 결과 대기", 9},
		{progressed(1, 100, "거의 다"), job.Processing, 99, job.StageDispatched, "분석 중... 결과 대기", 10},
		{attempted(2), job.Processing, 99, job.StageDispatched, "분석 중... 결과 대기", 10},
		{waiting(2, 4), job.Processing, 99, job.StageWaiting, "분석 서버 대기 중, 다음 시도 03:08:05 UTC", 11},
		{dispatched(2), job.Processing, 90, job.StageDispatched, "분석 중... 결과 대기", 12},
		{completed(2), job.Completed, 100, job.StageCompleted, "분석 완료", 13},
		{waiting(2, 5), job.Completed, 100, job.StageCompleted, "분석 완료", 13},
	} {
		table.merge(job.Entry{Event: step.event, Seq: uint64(i + 1), Time: began, Result: `{"score":1}`})
		r := table.row
		if r.Status != step.status || r.Progress != step.progress || r.Stage != step.stage ||
			r.Text(locale.Korean) != step.text || r.Version != step.version {
			t.Errorf("after %s: %s %d %s %q version %d", step.event.Name(), r.Status, r.Progress, r.Stage, r.Text(locale.Korean), r.Version)
		}
	}
}

func TestProgressOutOfRangeStaysWithinItsStage(t *testing.T) {
	t.Parallel()
	const most = int64(1<<63 - 1)
	for _, c := range []struct {
		event event.Event
		want  int
	}{
		{event.Uploading{JobID: id, Bytes: most, Size: most}, 69},
		{event.Uploading{JobID: id, Bytes: most, Size: 1}, 69},
		{event.Uploading{JobID: id, Bytes: -5, Size: 10}, 40},
		{event.Uploading{JobID: id, Bytes: 5}, 40},
		{progressed(1, 1_000_000, ""), 99},
		{progressed(1, -1, ""), 90},
	} {
		if got := play(history(received(), c.event)).row.Progress; got != c.want {
			t.Errorf("%+v gives %d, want %d", c.event, got, c.want)
		}
	}
}

func TestStoredReplacesTheFactsOfReceived(t *testing.T) {
	t.Parallel()
	r := play(history(received(), stored())).row
	if r.TokenID != 7 || r.FileName != "녹음.wav" || r.MediaType != "audio/x-wav" || r.Size != 1001 || r.SHA256 != "cd" ||
		r.Bucket != "b" || r.Key != "k" || r.Duration != 3.5 {
		t.Errorf("%+v", r)
	}
	if !r.CreatedAt.Equal(began.Truncate(time.Microsecond)) {
		t.Errorf("created at %v", r.CreatedAt)
	}
}

func TestALiveUpdateHasNoResult(t *testing.T) {
	t.Parallel()
	r := play(history(received(), stored(), attempted(1), dispatched(1), completed(1))).row
	body, err := json.Marshal(r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	var back job.Snapshot
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	if r.Result == "" || back.Result != "" || r.Warnings == "" || back.Warnings != "" {
		t.Errorf("result %q became %q, warnings %q %q", r.Result, back.Result, r.Warnings, back.Warnings)
	}
	if back.Result, back.Warnings = r.Result, r.Warnings; back != r.Snapshot {
		t.Errorf("%+v became %+v", r.Snapshot, back)
	}
	if strings.Contains(string(body), "next_attempt_at") {
		t.Errorf("it waits for nothing: %s", body)
	}
	r = play(history(received(), stored(), attempted(1), waiting(1, 1))).row
	if body, err = json.Marshal(r.Snapshot); err != nil {
		t.Fatal(err)
	}
	if back = (job.Snapshot{}); json.Unmarshal(body, &back) != nil || back != r.Snapshot || back.NextAttemptAt.IsZero() {
		t.Errorf("%+v became %+v", r.Snapshot, back)
	}
}

func TestAJobNotYetRecordedIsVersionZero(t *testing.T) {
	t.Parallel()
	e, _ := received().(event.Received)
	s := job.FromReceived(e, began)
	if s.Version != 0 || s.Progress != 10 || s.Status != job.Processing || s.TokenID != 7 || s.Owner != "alice" || s.CreatedAt.IsZero() || s.UpdatedAt != s.CreatedAt {
		t.Errorf("%+v", s)
	}
}

func TestAReplayedEventReplacesItsPlaceholder(t *testing.T) {
	t.Parallel()
	standIn := event.Failed{JobID: id, Code: "unprojectable", Detail: "The job's record could not be kept."}
	for _, end := range []event.Event{completed(1), failed(1), canceled()} {
		entries := history(received(), stored(), attempted(1), dispatched(1), end)
		want := play(entries).final()
		last := entries[len(entries)-1]
		spoilt := append(entries[:4:4], job.Entry{Event: standIn, Seq: last.Seq, Time: last.Time})
		if got := play(spoilt).final(); got.Status != job.Failed || got.Error.Code != "unprojectable" {
			t.Errorf("the stand-in of %s: %+v", end.Name(), got)
		}
		for name, order := range map[string][]job.Entry{
			"replayed": append(spoilt[:5:5], last), "known before": append(entries[:5:5], spoilt[4]), "both twice": append(append(spoilt[:5:5], last), spoilt[4], last),
		} {
			if got := play(order).final(); got != want {
				t.Errorf("%s, %s:\n got %+v\nwant %+v", end.Name(), name, got, want)
			}
		}
	}
}
