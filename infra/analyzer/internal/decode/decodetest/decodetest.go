// Package decodetest provides a decoder and recordings for tests.
package decodetest

import (
	"os"
	"path/filepath"
	"testing"

	"sori.internal/infra/analyzer/internal/decode"
)

// New returns a decoder that is closed at the end of the test. The decoder program is built once for all tests on the
// machine. Settings that are zero get defaults: one process, 256 MiB, and recordings of at most a minute.
func New(t testing.TB, settings decode.Settings) *decode.Decoder {
	t.Helper()
	if settings.Processes == 0 {
		settings.Processes = 1
	}
	if settings.Memory == 0 {
		settings.Memory = 256 << 20
	}
	if settings.MaxSeconds == 0 {
		settings.MaxSeconds = 60
	}
	d := decode.New(settings)
	t.Cleanup(d.Close)
	return d
}

// File writes a recording to a temporary file, which the end of the test removes, and returns its Source.
func File(t testing.TB, data []byte) decode.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recording")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return decode.Source{Path: path, Size: int64(len(data))}
}
