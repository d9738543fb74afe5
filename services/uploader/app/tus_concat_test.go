package app_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/uploadrequest"
)

// sendPartials sends a recording as two partial uploads and returns their paths.
func (c caller) sendPartials(recording []byte) []string {
	c.env.t.Helper()
	var paths []string
	half := len(recording) / 2
	for _, piece := range [][]byte{recording[:half], recording[half:]} {
		at := c.create(len(piece), fields{"Upload-Concat": "partial", uploadrequest.Header: ""})
		if got := c.patch(at, 0, piece, nil); got.status != http.StatusNoContent {
			c.env.t.Fatalf("partial: %+v", got)
		}
		paths = append(paths, at)
	}
	return paths
}

// concatenate concatenates partial uploads for a token.
func (c caller) concatenate(token int64, paths ...string) reply {
	c.env.t.Helper()
	description := described(c.env.t, uploadrequest.Description{TokenID: token, FileName: "긴 녹음.wav"}).Get(uploadrequest.Header)
	return c.tus("POST", "/uploads/", fields{"Upload-Concat": "final;" + strings.Join(paths, " "), uploadrequest.Header: description}, nil)
}

// A client that has lost the answer to its concatenation starts its upload again: it asks for the
// offset of each partial upload, and repeats the concatenation (tus-js-client).
func TestARepeatedConcatenationLeadsToTheJobOfTheFirst(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	all := env.callers(nil, "mina", "jun")
	mina, jun := all[0], all[1]
	recording := wav(12 << 20)
	parts := mina.sendPartials(recording)
	lost := mina.concatenate(7, parts...)
	if lost.status != http.StatusCreated || lost.header.Get("Sori-Job") == "" {
		t.Fatalf("the first: %+v", lost)
	}
	for _, at := range parts {
		head := mina.tus("HEAD", at, nil, nil)
		if half := strconv.Itoa(len(recording) / 2); head.header.Get("Upload-Offset") != half || head.header.Get("Upload-Length") != half || head.header.Get("Upload-Concat") != "partial" {
			t.Errorf("HEAD of a partial upload: %+v", head)
		}
	}
	if open, _ := sweep(env, time.Now()); open != 0 {
		t.Errorf("%v uploads are counted", open)
	}
	again := mina.concatenate(7, parts...)
	if again.status != http.StatusCreated || again.header.Get("Sori-Job") != lost.header.Get("Sori-Job") || again.header.Get("Location") != lost.header.Get("Location") {
		t.Errorf("the second: %+v", again)
	}
	env.checkKeys(env.checkArrived(lost.header.Get("Location"), recording).Key)
	swapped := slices.Clone(parts)
	slices.Reverse(swapped)
	for name, got := range map[string]reply{"in another order": mina.concatenate(7, swapped...), "for another token": mina.concatenate(8, parts...), "one of them": mina.concatenate(7, parts[0])} {
		if got.status != http.StatusBadRequest || got.code != "malformed-request" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := jun.concatenate(7, parts...); got.status != http.StatusNotFound {
		t.Errorf("by another: %+v", got)
	}
	env.append(event.Erased{JobID: lost.header.Get("Sori-Job")})
	env.Settled(erasures)
	if got := mina.concatenate(7, parts...); got.status != http.StatusBadRequest {
		t.Errorf("after the job was erased: %+v", got)
	}
	sweep(env, time.Now().Add(25*time.Hour))
	if got := mina.concatenate(7, parts...); got.status != http.StatusNotFound || got.code != "upload-not-found" {
		t.Errorf("after the expiry: %+v", got)
	}
	env.checkKeys()
	env.checkNothingLeft()
}

// A short request that names one upload hundreds of times would cost gigabytes.
func TestAPartialUploadCannotBeNamedTwice(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(1 << 20)
	parts := mina.sendPartials(recording)
	if got := mina.concatenate(7, parts[0], parts[1], parts[1]); got.status != http.StatusBadRequest || got.code != "malformed-request" {
		t.Errorf("one of them twice: %+v", got)
	}
	got := mina.concatenate(7, parts...)
	env.checkArrived(got.header.Get("Location"), recording)
}

func TestAConcatenationThatIsRepeatedWhileItRunsGivesOneJob(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	one, two := env.callers(map[string]string{"S3_ENDPOINT": proxy.URL}, "mina")[0], env.callers(nil, "mina")[0]
	for name, c := range map[string]struct {
		forwarded int64 // bytes that the first request sends to S3 before the second begins
		status    int   // status of the answer to the first request
	}{
		"before it has begun":      {0, http.StatusCreated},
		"while it sends the bytes": {1 << 20, http.StatusConflict},
	} {
		recording := wav(6 << 20) // S3 cannot copy the halves, since they are too small for parts
		parts := two.sendPartials(recording)
		held := proxy.Hold(c.forwarded)
		first := make(chan reply, 1)
		go func() { first <- one.concatenate(7, parts...) }()
		<-held
		got := two.concatenate(7, parts...)
		job := got.header.Get("Sori-Job")
		if got.status != http.StatusCreated || job == "" {
			t.Fatalf("%s: the second: %+v", name, got)
		}
		proxy.Restore()
		if old := <-first; old.status != c.status || old.status == http.StatusCreated && old.header.Get("Sori-Job") != job {
			t.Errorf("%s: the first: %+v", name, old)
		}
		for _, at := range parts {
			two.tus("DELETE", at, nil, nil)
		}
		env.checkArrived(got.header.Get("Location"), recording)
		if names := env.EventNames(env.bus, job); !slices.Equal(names, []event.Name{event.NameReceived, event.NameStored}) {
			t.Errorf("%s: the log is %v", name, names)
		}
		env.checkNothingLeft()
	}
}

func TestAConcatenationIsRepeatedAfterItHasFailed(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	mina := env.callers(map[string]string{"S3_ENDPOINT": proxy.URL, "S3_STALL_TIMEOUT": "1s", "MAX_UNFINISHED_UPLOADS": "3"}, "mina")[0]
	recording := wav(6 << 20) // S3 cannot copy the halves, so their bytes are sent again
	parts := mina.sendPartials(recording)
	for range 2 { // however often it fails, it counts as one unfinished upload
		held := proxy.Hold(1 << 20)
		failed := make(chan reply, 1)
		go func() { failed <- mina.concatenate(7, parts...) }()
		<-held
		proxy.Cut()
		if got := <-failed; got.status != http.StatusServiceUnavailable {
			t.Errorf("while S3 is away: %+v", got)
		}
		proxy.Restore()
	}
	got := mina.concatenate(7, parts...)
	if got.status != http.StatusCreated || got.header.Get("Sori-Job") == "" {
		t.Fatalf("repeated: %+v", got)
	}
	for _, at := range parts {
		mina.tus("DELETE", at, nil, nil)
	}
	env.checkBecame(got.header.Get("Location"), recording)
}
