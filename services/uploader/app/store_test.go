package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestAStagedBodyBecomesAnObjectByteForByte(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"one chunk": 50_044, "many chunks": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			body := wav(size)
			e := r.upload(body)
			r.run(nil)
			stored := testkit.Await[event.Stored](r.Kit, r.bus, e.JobID)
			want := event.Stored{
				JobID: e.JobID, TokenID: e.TokenID, TextGridURL: e.TextGridURL, PitchURL: e.PitchURL,
				Bucket: r.bucket, Key: "audio/" + e.JobID + "_take_1.wav", MediaType: "audio/wav",
				Size: e.Size, SHA256: e.SHA256, Duration: float64(size-44) / 32000,
			}
			if diff := stored.Duration - want.Duration; diff > 0.001 || diff < -0.001 {
				t.Errorf("duration %v, want %v", stored.Duration, want.Duration)
			}
			if want.Duration = stored.Duration; stored != want {
				t.Errorf("stored %+v\nwant %+v", stored, want)
			}
			got, info := r.object(stored.Key)
			if !bytes.Equal(got, body) {
				t.Error("the object differs")
			}
			if info.ContentType != "audio/wav" || info.UserMetadata["Sha256"] != e.SHA256 {
				t.Errorf("metadata %q %v", info.ContentType, info.UserMetadata)
			}
			r.Settled(consumer)
			r.nothingStaged()
		})
	}
}

func TestAFormatWithoutAPlayingTimeIsStoredAllTheSame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := r.upload(random(1000))
	r.run(nil)
	if stored := testkit.Await[event.Stored](r.Kit, r.bus, e.JobID); stored.Duration != 0 {
		t.Errorf("duration %v", stored.Duration)
	}
}

func TestAReplayOfTheWholeLogChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var jobs []event.Received
	for range 5 {
		jobs = append(jobs, r.upload(wav(10_044)))
	}
	r.run(nil)
	r.Settled(consumer)
	before := map[string]minio.ObjectInfo{}
	for _, e := range jobs {
		_, before[e.JobID] = r.object(key(e))
	}
	letters := len(r.Letters(event.Jobs()))
	for range 2 {
		r.replay()
	}
	for _, e := range jobs {
		if _, now := r.object(key(e)); now.ETag != before[e.JobID].ETag || !now.LastModified.Equal(before[e.JobID].LastModified) {
			t.Errorf("the object was written again")
		}
		if story := r.Story(r.bus, e.JobID); !slices.Equal(story, []event.Name{event.NameReceived, event.NameStored}) {
			t.Errorf("story %v", story)
		}
	}
	if now := len(r.Letters(event.Jobs())); now != letters {
		t.Errorf("%d messages became %d", letters, now)
	}
}

func TestAJobThatEndedBeforeItWasStoredLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, ending := range map[string]func(job string) event.Event{
		"canceled": func(job string) event.Event { return event.Canceled{JobID: job} },
		"failed":   func(job string) event.Event { return event.Failed{JobID: job, Code: "deadline-passed"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			e := r.upload(wav(1 << 20))
			r.append(ending(e.JobID))
			r.run(nil)
			r.Settled(consumer)
			r.nothingStaged()
			if keys := r.keys(); len(keys) > 0 {
				t.Errorf("in the bucket: %v", keys)
			}
			if story := r.Story(r.bus, e.JobID); len(story) != 2 || story[1] != ending("").Name() {
				t.Errorf("story %v", story)
			}
		})
	}
}

func TestACancellationThatWinsDuringTheCopyTakesTheObjectAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	proxy := r.Proxy(r.Settings(nil)["S3_ENDPOINT"])
	r.run(map[string]string{"S3_ENDPOINT": proxy.URL})
	r.Settled(consumer)
	held := proxy.Hold(1 << 20)
	e := r.upload(wav(3 << 20))
	<-held
	r.append(event.Canceled{JobID: e.JobID})
	proxy.Mend()
	r.Settled(consumer)
	r.nothingStaged()
	if keys := r.keys(); len(keys) > 0 {
		t.Errorf("in the bucket: %v", keys)
	}
	if story := r.Story(r.bus, e.JobID); !slices.Equal(story, []event.Name{event.NameReceived, event.NameCanceled}) {
		t.Errorf("story %v", story)
	}
	if strings.Contains(r.Logged(), "recording stored") {
		t.Error("it claims to have stored a canceled recording")
	}
}

func TestACrashBetweenTheObjectAndItsEventIsFinished(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body := wav(100_044)
	e := r.stage(body)
	_, err := r.client.PutObject(r.Context(), r.bucket, key(e), bytes.NewReader(body), e.Size, minio.PutObjectOptions{
		ContentType: e.MediaType, UserMetadata: map[string]string{"Sha256": e.SHA256},
	})
	must(t, err)
	must(t, r.bus.Unstage(r.Context(), e.JobID))
	r.accept(e)
	r.run(nil)
	stored := testkit.Await[event.Stored](r.Kit, r.bus, e.JobID)
	if stored.Key != key(e) || stored.SHA256 != e.SHA256 || stored.Size != e.Size {
		t.Errorf("%+v", stored)
	}
	if got, _ := r.object(stored.Key); !bytes.Equal(got, body) {
		t.Error("the object differs")
	}
}

func TestBytesThatAreNeitherStagedNorStoredFailTheJob(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(r *rig, e event.Received){
		"nothing is there": func(*rig, event.Received) {},
		"the object is another's": func(r *rig, e event.Received) {
			_, err := r.client.PutObject(r.Context(), r.bucket, key(e), strings.NewReader("x"), 1, minio.PutObjectOptions{})
			must(r.t, err)
		},
		"a chunk in the middle is missing": func(r *rig, e event.Received) {
			_, err := r.bus.Stage(r.Context(), e.JobID, bytes.NewReader(random(300<<10)))
			must(r.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			e := r.stage(random(1 << 20))
			must(t, r.bus.Unstage(r.Context(), e.JobID))
			spoil(r, e)
			r.accept(e)
			r.run(nil)
			if failed := testkit.Await[event.Failed](r.Kit, r.bus, e.JobID); failed.Code != "staging-lost" || failed.Detail == "" || failed.Attempt != 0 {
				t.Errorf("%+v", failed)
			}
			r.Settled(consumer)
			r.nothingStaged()
			if keys := r.keys(); len(keys) > 0 {
				t.Errorf("in the bucket: %v", keys)
			}
		})
	}
}

func TestTwoCopiesStoreEachRecordingOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const jobs = 50
	r.run(nil)
	r.run(nil)
	uploads := make([]event.Received, jobs)
	var wg sync.WaitGroup
	for i := range uploads {
		uploads[i] = r.stage(wav(20_044 + 2*i))
	}
	for _, e := range uploads {
		wg.Go(func() { r.accept(e) })
	}
	wg.Wait()
	r.Settled(consumer)
	seen := map[string]int{}
	for _, m := range r.Letters(event.Jobs()) {
		if strings.HasSuffix(m.Subject, ".stored") {
			seen[m.Subject]++
		}
	}
	for _, e := range uploads {
		if n := seen[event.SubjectOf(e.JobID, event.NameStored)]; n != 1 {
			t.Errorf("stored %d times", n)
		}
	}
	if keys := r.keys(); len(keys) != jobs {
		t.Errorf("%d objects", len(keys))
	}
	r.nothingStaged()
}

func TestAnEventThatCannotBeReadFailsItsJobAndIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job := r.NewJob()
	_, err := r.bus.Stage(r.Context(), job, strings.NewReader("x"))
	must(t, err)
	_, err = r.JetStream().PublishMsg(r.Context(), &nats.Msg{
		Subject: r.Namespace().Subject(event.SubjectOf(job, event.NameReceived)), Data: []byte("\xff{"),
	})
	must(t, err)
	r.run(nil)
	well := r.upload(wav(1044))
	testkit.Await[event.Stored](r.Kit, r.bus, well.JobID)
	if failed := testkit.Await[event.Failed](r.Kit, r.bus, job); failed.Code != "unreadable-event" {
		t.Errorf("%+v", failed)
	}
	r.Settled(consumer)
	r.nothingStaged()
	dead := r.Letters(event.Dead())
	if len(dead) != 1 || dead[0].Subject != event.DeadSubject(consumer) || string(dead[0].Data) != "\xff{" {
		t.Errorf("dead letters %+v", dead)
	}
}

func TestTheFirstWordOfACopyIsThatItBegan(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := r.upload(wav(1 << 20))
	r.run(nil)
	r.Settled(consumer)
	var told []event.Uploading
	for _, m := range r.Letters(event.Jobs()) {
		if m.Subject == event.Subject(event.Uploading{JobID: e.JobID}) {
			var u event.Uploading
			must(t, json.Unmarshal(m.Data, &u))
			told = append(told, u)
		}
	}
	if len(told) == 0 || told[0] != (event.Uploading{JobID: e.JobID, Size: e.Size}) {
		t.Errorf("told %+v", told)
	}
}

func TestAnUploadThatIsCanceledAfterItWasStoredKeepsItsObject(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := r.upload(wav(1044))
	r.run(nil)
	testkit.Await[event.Stored](r.Kit, r.bus, e.JobID)
	r.append(event.Canceled{JobID: e.JobID})
	r.Settled(consumer)
	r.replay()
	if keys := r.keys(); !slices.Equal(keys, []string{key(e)}) {
		t.Error(errors.New("the object is gone"))
	}
}
