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
			env := newEnv(t)
			body := wav(size)
			e := env.upload(body)
			env.run(nil)
			stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
			want := event.Stored{
				JobID: e.JobID, TokenID: e.TokenID, TextGridURL: e.TextGridURL, PitchURL: e.PitchURL,
				Bucket: env.bucket, Key: "audio/" + e.JobID + "_take_1.wav", MediaType: "audio/wav",
				Size: e.Size, SHA256: e.SHA256, Duration: float64(size-44) / 32000,
			}
			if diff := stored.Duration - want.Duration; diff > 0.001 || diff < -0.001 {
				t.Errorf("duration %v, want %v", stored.Duration, want.Duration)
			}
			if want.Duration = stored.Duration; stored != want {
				t.Errorf("stored %+v\nwant %+v", stored, want)
			}
			got, info := env.object(stored.Key)
			if !bytes.Equal(got, body) {
				t.Error("the object differs")
			}
			if info.ContentType != "audio/wav" || info.UserMetadata["Sha256"] != e.SHA256 {
				t.Errorf("metadata %q %v", info.ContentType, info.UserMetadata)
			}
			env.Settled(consumer)
			env.nothingStaged()
		})
	}
}

func TestARecordingOfUnknownDurationIsStored(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.upload(random(1000))
	env.run(nil)
	if stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID); stored.Duration != 0 {
		t.Errorf("duration %v", stored.Duration)
	}
}

func TestHandlingEveryEventAgainChangesNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	var jobs []event.Received
	for range 5 {
		jobs = append(jobs, env.upload(wav(10_044)))
	}
	env.run(nil)
	env.Settled(consumer)
	before := map[string]minio.ObjectInfo{}
	for _, e := range jobs {
		_, before[e.JobID] = env.object(key(e))
	}
	messages := len(env.Messages(event.Jobs()))
	for range 2 {
		env.HandleAgain(consumer)
	}
	for _, e := range jobs {
		if _, now := env.object(key(e)); now.ETag != before[e.JobID].ETag || !now.LastModified.Equal(before[e.JobID].LastModified) {
			t.Errorf("the object was written again")
		}
		if names := env.EventNames(env.bus, e.JobID); !slices.Equal(names, []event.Name{event.NameReceived, event.NameStored}) {
			t.Errorf("log %v", names)
		}
	}
	if now := len(env.Messages(event.Jobs())); now != messages {
		t.Errorf("%d messages became %d", messages, now)
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
			env := newEnv(t)
			e := env.upload(wav(1 << 20))
			env.append(ending(e.JobID))
			env.run(nil)
			env.Settled(consumer)
			env.nothingStaged()
			env.checkKeys()
			if names := env.EventNames(env.bus, e.JobID); len(names) != 2 || names[1] != ending("").Name() {
				t.Errorf("log %v", names)
			}
		})
	}
}

func TestACancellationDuringTheCopyRemovesTheObject(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e, release := env.uploadHeld()
	env.append(event.Canceled{JobID: e.JobID})
	release()
	env.Settled(consumer)
	env.nothingStaged()
	env.checkKeys()
	if names := env.EventNames(env.bus, e.JobID); !slices.Equal(names, []event.Name{event.NameReceived, event.NameCanceled}) {
		t.Errorf("log %v", names)
	}
	if strings.Contains(env.Logged(), "recording stored") {
		t.Error("it claims to have stored a canceled recording")
	}
}

func TestACrashBetweenTheObjectAndItsEventIsRecovered(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	body := wav(100_044)
	e := env.stage(body)
	_, err := env.client.PutObject(env.Context(), env.bucket, key(e), bytes.NewReader(body), e.Size, minio.PutObjectOptions{
		ContentType: e.MediaType, UserMetadata: map[string]string{"Sha256": e.SHA256},
	})
	must(t, err)
	must(t, env.staging.Delete(env.Context(), e.JobID))
	env.accept(e)
	env.run(nil)
	stored := testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	if stored.Key != key(e) || stored.SHA256 != e.SHA256 || stored.Size != e.Size {
		t.Errorf("%+v", stored)
	}
	if got, _ := env.object(stored.Key); !bytes.Equal(got, body) {
		t.Error("the object differs")
	}
}

func TestBytesThatAreNeitherStagedNorStoredFailTheJob(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(env *env, e event.Received){
		"nothing is there": func(*env, event.Received) {},
		"the object is another's": func(env *env, e event.Received) {
			_, err := env.client.PutObject(env.Context(), env.bucket, key(e), strings.NewReader("x"), 1, minio.PutObjectOptions{})
			must(env.t, err)
		},
		"a chunk in the middle is missing": func(env *env, e event.Received) {
			_, err := env.staging.Put(env.Context(), e.JobID, bytes.NewReader(random(300<<10)))
			must(env.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			e := env.stage(random(1 << 20))
			must(t, env.staging.Delete(env.Context(), e.JobID))
			spoil(env, e)
			env.accept(e)
			env.run(nil)
			if failed := testkit.Await[event.Failed](env.Kit, env.bus, e.JobID); failed.Code != "staging-lost" || failed.Detail == "" || failed.Attempt != 0 {
				t.Errorf("%+v", failed)
			}
			env.Settled(consumer)
			env.nothingStaged()
			env.checkKeys()
		})
	}
}

func TestTwoReplicasStoreEachRecordingOnce(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	const jobs = 50
	env.run(nil)
	env.run(nil)
	uploads := make([]event.Received, jobs)
	var wg sync.WaitGroup
	for i := range uploads {
		uploads[i] = env.stage(wav(20_044 + 2*i))
	}
	for _, e := range uploads {
		wg.Go(func() { env.accept(e) })
	}
	wg.Wait()
	env.Settled(consumer)
	seen := map[string]int{}
	for _, m := range env.Messages(event.Jobs()) {
		if strings.HasSuffix(m.Subject, ".stored") {
			seen[m.Subject]++
		}
	}
	for _, e := range uploads {
		if n := seen[event.SubjectOf(e.JobID, event.NameStored)]; n != 1 {
			t.Errorf("stored %d times", n)
		}
	}
	if keys := env.keys(); len(keys) != jobs {
		t.Errorf("%d objects", len(keys))
	}
	env.nothingStaged()
}

func TestAnEventThatCannotBeReadFailsItsJobAndBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	job := env.NewJob()
	_, err := env.staging.Put(env.Context(), job, strings.NewReader("x"))
	must(t, err)
	_, err = env.JetStream().PublishMsg(env.Context(), &nats.Msg{
		Subject: env.Namespace().Subject(event.SubjectOf(job, event.NameReceived)), Data: []byte("\xff{"),
	})
	must(t, err)
	env.run(nil)
	well := env.upload(wav(1044))
	testkit.Await[event.Stored](env.Kit, env.bus, well.JobID)
	if failed := testkit.Await[event.Failed](env.Kit, env.bus, job); failed.Code != "unreadable-event" {
		t.Errorf("%+v", failed)
	}
	env.Settled(consumer)
	env.Settled(fetches)
	env.nothingStaged()
	var of []string // both consumers of the event received have published a dead letter
	for _, dead := range env.Messages(event.Dead()) {
		of = append(of, event.ParseDeadSubject(dead.Subject))
		if string(dead.Data) != "\xff{" {
			t.Errorf("dead letter %q", dead.Data)
		}
	}
	if slices.Sort(of); !slices.Equal(of, []string{fetches, consumer}) {
		t.Errorf("dead letters of %v", of)
	}
}

func TestTheFirstProgressOfACopyIsZeroBytes(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.upload(wav(1 << 20))
	env.run(nil)
	env.Settled(consumer)
	var published []event.Uploading
	for _, m := range env.Messages(event.Jobs()) {
		if m.Subject == event.Subject(event.Uploading{JobID: e.JobID}) {
			var u event.Uploading
			must(t, json.Unmarshal(m.Data, &u))
			published = append(published, u)
		}
	}
	if len(published) == 0 || published[0] != (event.Uploading{JobID: e.JobID, Size: e.Size}) {
		t.Errorf("published %+v", published)
	}
}

func TestAnUploadThatIsCanceledAfterItWasStoredKeepsItsObject(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.upload(wav(1044))
	env.run(nil)
	testkit.Await[event.Stored](env.Kit, env.bus, e.JobID)
	env.append(event.Canceled{JobID: e.JobID})
	env.Settled(consumer)
	env.HandleAgain(consumer)
	if keys := env.keys(); !slices.Equal(keys, []string{key(e)}) {
		t.Error(errors.New("the object is gone"))
	}
}
