package loadgen

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
)

func body(t *testing.T, a *Noise, n uint64) []byte {
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
			a := NewNoise(size, seed)
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
	a := NewNoise(5000, 7)
	f := a.Form(3)
	text, err := io.ReadAll(f.Body)
	if err != nil || int64(len(text)) != f.Length {
		t.Fatalf("%d bytes, told %d, %v", len(text), f.Length, err)
	}
	_, params, err := mime.ParseMediaType(f.ContentType)
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
