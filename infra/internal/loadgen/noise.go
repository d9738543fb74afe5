package loadgen

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"

	"sori.internal/infra/internal/client"
)

const (
	waveHeader = 44      // length in bytes of a WAV header with only a format chunk
	serial     = 16      // length in bytes of the seed and the number at the start of the samples, which make each recording unique
	block      = 1 << 20 // length in bytes of the noise, which longer recordings repeat
	boundary   = "sori-bench-7f3c9a51e0d84b26"
)

// Noise generates recordings of one size: 16 bit mono WAV files of noise, each with different content.
// All recordings share one block of noise, so that an upload costs the load generator almost no memory.
type Noise struct {
	size  int64
	seed  uint64
	noise []byte
}

// NewNoise returns a generator of recordings whose length, with the header, is the parameter size in
// bytes. Generators with different seeds generate different recordings.
func NewNoise(size int64, seed uint64) *Noise {
	size = max(size, waveHeader+serial) &^ 1 // whole samples
	noise := make([]byte, min(size, block))
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(noise) // never fails
	return &Noise{size: size, seed: seed, noise: noise}
}

// Size returns the length of a recording in bytes.
func (a *Noise) Size() int64 { return a.size }

// Body returns the n-th recording.
func (a *Noise) Body(n uint64) io.Reader {
	head := make([]byte, 0, waveHeader+serial)
	head = appendHeader(head, int(a.size)-waveHeader)
	head = binary.LittleEndian.AppendUint64(head, a.seed)
	head = binary.LittleEndian.AppendUint64(head, n)
	parts := []io.Reader{bytes.NewReader(head)}
	for rest := a.size - int64(len(head)); rest > 0; rest -= int64(len(a.noise)) {
		parts = append(parts, bytes.NewReader(a.noise[:min(rest, int64(len(a.noise)))]))
	}
	return io.MultiReader(parts...)
}

// Sum returns the SHA-256 of the n-th recording, in hexadecimal.
func (a *Noise) Sum(n uint64) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, a.Body(n)); err != nil {
		return "", fmt.Errorf("sum up a recording: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Form returns the multipart form for an upload of the n-th recording.
func (a *Noise) Form(n uint64) client.Form {
	head := fmt.Sprintf("--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bench-%d.wav\"\r\nContent-Type: audio/wav\r\n\r\n", boundary, n)
	tail := "\r\n--" + boundary + "--\r\n"
	return client.Form{
		Body:        io.MultiReader(bytes.NewReader([]byte(head)), a.Body(n), bytes.NewReader([]byte(tail))),
		Length:      int64(len(head)) + a.size + int64(len(tail)),
		ContentType: "multipart/form-data; boundary=" + boundary,
	}
}
