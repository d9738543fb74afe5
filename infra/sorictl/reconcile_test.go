package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func tableOf(t *testing.T, k *testkit.Kit) rows {
	t.Helper()
	table, err := openRows(config.Map(k.Settings(nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = table.db.Close() })
	return table
}

// compared runs a reconciliation and returns its report.
func compared(t *testing.T, k *testkit.Kit, args ...string) report {
	t.Helper()
	shown, err := sorictl(t, k, nil, append([]string{"reconcile", "-json"}, args...)...)
	var r report
	if decodeErr := json.NewDecoder(strings.NewReader(shown)).Decode(&r); decodeErr != nil {
		t.Fatalf("%v: %s, %v", decodeErr, shown, err)
	}
	if (err == nil) != (len(r.Findings) == 0) {
		t.Errorf("%d findings and the error %v", len(r.Findings), err)
	}
	return r
}

func instant(t *testing.T) (*harnesstest.Env, rows) {
	t.Helper()
	w := harnesstest.Start(t, harnesstest.Options{Behaviour: analyzer.Behaviour{Instant: true}})
	return w, tableOf(t, w.Kit)
}

// spoil changes the records directly in the database, without the tracker.
func spoil(t *testing.T, k *testkit.Kit, table rows, query string, args ...any) {
	t.Helper()
	if _, err := table.db.ExecContext(k.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// kept returns a record as JSON, without the columns that change whenever the record is written, and
// without the size of the job's log: a repair does not replay progress, and so does not count it.
func kept(t *testing.T, k *testkit.Kit, table rows, job string) string {
	t.Helper()
	var text string
	const query = `
		SELECT (to_jsonb(r) - 'version' - 'updated_at' - 'log_bytes' - 'log_seqs')::text
		FROM tracker.analysis_results AS r
		WHERE job_id = $1`
	if err := table.db.GetContext(k.Context(), &text, query, job); err != nil {
		t.Fatal(err)
	}
	return text
}

func TestNothingIsFoundWhereAllIsWell(t *testing.T) {
	t.Parallel()
	w, _ := instant(t)
	done(t, w, 2)
	shows(t, w.Kit, []string{"reconcile", "-repair"}, "2 jobs compared: 0 findings", "0 events replayed", "0 events are not recorded yet")
}

func TestRecordsThatWereLostAreRecordedAgain(t *testing.T) {
	t.Parallel()
	w, table := instant(t)
	jobs := done(t, w, 4)
	var before []string
	for _, job := range jobs {
		before = append(before, kept(t, w.Kit, table, job))
	}
	spoil(t, w.Kit, table, `DELETE FROM tracker.analysis_results WHERE job_id = $1`, jobs[0])
	spoil(t, w.Kit, table, `UPDATE tracker.analysis_results SET status = 'processing', progress = 70, state_seq = state_seq - 2, result = NULL WHERE job_id = $1`, jobs[1])
	spoil(t, w.Kit, table, `UPDATE tracker.analysis_results SET status = 'failed', progress = 90, error_code = 'unprojectable', error_detail = '', error_retryable = false WHERE job_id = $1`, jobs[2])
	r := compared(t, w.Kit)
	if len(r.Findings) != 3 || r.Counts[rowMissing] != 1 || r.Counts[rowBehind] != 1 || r.Counts[rowDiffers] != 1 {
		t.Errorf("found %+v", r)
	}
	events, b := 0, w.Bus("tester")
	for _, job := range jobs[:3] {
		events += len(w.EventNames(b, job))
	}
	shows(t, w.Kit, []string{"reconcile", "-repair"}, "row-missing", "row-behind", "row-differs",
		fmt.Sprintf("replaying %d events of 3 jobs", events), "4 jobs compared: 0 findings", fmt.Sprintf("%d events replayed", events))
	for i, job := range jobs {
		if after := kept(t, w.Kit, table, job); after != before[i] {
			t.Errorf("record %d is\n%s\nand was\n%s", i, after, before[i])
		}
	}
}

func TestObjectsAreComparedWithTheJobs(t *testing.T) {
	t.Parallel()
	w, _ := instant(t)
	job := done(t, w, 1)[0]
	client, bucket := w.Bucket()
	orphan, uploading := w.NewJob(), w.NewJob()
	unfinished := event.UploadSubject(event.WayTus, "mina", uploading)
	if _, err := w.Kit.Bus("uploader", event.Uploads()).PublishBytesExpecting(w.Context(), unfinished, []byte("{}"), unfinished, 0); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"audio/" + orphan + "_a.wav", "audio/" + uploading + "_/1", "audio/readme.txt", "reference/1.TextGrid"} {
		if _, err := client.PutObject(w.Context(), bucket, key, strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for o := range client.ListObjects(w.Context(), bucket, minio.ListObjectsOptions{Prefix: "audio/" + job}) {
		if err := client.RemoveObject(w.Context(), bucket, o.Key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "sori.prom")
	r := compared(t, w.Kit, "-repair", "-metrics", file)
	if len(r.Findings) != 2 || r.Findings[0].Job != job || r.Findings[0].Kind != objectMissing || r.Findings[1].Job != orphan || r.Findings[1].Kind != objectOrphan {
		t.Errorf("found %+v", r.Findings)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, string(text), `sori_reconcile_findings{kind="object-missing"} 1`, `sori_reconcile_findings{kind="row-behind"} 0`, "sori_reconcile_jobs 2", "sori_dead_letters 0")
}

func TestWhatARepairCannotMendIsTold(t *testing.T) {
	t.Parallel()
	w, table := instant(t)
	job := done(t, w, 1)[0]
	spoil(t, w.Kit, table, `UPDATE tracker.analysis_results SET state_seq = 100000 WHERE job_id = $1`, job)
	r := compared(t, w.Kit, "-repair")
	if len(r.Findings) != 1 || r.Findings[0].Kind != rowAhead || r.Replayed != 0 {
		t.Errorf("found %+v", r)
	}
	spoil(t, w.Kit, table, `DELETE FROM tracker.analysis_results`)
	away := map[string]string{"NATS_NAMESPACE": w.NewJob()}
	if shown, err := sorictl(t, w.Kit, away, "reconcile", "-repair"); err == nil {
		t.Errorf("an installation that does not exist is well: %s", shown)
	}
}

func TestJobsUnderWayAreNoFindings(t *testing.T) {
	t.Parallel()
	w, _ := instant(t)
	var uploads sync.WaitGroup
	for range 4 {
		uploads.Go(func() {
			for range 5 {
				w.Upload(t, "a.wav", wave())
			}
		})
	}
	ended := make(chan struct{})
	go func() { uploads.Wait(); close(ended) }()
	for busy := true; busy; {
		select {
		case <-ended:
			busy = false
		default:
		}
		if r := compared(t, w.Kit); len(r.Findings) != 0 {
			t.Errorf("found %+v", r.Findings)
			break
		}
	}
	<-ended
}

func TestAnErasedJobIsKnownAsSuch(t *testing.T) {
	t.Parallel()
	w, table := instant(t)
	job := done(t, w, 2)[0]
	req, err := http.NewRequestWithContext(w.Context(), http.MethodDelete, w.Gateway+"/jobs/"+job, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Body.Close() != nil {
		t.Fatal(resp, err)
	}
	w.Settled(erasures)
	w.Settled(projection)
	if r := compared(t, w.Kit); len(r.Findings) != 0 || r.Jobs != 2 {
		t.Errorf("found %+v", r)
	}
	shown := shows(t, w.Kit, []string{"job", job}, job+", has ended: erased", "erased, progress 100", "a tombstone", "  erased  ")
	if strings.Contains(shown, "녹음") || strings.Contains(shown, "completed") || !strings.Contains(shown, "object   none") {
		t.Errorf("shown:\n%s", shown)
	}
	client, bucket := w.Bucket()
	if _, err := client.PutObject(w.Context(), bucket, "audio/"+job+"_a.wav", strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	spoil(t, w.Kit, table, `DELETE FROM tracker.analysis_results WHERE job_id = $1`, job) // as after a restore of a backup that is older than the job
	r := compared(t, w.Kit, "-repair")
	if len(r.Findings) != 1 || r.Findings[0].Kind != objectOrphan || r.Findings[0].Job != job || r.Replayed != 1 {
		t.Errorf("found %+v", r)
	}
	shows(t, w.Kit, []string{"job", job}, "a tombstone")
}
