// Package tone makes recordings.
package tone

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"
)

// WAV makes a WAV file with a sine of the given length.
func WAV(hz float64, length time.Duration) []byte {
	const rate = 16000
	samples := int(length.Seconds() * rate)
	var b bytes.Buffer
	b.WriteString("RIFF")
	_ = binary.Write(&b, binary.LittleEndian, uint32(36+2*samples))
	b.WriteString("WAVEfmt ")
	_ = binary.Write(&b, binary.LittleEndian, struct {
		Size                uint32
		Format, Channels    uint16
		Rate, BytesPerSec   uint32
		BlockAlign, BitsPer uint16
	}{16, 1, 1, rate, 2 * rate, 2, 16})
	b.WriteString("data")
	_ = binary.Write(&b, binary.LittleEndian, uint32(2*samples))
	for i := range samples {
		_ = binary.Write(&b, binary.LittleEndian, int16(8000*math.Sin(2*math.Pi*hz*float64(i)/rate)))
	}
	return b.Bytes()
}
