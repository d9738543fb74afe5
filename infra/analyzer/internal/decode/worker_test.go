package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sori.internal/shared/decoding"
)

// longWAV writes about an hour of silence to a WAV file, which takes a while to decode. Its header does not contain the
// length, so that ffmpeg must decode it.
func longWAV(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("testdata/s16.wav")
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("data"))
	head := append(data[:at:at], "data\xff\xff\xff\xff"...)
	path := filepath.Join(t.TempDir(), "long.wav")
	if err := os.WriteFile(path, head, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 3500*16000*2); err != nil { // the file is sparse and needs no disk space
		t.Fatal(err)
	}
	return path
}

func newDecoder(t *testing.T) *Decoder {
	t.Helper()
	d := New(Settings{Processes: 1, Memory: 256 << 20, MaxSeconds: 3600})
	t.Cleanup(d.Close)
	return d
}

func TestAProcessEndsItselfWhenARecordingTakesTooMuchTime(t *testing.T) {
	t.Parallel()
	d := newDecoder(t)
	w, err := d.pool.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.pool.Give(w, false)
	err = decoding.WriteRequest(w.In, decoding.Request{Path: longWAV(t), MaxSeconds: 3600, CPUSeconds: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	var end decoding.End
	for {
		kind, body, err := w.frames.Frame()
		if err != nil {
			t.Fatal(err)
		}
		if kind == decoding.TypeEnd {
			if err := json.Unmarshal(body, &end); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if end.Code != decoding.CodeLimit {
		t.Errorf("ended with %+v", end)
	}
	<-w.Exited()
}

func TestARecordingFailsWithItsProcessAndTheNextGetsAnother(t *testing.T) {
	t.Parallel()
	d := newDecoder(t)
	path := longWAV(t)
	for name, c := range map[string]struct {
		spoil func(*remote)
		code  string
	}{
		"killed":  {func(r *remote) { r.worker.Kill() }, decoding.CodeCrashed},
		"hanging": {func(r *remote) { r.left = time.Nanosecond }, decoding.CodeLimit},
	} {
		s, err := d.Open(t.Context(), Source{Path: path, Size: 1 << 20})
		if err != nil {
			t.Fatal(name, err)
		}
		c.spoil(s.samples.(*remote))
		block := make([]float32, 4096)
		for err == nil {
			_, err = s.Read(block)
		}
		s.Close()
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
		s, err = d.Open(t.Context(), Source{Path: "testdata/mono.ogg", Size: 4054})
		if err != nil {
			t.Fatalf("after one was %s: %v", name, err)
		}
		for err == nil {
			_, err = s.Read(block)
		}
		s.Close()
		if !errors.Is(err, io.EOF) {
			t.Errorf("after one was %s: %v", name, err)
		}
	}
}

// A decoder process may die while it is idle. The next recording must be decoded by a new process.
func TestAProcessThatDiedIdleIsReplaced(t *testing.T) {
	t.Parallel()
	d := newDecoder(t)
	for range 2 {
		s, err := d.Open(t.Context(), Source{Path: "testdata/mono.ogg", Size: 4054})
		if err != nil {
			t.Fatal(err)
		}
		block := make([]float32, 4096)
		for err == nil {
			_, err = s.Read(block)
		}
		if s.Close(); !errors.Is(err, io.EOF) || len(d.pool.Idle()) != 1 {
			t.Fatalf("%v, %d idle processes", err, len(d.pool.Idle()))
		}
		d.pool.Idle()[0].Kill() // the decoder notices the death before the next request, or when the request fails
	}
}
