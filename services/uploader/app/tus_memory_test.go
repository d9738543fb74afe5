package app_test

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"testing"

	"sori.internal/shared/testkit"
)

// slowUpload is an upload whose client has sent some bytes and then pauses.
type slowUpload struct {
	at        string
	feed      *io.PipeWriter
	answered  chan reply
	recording []byte
	sent      int
}

func (c caller) slowly(recording []byte, sent int, header fields) *slowUpload {
	c.env.t.Helper()
	body, feed := io.Pipe()
	u := &slowUpload{at: c.create(len(recording), nil), feed: feed, answered: make(chan reply, 1), recording: recording, sent: sent}
	all := fields{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
	maps.Copy(all, header)
	go func() {
		got, _ := c.try("PATCH", u.at, all, body)
		u.answered <- got
	}()
	_, err := feed.Write(recording[:sent])
	must(c.env.t, err)
	return u
}

// There are two buffers of 5 MiB. Four clients each send less than that and pause, one of them after
// its last byte. They must not block a fifth upload.
func TestSlowUploadsLeaveTheMemoryToOthers(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	mina := env.callers(map[string]string{"RESUMABLE_MEMORY": "1"}, "mina")[0]
	whole := sha1.Sum(wav(7 << 20))
	slow := []*slowUpload{
		mina.slowly(wav(6<<20), 1<<20, nil),
		mina.slowly(wav(8<<20), 2<<20, nil),
		mina.slowly(wav(7<<20), 3<<20, fields{"Upload-Checksum": "sha1 " + base64.StdEncoding.EncodeToString(whole[:])}),
		mina.slowly(wav(1<<20), 1<<20, nil),
	}
	recording := wav(12<<20 + 5)
	at := mina.create(len(recording), nil)
	testkit.Eventually(t, func() error { // a request may be refused with 503 after it has waited for a buffer
		from := mina.offset(at)
		if got := mina.patch(at, from, recording[from:], nil); got.status != http.StatusNoContent {
			return fmt.Errorf("continued at %d: %+v", from, got)
		}
		return nil
	})
	for _, u := range slow {
		select {
		case got := <-u.answered:
			t.Fatalf("a slow upload was answered: %+v", got)
		default:
		}
	}
	// A paused upload commits its bytes when it gives up its buffer. With a checksum the bytes are
	// not committed, since the checksum is not verified yet.
	testkit.Eventually(t, func() error {
		if n := mina.offset(slow[0].at) + mina.offset(slow[1].at); n == 0 {
			return fmt.Errorf("the slow uploads are at %d", n)
		}
		return nil
	})
	for name, u := range map[string]*slowUpload{"before its checksum is known": slow[2], "before the end of its body": slow[3]} {
		if n := mina.offset(u.at); n != 0 {
			t.Errorf("%s, the upload is at %d", name, n)
		}
	}
	for _, u := range slow {
		go func() {
			_, _ = u.feed.Write(u.recording[u.sent:]) // an error would show in the answer
			_ = u.feed.Close()
		}()
	}
	for _, u := range slow {
		if got := <-u.answered; got.status != http.StatusNoContent {
			t.Errorf("a slow upload ended with %+v", got)
		}
	}
	for _, u := range append(slow, &slowUpload{at: at, recording: recording}) {
		env.checkArrived(u.at, u.recording)
	}
	env.checkNothingLeft()
	if n := len(env.keys()); n != len(slow)+1 {
		t.Errorf("in the bucket: %v", env.keys())
	}
}
