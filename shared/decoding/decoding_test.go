package decoding_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"sori.internal/shared/decoding"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	var pipe bytes.Buffer
	w := decoding.NewWriter(&pipe)
	header := decoding.Header{Container: "ogg", Codec: "opus", SampleRate: 48000, Channels: 2, Mask: 3}
	err := errors.Join(w.Frame(decoding.TypeReady, nil), w.JSON(decoding.TypeHeader, header),
		w.Frame(decoding.TypeSamples, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}))
	if err != nil {
		t.Fatal(err)
	}
	r := decoding.NewReader(&pipe)
	if kind, body, err := r.Frame(); kind != decoding.TypeReady || len(body) != 0 || err != nil {
		t.Errorf("%c %v %v", kind, body, err)
	}
	var got decoding.Header
	kind, body, err := r.Frame()
	if err != nil || kind != decoding.TypeHeader || json.Unmarshal(body, &got) != nil || got != header || got.Check() != nil {
		t.Errorf("%c %+v %v", kind, got, err)
	}
	samples := make([]float32, 4)
	_, body, err = r.Frame()
	if n := decoding.Samples(samples, body); err != nil || n != 2 || samples[0] != 1 || samples[1] != -2 {
		t.Errorf("%v %v", samples, err)
	}
	if _, _, err := r.Frame(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestBrokenFramesAreErrors(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"too long": "S\xff\xff\xff\xff", "just too long": "S\x01\x00\x01\x00", "cut in its head": "S\x01", "cut in its body": "S\x02\x00\x00\x00a",
	} {
		if _, _, err := decoding.NewReader(strings.NewReader(data)).Frame(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := decoding.NewWriter(io.Discard).Frame(decoding.TypeSamples, make([]byte, decoding.MaxFrame+1)); !errors.Is(err, decoding.ErrProtocol) {
		t.Errorf("writing: %v", err)
	}
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	var line bytes.Buffer
	want := decoding.Request{Path: "/a \n b", Format: "mp3", MaxSeconds: 3, CPUSeconds: 1.5}
	if err := decoding.WriteRequest(&line, want); err != nil || bytes.Count(line.Bytes(), []byte("\n")) != 1 {
		t.Fatal(err, line.String())
	}
	if got, err := decoding.ParseRequest(line.Bytes()); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, line := range []string{
		"", "null", "{}", `{"path":"a"}`, `{"path":"a","max_seconds":-1,"cpu_seconds":1}`, `{"path":"a","max_seconds":1e9,"cpu_seconds":1}`,
		`{"path":"` + strings.Repeat("a", decoding.MaxRequest) + `","max_seconds":1,"cpu_seconds":1}`,
	} {
		if _, err := decoding.ParseRequest([]byte(line)); !errors.Is(err, decoding.ErrProtocol) {
			t.Errorf("%.60s: %v", line, err)
		}
	}
}

func TestImpossibleDimensionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, h := range []decoding.Header{
		{SampleRate: 48000}, {SampleRate: 48000, Channels: 33}, {SampleRate: 0, Channels: 1}, {SampleRate: math.MaxInt32, Channels: 1}, {SampleRate: -1, Channels: -1}, {SampleRate: 768000, Channels: 3},
	} {
		if h.Check() == nil {
			t.Errorf("%+v was taken", h)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("R\x00\x00\x00\x00S\x04\x00\x00\x00abcd"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := decoding.NewReader(bytes.NewReader(data))
		for {
			_, body, err := r.Frame()
			if err != nil {
				return
			}
			if len(body) > decoding.MaxFrame {
				t.Fatalf("a body of %d bytes", len(body))
			}
		}
	})
}
