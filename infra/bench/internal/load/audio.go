// Package load is the client side of a measurement: recordings to upload, uploads, progress streams, and an analysis server
// that holds its answers back until it is told.
//
// It shares the machine with what it measures, so it is lean: recordings are made of one block of noise that all share, and
// nothing is held in memory per upload but a head of some hundred bytes.
package load

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
)

const (
	waveHeader = 44      // bytes of a WAV header with nothing but the format
	serial     = 16      // bytes that make each recording another one: samples like all others
	block      = 1 << 20 // of noise, repeated in longer recordings
	sampleRate = 16000
	boundary   = "sori-bench-7f3c9a51e0d84b26"
)

// Audio makes recordings of one size: 16 bit mono WAV files of noise, no two alike.
type Audio struct {
	size  int64
	seed  uint64
	noise []byte
}

// NewAudio makes recordings of size bytes, the header included. Makers of different seeds make different recordings.
func NewAudio(size int64, seed uint64) *Audio {
	size = max(size, waveHeader+serial) &^ 1 // whole samples
	noise := make([]byte, min(size, block))
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(noise) // never fails

	return &Audio{size: size, seed: seed, noise: noise}
}

// Size is the length of a recording in bytes.
func (a *Audio) Size() int64 { return a.size }

// Body returns the n-th recording.
func (a *Audio) Body(n uint64) io.Reader {
	head := make([]byte, 0, waveHeader+serial)
	head = append(head, "RIFF"...)
	head = binary.LittleEndian.AppendUint32(head, uint32(a.size-8))
	head = append(head, "WAVEfmt "...)
	head = binary.LittleEndian.AppendUint32(head, 16)
	head = binary.LittleEndian.AppendUint16(head, 1) // PCM
	head = binary.LittleEndian.AppendUint16(head, 1) // channel
	head = binary.LittleEndian.AppendUint32(head, sampleRate)
	head = binary.LittleEndian.AppendUint32(head, sampleRate*2)
	head = binary.LittleEndian.AppendUint16(head, 2)
	head = binary.LittleEndian.AppendUint16(head, 16)
	head = append(head, "data"...)
	head = binary.LittleEndian.AppendUint32(head, uint32(a.size-waveHeader))
	head = binary.LittleEndian.AppendUint64(head, a.seed)
	head = binary.LittleEndian.AppendUint64(head, n)
	parts := []io.Reader{bytes.NewReader(head)}
	for rest := a.size - int64(len(head)); rest > 0; rest -= int64(len(a.noise)) {
		parts = append(parts, bytes.NewReader(a.noise[:min(rest, int64(len(a.noise)))]))
	}

	return io.MultiReader(parts...)
}

// Sum is the SHA-256 of the n-th recording, in hexadecimal.
func (a *Audio) Sum(n uint64) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, a.Body(n)); err != nil {
		return "", fmt.Errorf("sum up a recording: %w", err)
	}

	return hex.EncodeToString(sum.Sum(nil)), nil
}

// form returns the n-th recording as a multipart body, with its length and type.
func (a *Audio) form(n uint64) (body io.Reader, length int64, contentType string) {
	head := fmt.Sprintf("--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bench-%d.wav\"\r\nContent-Type: audio/wav\r\n\r\n", boundary, n)
	tail := "\r\n--" + boundary + "--\r\n"
	body = io.MultiReader(bytes.NewReader([]byte(head)), a.Body(n), bytes.NewReader([]byte(tail)))

	return body, int64(len(head)) + a.size + int64(len(tail)), "multipart/form-data; boundary=" + boundary
}
