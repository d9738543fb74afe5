package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/event"
)

var update = flag.Bool("update", false, "write the golden files")

const job = "01890a5d-ac96-774b-bcce-b302099a8057"

func samples() []event.Event {
	const sum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	return []event.Event{
		event.Received{
			JobID: job, TokenID: 1, TextGridURL: "s3://sori/ref/1.TextGrid", PitchURL: "s3://sori/ref/1.json",
			FileName: "녹음 1.wav", MediaType: "audio/wav", Size: 102400, SHA256: sum, Chunks: 1,
			Entry: job + "-upload-01890a5d-b000-7000-8000-000000000000", Owner: "auth0|alice", Source: "c2VhbGVk", Fresh: true,
		},
		event.Stored{
			JobID: job, TokenID: 1, TextGridURL: "s3://sori/ref/1.TextGrid", PitchURL: "s3://sori/ref/1.json",
			Bucket: "sori", Key: "audio/" + job + "_1.wav", MediaType: "audio/wav", Size: 102400, SHA256: sum, Duration: 3.2,
			Attempt: 1,
		},
		event.Attempted{JobID: job, Attempt: 1, ResultKey: sum},
		event.Dispatched{JobID: job, Attempt: 1, AnalysisJobID: "a-17"},
		event.Lapsed{JobID: job, Attempt: 1},
		event.Completed{
			JobID: job, Attempt: 1, Result: json.RawMessage(`{"duration":3.2}`), Cached: true, CachedFrom: "01890a5d-b000-7000-8000-000000000000",
		},
		event.Failed{JobID: job, Attempt: 1, Code: "analysis-failed", Detail: "no speech", Retryable: true},
		event.Canceled{JobID: job, By: "auth0|alice"},
		event.Retried{JobID: job, Attempt: 2, Fetch: true, By: "auth0|alice"},
		event.Expired{JobID: job},
		event.Erased{
			JobID: job, Staged: []string{job, job + "-result-01890a5d-b000-7000-8000-000000000000"}, Owner: "auth0|alice", By: "k7",
			Reason: event.ReasonRetention, AnalysisJobID: "a-17",
		},
		event.Fetching{JobID: job, Attempt: 1, Bytes: 4096, Size: 102400, Try: 2, Code: "fetch-failed", Status: 503},
		event.Uploading{JobID: job, Bytes: 51200, Size: 102400},
		event.Progressed{JobID: job, Attempt: 1, Percent: 40, Message: "pitch"},
		event.Waiting{JobID: job, Attempt: 1, Until: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC), Code: "analysis-unavailable"},
		event.Refused{
			JobID: job, Attempt: 1, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Code: "malformed-json",
			Detail: "The body is no JSON object.", Outcome: true,
		},
		event.Discarded{JobID: job, Attempt: 1, Status: "completed", Result: json.RawMessage(`{"score":1}`)},
		event.Granted{JobID: job, Attempt: 1, Entry: 17, ResultKey: sum},
		event.TokenDeleted{TokenID: 7},
	}
}

func TestEveryEventMatchesItsGoldenFileBothWays(t *testing.T) {
	t.Parallel()
	for _, e := range samples() {
		file := filepath.Join("testdata", string(e.Name())+".json")
		got, err := json.MarshalIndent(e, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, append(got, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimSpace(want), got) {
			t.Errorf("%s differs from %s:\n%s", e.Name(), file, got)
		}
		back, err := event.Decode(event.Subject(e), want)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := json.MarshalIndent(back, "", "  ")
		if !bytes.Equal(again, got) {
			t.Errorf("%s does not survive decoding:\n%s", e.Name(), again)
		}
	}
}

func TestIdentityTypeAndSubjectFollowOnePattern(t *testing.T) {
	t.Parallel()
	ids, subjects := map[string]bool{}, map[string]bool{}
	for _, e := range samples() {
		id, subject := event.ID(e), event.Subject(e)
		if ids[id] || subjects[subject] {
			t.Errorf("%s: id %s or subject %s is taken", e.Name(), id, subject)
		}
		ids[id], subjects[subject] = true, true
		if j, n, err := event.ParseSubject(subject); (err == nil) != (e.Job() != "") || err == nil && (j != job || n != e.Name()) {
			t.Errorf("%s parses to %q %q %v", subject, j, n, err)
		}
		if !strings.HasSuffix(event.Type(e.Name()), "."+string(e.Name())+".v1") {
			t.Errorf("type %s", event.Type(e.Name()))
		}
	}
	for _, id := range []string{job + ".stored", job + ".attempted.1", job + ".progressed.1.40", job + ".uploading.51200", job + ".waiting.1.1767323045", "token.7.deleted"} {
		if !ids[id] {
			t.Errorf("no event has the id %s", id)
		}
	}
}

func TestNonsenseIsNoEvent(t *testing.T) {
	t.Parallel()
	for subject, body := range map[string]string{
		"audio.jobs." + job + ".stored":         `{"job_id":"another"}`,
		"audio.jobs." + job + ".received":       `[1]`,
		"audio.jobs." + job + ".exploded":       `{}`,
		"audio.jobs." + job + ".uploading":      `{}`,
		"audio.progress." + job + ".stored":     `{}`,
		"audio.jobs.7.stored":                   `{}`,
		"audio.jobs." + job:                     `{}`,
		"audio.tokens.1.deleted":                `{"token_id":2}`,
		"audio.tokens.0.deleted":                `{"token_id":0}`,
		"audio.tokens.x.deleted":                `{}`,
		"audio.tokens.1.erased":                 `{"token_id":1}`,
		"audio.jobs." + job + ".deleted":        `{"token_id":1}`,
		"":                                      `{}`,
		"audio.jobs." + job + ".stored.further": `{}`,
	} {
		if e, err := event.Decode(subject, []byte(body)); err == nil {
			t.Errorf("%s %s became %v", subject, body, e)
		}
	}
}

func TestAProgressEventOfANewerReleaseIsOfItsJob(t *testing.T) {
	t.Parallel()
	subject := "audio.progress." + job + ".invented"
	if of, name, err := event.ParseSubject(subject); of != job || name != "invented" || err != nil {
		t.Errorf("%q %q %v", of, name, err)
	}
	if _, err := event.Decode(subject, []byte(`{"job_id":"`+job+`"}`)); !errors.Is(err, event.ErrUnknownProgress) {
		t.Errorf("it is decoded with %v", err)
	}
	if _, err := event.Decode("audio.jobs."+job+".invented", []byte(`{}`)); err == nil || errors.Is(err, event.ErrUnknownProgress) {
		t.Errorf("a state event is decoded with %v", err)
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	e, err := event.Decode("audio.jobs."+job+".canceled", []byte(`{"job_id":"`+job+`","reason":"somebody asked"}`))
	if err != nil || e != (event.Canceled{JobID: job}) {
		t.Fatalf("%v %v", e, err)
	}
}

func TestADerivedJobIDDependsOnAllOfItsSourcesAndHasTheTimeOfTheFirst(t *testing.T) {
	t.Parallel()
	derive := func(values ...string) string {
		t.Helper()
		id, err := event.DeriveJobID(job, values...)
		if err != nil {
			t.Fatal(err)
		}
		if parsed, ok := event.ParseJobID(id); !ok || parsed != id || id[:13] != job[:13] || id[14] != '7' || !strings.Contains("89ab", id[19:20]) {
			t.Errorf("%s is no job id with the time of %s", id, job)
		}
		return id
	}
	if one, two := derive("mina", "7"), derive("mina", "7"); one != two {
		t.Errorf("the same sources give %s and %s", one, two)
	}
	seen := map[string]bool{job: true}
	for _, values := range [][]string{nil, {"mina"}, {"mina", "7"}, {"7", "mina"}, {"mina7"}, {"mina 7"}, {`mina" "7`}} {
		id := derive(values...)
		if seen[id] {
			t.Errorf("%q gives an id again", values)
		}
		seen[id] = true
	}
	if id, err := event.DeriveJobID("nonsense"); err == nil {
		t.Errorf("derived from nonsense: %s", id)
	}
}

func TestOnlyACanonicalUUIDIsAJobID(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "7", "*", ">", "a.b", "{" + job + "}", "urn:uuid:" + job, strings.ReplaceAll(job, "-", "")} {
		if _, ok := event.ParseJobID(s); ok {
			t.Errorf("%q accepted", s)
		}
	}
	if id, ok := event.ParseJobID(strings.ToUpper(job)); !ok || id != job {
		t.Errorf("upper case: %q %v", id, ok)
	}
	id, err := event.NewJobID()
	if err != nil || id[14] != '7' {
		t.Errorf("new id %q %v", id, err)
	}
}

func TestALogKnowsItsEndAndItsAttempt(t *testing.T) {
	t.Parallel()
	var l event.Log
	if _, ended := l.Terminal(); ended || l.Seq() != 0 || l.Attempt() != 0 {
		t.Fatal("an empty log has no end, no sequence, no attempt")
	}
	l = event.Log{
		{Event: event.Received{JobID: job}, Seq: 3},
		{Event: event.Attempted{JobID: job, Attempt: 2}, Seq: 9},
	}
	if _, ended := l.Terminal(); ended || l.Seq() != 9 || l.Attempt() != 2 {
		t.Fatalf("%d %d", l.Seq(), l.Attempt())
	}
	l = append(l, event.Record{Event: event.Canceled{JobID: job}, Seq: 12})
	if e, ended := l.Terminal(); !ended || e.Name() != event.NameCanceled {
		t.Fatal("no ending")
	}
	if _, ok := event.Last[event.Stored](l); ok {
		t.Fatal("stored from nowhere")
	}
	l = append(l, event.Record{Event: event.Expired{JobID: job}, Seq: 14})
	if end, ended := l.End(); !ended || end.Seq != 12 || !l.AudioExpired() || l.Erased() {
		t.Fatalf("%+v", end)
	}
	if end, ended := l[3:].End(); !ended || end.Event.Name() != event.NameExpired {
		t.Fatalf("when only expired is left: %+v", end)
	}
}

func TestAnErasureEndsAJobWhateverItsLogHoldsYet(t *testing.T) {
	t.Parallel()
	whole := event.Log{
		{Event: event.Received{JobID: job}, Seq: 1},
		{Event: event.Completed{JobID: job, Attempt: 1}, Seq: 2},
	}
	if whole.Erased() || (event.Log{}).Erased() {
		t.Error("nobody erased it")
	}
	for _, end := range []event.Event{event.Erased{JobID: job}, event.Unreadable{JobID: job, Of: event.NameErased}} {
		for _, log := range []event.Log{{{Event: end, Seq: 3}}, append(whole[:2:2], event.Record{Event: end, Seq: 3})} {
			if e, ended := log.Terminal(); !ended || e.Name() != event.NameErased || !log.Erased() {
				t.Errorf("%+v", log)
			}
		}
	}
}

func TestARetryOpensAFailedJobAgainAndCountsAsItsNextAttempt(t *testing.T) {
	t.Parallel()
	l := event.Log{
		{Event: event.Stored{JobID: job}, Seq: 1},
		{Event: event.Attempted{JobID: job, Attempt: 1}, Seq: 2},
		{Event: event.Failed{JobID: job, Attempt: 1}, Seq: 3},
	}
	if _, ended := l.Terminal(); !ended || l.Attempt() != 1 {
		t.Fatalf("failed: %v, attempt %d", ended, l.Attempt())
	}
	l = append(l, event.Record{Event: event.Retried{JobID: job, Attempt: 2}, Seq: 4})
	if _, ended := l.Terminal(); ended || l.Attempt() != 2 {
		t.Fatalf("retried: %v, attempt %d", ended, l.Attempt())
	}
	l[2] = event.Record{Event: event.Failed{JobID: job, Attempt: 2}, Seq: 5} // the job fails again: the log has only the newest event on each subject
	l[2], l[3] = l[3], l[2]
	if _, ended := l.Terminal(); !ended || l.Attempt() != 2 {
		t.Fatalf("failed again: %v, attempt %d", ended, l.Attempt())
	}
	first, second := event.ID(event.Failed{JobID: job, Attempt: 1}), event.ID(event.Failed{JobID: job, Attempt: 2})
	if first == second {
		t.Errorf("two failures are both %s", first)
	}
}

func TestANamespaceWrapsAndUnwraps(t *testing.T) {
	t.Parallel()
	for _, n := range []event.Namespace{"", "t-1"} {
		if err := n.Check(); err != nil {
			t.Error(err)
		}
		if got := n.Strip(n.Subject("audio.jobs.x")); got != "audio.jobs.x" {
			t.Errorf("%q: %s", n, got)
		}
	}
	if got := event.Namespace("t").Stream("AUDIO_JOBS"); got != "t_AUDIO_JOBS" {
		t.Error(got)
	}
	for _, bad := range []event.Namespace{"a.b", "*", "A", "a b", ">"} {
		if bad.Check() == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	for subject, want := range map[string]string{
		event.UploadSubject(event.WayTus, "mina", "01a228db-7e38-7327-81ff-ba5345330d43"): "01a228db-7e38-7327-81ff-ba5345330d43",
		event.UploadSubject(event.WayTus, "mina", "nonsense"):                             "",
		"staging.01a228db-7e38-7327-81ff-ba5345330d43":                                    "",
	} {
		if job, ok := event.ParseUploadSubject(subject); job != want || ok != (want != "") {
			t.Errorf("%s is of job %q, %t", subject, job, ok)
		}
	}
	entry, ok := event.ParseStagingSubject(event.StagingSubject("e1", 4))
	if !ok || entry != "e1" {
		t.Errorf("%q %v", entry, ok)
	}
}

func TestAnEntryTellsItsJobAndItsAge(t *testing.T) {
	t.Parallel()
	id, err := event.NewJobID()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range []string{id, event.ResultEntry(id)} {
		j, began, ok := event.ParseEntry(entry)
		if !ok || j != id || time.Since(began).Abs() > time.Minute {
			t.Errorf("%s: %q %v %v", entry, j, began, ok)
		}
	}
	for _, entry := range []string{"", "x", "00000000-0000-4000-8000-000000000000"} {
		if _, _, ok := event.ParseEntry(entry); ok {
			t.Errorf("%q has a job", entry)
		}
	}
}

func TestAnUploadEntryIsOfItsJobAndOfItsOwnAge(t *testing.T) {
	t.Parallel()
	first, err := event.UploadEntry(job) // the job's id is years older than this upload
	if err != nil {
		t.Fatal(err)
	}
	second, _ := event.UploadEntry(job)
	j, began, ok := event.ParseEntry(first)
	if !ok || j != job || time.Since(began).Abs() > time.Minute || first == second {
		t.Errorf("%s, %s: %q %v %v", first, second, j, began, ok)
	}
	for entry, want := range map[string]bool{job: true, first: true, event.ResultEntry(job): false, "": false, "x": false} {
		if event.IsUploadEntry(entry) != want {
			t.Errorf("%q holds an upload: %v", entry, !want)
		}
	}
}

func TestARecordingLiesWhereItsEventSays(t *testing.T) {
	t.Parallel()
	r := event.Received{JobID: job, Chunks: 2, Size: 7}
	if got, want := r.Staged(), (event.Staged{Entry: job, Chunks: 2, Size: 7}); got != want {
		t.Errorf("%+v", got)
	}
	r.Entry = "elsewhere"
	if got := r.Staged().Entry; got != "elsewhere" {
		t.Error(got)
	}
}

func TestTheSubjectsOfCachedResultsAndSharedAnalysesAreReadBack(t *testing.T) {
	t.Parallel()
	if read, ok := event.ParseResultSubject(event.ResultSubject(7, "abc", job, 12)); !ok || read != job {
		t.Errorf("a result is of %q", read)
	}
	for _, subject := range []string{"", "results.7.abc." + job, "results.7.abc.x.0", "staging.7.abc." + job + ".0"} {
		if read, ok := event.ParseResultSubject(subject); ok {
			t.Errorf("%s is a result of %q", subject, read)
		}
	}
	for _, subject := range []string{event.LeaderSubject("abc", job), event.FollowerSubject("abc", job)} {
		if key, read, ok := event.ParseSharedSubject(subject); !ok || key != "abc" || read != job {
			t.Errorf("%s is of %q and %q", subject, key, read)
		}
	}
	for _, subject := range []string{"", "shared.abc", "shared.abc.leader.x", "shared.abc.other." + job} {
		if key, read, ok := event.ParseSharedSubject(subject); ok {
			t.Errorf("%s is of %q and %q", subject, key, read)
		}
	}
}
