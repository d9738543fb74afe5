package app_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"sori.internal/services/uploader/internal/resumable"
	"sori.internal/services/uploader/internal/uploads"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

func TestTwoWritersOfAnUploadDoNotMix(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	one, two := env.callers(nil, "mina")[0], env.callers(nil, "mina")[0]
	first := wav(16 << 20)
	second := bytes.Clone(first)
	for i := 44; i < len(second); i++ {
		second[i] ^= 0xff
	}
	for range 2 {
		at := one.create(len(first), nil)
		var replies [2]reply
		var both sync.WaitGroup
		both.Go(func() { replies[0] = one.patch(at, 0, first, nil) })
		both.Go(func() { replies[1] = two.patch(at, 0, second, nil) })
		both.Wait()
		won := first
		if replies[1].status == http.StatusNoContent {
			won, replies[0], replies[1] = second, replies[1], replies[0]
		}
		if replies[0].status != http.StatusNoContent || replies[1].status != http.StatusConflict {
			t.Fatalf("the winner: %+v, the other: %+v", replies[0], replies[1])
		}
		stored := testkit.Await[event.Stored](env.Kit, env.bus, jobAt(at))
		if stored.SHA256 != sumOf(won) {
			t.Errorf("the recording is not that of the winner")
		}
	}
	env.checkNothingLeft()
}

// Three clients send the same recording to one upload. Each appends pieces of random sizes at the
// offset that the server has returned to it. The upload must become one job with the recording.
func TestClientsOfAnUploadThatTakeTurnsFinishIt(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	clients := env.callers(nil, "mina", "mina", "mina")
	recording := wav(6 << 20)
	at := clients[0].create(len(recording), nil)
	var sending sync.WaitGroup
	for _, c := range clients {
		sending.Go(func() {
			for {
				got := c.tus("HEAD", at, nil, nil)
				from, err := strconv.Atoi(got.header.Get("Upload-Offset"))
				if got.status != http.StatusOK || err != nil {
					t.Errorf("HEAD: %+v", got)
					return
				}
				if from == len(recording) {
					if got.header.Get("Sori-Job") == "" {
						t.Errorf("no job: %+v", got)
					}
					return
				}
				to := min(len(recording), from+1+rand.IntN(3<<20))
				got = c.patch(at, from, recording[from:to], nil)
				if !slices.Contains([]int{http.StatusNoContent, http.StatusConflict, http.StatusServiceUnavailable}, got.status) {
					t.Errorf("PATCH: %+v", got)
					return
				}
			}
		})
	}
	sending.Wait()
	env.checkBecame(at, recording)
}

func TestAnUploadIsContinuedWhileAnOlderRequestStillWrites(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	one, two := env.callers(nil, "mina")[0], env.callers(nil, "mina")[0]
	recording := wav(12 << 20)
	at := one.create(len(recording), nil)
	body, feed := io.Pipe()
	old := make(chan reply, 1)
	go func() {
		got, _ := one.try("PATCH", at, fields{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}, body)
		old <- got
	}()
	_, err := feed.Write(recording[:6<<20]) // then the client pauses, with its connection open
	must(t, err)
	testkit.Eventually(t, func() error {
		if n := two.offset(at); n != 5<<20 {
			return fmt.Errorf("the offset is %d", n)
		}
		return nil
	})
	if got := two.patch(at, 5<<20, recording[5<<20:10<<20], nil); got.status != http.StatusNoContent {
		t.Fatalf("the new request: %+v", got)
	}
	go func() { _, _ = feed.Write(make([]byte, 6<<20)); _ = feed.Close() }() // other bytes, which must not be committed
	if got := <-old; got.status != http.StatusConflict || got.code != "upload-superseded" {
		t.Errorf("the old request: %+v", got)
	}
	if got := two.patch(at, 10<<20, recording[10<<20:], nil); got.status != http.StatusNoContent {
		t.Fatalf("the end: %+v", got)
	}
	env.checkBecame(at, recording)
}

func TestAnUploadGoesOnAfterItsReplicaIsLost(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	lost := ready(t, env.Kit, map[string]string{"SHUTDOWN_GRACE": "1ms"})
	one, two := caller{env, lost.URL, "mina"}, env.callers(nil, "mina")[0]
	recording := wav(12 << 20)
	at := one.create(len(recording), nil)
	body, feed := io.Pipe()
	broken := make(chan error, 1)
	go func() {
		_, err := one.try("PATCH", at, fields{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}, body)
		broken <- err
	}()
	_, err := feed.Write(recording[:7<<20])
	must(t, err)
	testkit.Eventually(t, func() error {
		if n := two.offset(at); n != 5<<20 {
			return fmt.Errorf("the offset is %d", n)
		}
		return nil
	})
	_ = lost.Stop()
	_ = feed.Close() // without this the client would not return from the request
	<-broken
	testkit.Eventually(t, func() error { // repeat, since the stopped replica may still commit bytes once
		from := two.offset(at)
		if from < 5<<20 {
			t.Fatalf("the offset is %d", from)
		}
		if got := two.patch(at, from, recording[from:], nil); got.status != http.StatusNoContent {
			return fmt.Errorf("continued at %d: %+v", from, got)
		}
		return nil
	})
	env.checkBecame(at, recording)
}

func TestAnUploadGoesOnAfterItsClientIsLost(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(6 << 20)
	at := mina.create(len(recording), nil)
	_, err := mina.try("PATCH", at, fields{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
		io.MultiReader(bytes.NewReader(recording[:1<<20]), brokenBody{}))
	if err == nil {
		t.Fatal("the request did not break")
	}
	testkit.Eventually(t, func() error { // the bytes that arrived before the connection broke must be committed
		if n := mina.offset(at); n == 0 || n > 1<<20 {
			return fmt.Errorf("the offset is %d", n)
		}
		return nil
	})
	from := mina.offset(at)
	if got := mina.patch(at, from, recording[from:], nil); got.status != http.StatusNoContent {
		t.Fatalf("continued: %+v", got)
	}
	env.checkBecame(at, recording)
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestWritersAreLimited(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(map[string]string{"MAX_RESUMABLE_WRITERS": "1"}, "mina")[0]
	recording := wav(12 << 20)
	at, other := mina.create(len(recording), nil), mina.create(10, nil)
	body, feed := io.Pipe()
	done := make(chan reply, 1)
	go func() {
		got, _ := mina.try("PATCH", at, fields{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}, body)
		done <- got
	}()
	_, err := feed.Write(recording[:6<<20]) // more than a part, so the request is running and holds the only slot
	must(t, err)
	testkit.Eventually(t, func() error {
		if n := mina.offset(at); n != 5<<20 {
			return fmt.Errorf("the offset is %d", n)
		}
		return nil
	})
	if got := mina.patch(other, 0, make([]byte, 10), nil); got.status != http.StatusServiceUnavailable || got.code != "busy" || got.header.Get("Retry-After") == "" {
		t.Errorf("the second: %+v", got)
	}
	_, err = feed.Write(recording[6<<20:])
	must(t, err)
	must(t, feed.Close())
	if got := <-done; got.status != http.StatusNoContent {
		t.Errorf("the first: %+v", got)
	}
	testkit.Await[event.Stored](env.Kit, env.bus, jobAt(at))
}

func TestARequestIsSupersededByOneThatCompletesTheUpload(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	proxy := env.Proxy(env.Settings(nil)["S3_ENDPOINT"])
	one, two := env.callers(map[string]string{"S3_ENDPOINT": proxy.URL}, "mina")[0], env.callers(nil, "mina")[0]
	recording := wav(1 << 20)
	at := one.create(len(recording), nil)
	held := proxy.Hold(0)
	old := make(chan reply, 1)
	go func() { old <- one.patch(at, 0, recording, nil) }()
	<-held // the old request is sending its part to S3
	if got := two.patch(at, 0, recording, nil); got.status != http.StatusNoContent {
		t.Fatalf("the new request: %+v", got)
	}
	proxy.Restore()
	if got := <-old; got.status != http.StatusConflict || got.code != "upload-superseded" {
		t.Errorf("the old request: %+v", got)
	}
	env.checkBecame(at, recording)
}

// unacknowledged stores all records, but returns an error for one of them, as if the
// acknowledgement was lost.
type unacknowledged struct {
	*uploads.Store
	saves, lost int
}

// Save implements resumable.Records.
func (r *unacknowledged) Save(ctx context.Context, u resumable.Upload, last uint64) (uint64, error) {
	version, err := r.Store.Save(ctx, u, last)
	if r.saves++; err == nil && r.saves == r.lost {
		return 0, fault.Unreachable("message bus", context.DeadlineExceeded)
	}
	return version, err
}

func TestBytesWhoseRecordIsNotAcknowledgedAreNotLost(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(nil, "mina")[0]
	recording := wav(6 << 20)
	at := mina.create(len(recording), nil)
	replica := env.core()
	replica.Records = &unacknowledged{Store: uploads.New(env.bus), lost: 2} // lost: the save that commits the bytes
	s, err := replica.Find(env.Context(), "mina", jobAt(at))
	must(t, err)
	if _, err := replica.Write(env.Context(), s, bytes.NewReader(recording[:1000]), nil); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("the request ends with %v", err)
	}
	if n := mina.offset(at); n != 1000 {
		t.Fatalf("the offset is %d", n)
	}
	if got := mina.patch(at, 1000, recording[1000:], nil); got.status != http.StatusNoContent {
		t.Fatalf("continued: %+v", got)
	}
	env.checkBecame(at, recording)
}
