package load

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func body(t *testing.T, a *Audio, n uint64) []byte {
	t.Helper()
	all, err := io.ReadAll(a.Body(n))
	if err != nil {
		t.Fatal(err)
	}

	return all
}

func TestARecordingIsAWaveFileOfItsSizeAndLikeNoOther(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, size := range []int64{60, 100_000, 3<<20 + 2} {
		for seed := range uint64(2) {
			a := NewAudio(size, seed)
			for n := range uint64(2) {
				b := body(t, a, n)
				if int64(len(b)) != size || a.Size() != size {
					t.Fatalf("%d bytes, want %d", len(b), size)
				}
				if string(b[:4]) != "RIFF" || string(b[8:16]) != "WAVEfmt " || string(b[36:40]) != "data" ||
					binary.LittleEndian.Uint32(b[4:]) != uint32(size-8) || binary.LittleEndian.Uint32(b[40:]) != uint32(size-44) {
					t.Fatalf("no WAV header: %x", b[:44])
				}
				sum := sha256.Sum256(b)
				told, err := a.Sum(n)
				if err != nil || told != hex.EncodeToString(sum[:]) || seen[told] {
					t.Fatalf("sum %s (%v), seen %v", told, err, seen[told])
				}
				seen[told] = true
			}
		}
	}
}

func TestAFormSaysItsLengthAndCarriesTheRecording(t *testing.T) {
	t.Parallel()
	a := NewAudio(5000, 7)
	form, length, contentType := a.form(3)
	text, err := io.ReadAll(form)
	if err != nil || int64(len(text)) != length {
		t.Fatalf("%d bytes, told %d, %v", len(text), length, err)
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	part, err := multipart.NewReader(strings.NewReader(string(text)), params["boundary"]).NextPart()
	if err != nil || part.FormName() != "file" || part.FileName() == "" {
		t.Fatalf("%v %v", part, err)
	}
	if got, err := io.ReadAll(part); err != nil || string(got) != string(body(t, a, 3)) {
		t.Fatalf("another recording arrived, %v", err)
	}
}

func TestAStreamIsReadToTheFrameThatEndsItsJob(t *testing.T) {
	t.Parallel()
	const stream = "retry: 2000\nid: 1\ndata: {\"job_id\":\"a\",\"status\":\"processing\",\"progress\":10}\n\n: ping\n\n" +
		"id: 2\ndata: {\"job_id\":\"a\",\"status\":\"completed\",\"progress\":100}\n\n"
	var seen []Frame
	if err := frames(strings.NewReader(stream+"data: never read"), func(f Frame) { seen = append(seen, f) }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0].Ended() || seen[0].Progress != 10 || !seen[1].Ended() || seen[1].Status != Completed || seen[1].At.IsZero() {
		t.Errorf("%+v", seen)
	}
	if err := frames(strings.NewReader(stream[:40]), func(Frame) {}); !errors.Is(err, ErrNoEnd) {
		t.Errorf("a stream cut short: %v", err)
	}
}

func TestAHolderAcceptsAndFinishesWhenTold(t *testing.T) {
	t.Parallel()
	h, err := Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	called := make(chan string, 1)
	dispatcher := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		called <- r.URL.RawQuery + " " + string(text)
	}))
	defer dispatcher.Close()
	for range 2 { // a repetition is accepted as well
		resp, err := http.PostForm(h.URL(), url.Values{"job_id": {"j"}, "webhook_url": {dispatcher.URL + "/?sig=s"}})
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	}
	finish, err := h.Held(t.Context(), "j")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-called:
		t.Fatalf("it called back before it was told: %s", got)
	default:
	}
	if err := finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-called; !strings.HasPrefix(got, "sig=s {") || !strings.Contains(got, "analysis_results") {
		t.Error(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Held(ctx, "another"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestEndingsAreHeardEarlyLateAndNotTwice(t *testing.T) {
	t.Parallel()
	e := &Endings{ended: map[string]Frame{}, waiting: map[string]*waiter{}}
	first := Frame{JobID: "a", Status: Completed, At: time.Unix(1, 0)}
	e.add(first) // before anybody waits
	waits := make(chan []Frame)
	go func() {
		found, err := e.Wait(context.Background(), nil, "a", "b")
		if err != nil {
			t.Error(err)
		}
		waits <- found
	}()
	e.add(Frame{JobID: "a", Status: "failed", At: time.Unix(2, 0)})
	e.add(Frame{JobID: "b", Status: Completed, At: time.Unix(3, 0)})
	found := <-waits
	if len(found) != 2 || found[0] != first || found[1].JobID != "b" {
		t.Errorf("%+v", found)
	}
	if len(e.ended) > 1 || len(e.waiting) != 0 {
		t.Errorf("something is kept: %v %v", e.ended, e.waiting)
	}
}
