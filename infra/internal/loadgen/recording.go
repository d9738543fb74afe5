package loadgen

import (
	"bytes"
	"encoding/binary"
	"math"
	"mime/multipart"
	"time"

	"sori.internal/infra/internal/client"
)

// Tone returns a WAV file with a sine wave of the given frequency and duration.
func Tone(hz float64, length time.Duration) []byte {
	samples := int(length.Seconds() * sampleRate)
	b := appendHeader(make([]byte, 0, waveHeader+2*samples), 2*samples)
	for i := range samples {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(8000*math.Sin(2*math.Pi*hz*float64(i)/sampleRate))))
	}
	return b
}

const sampleRate = 16000

// appendHeader appends the header of a WAV file with 16 bit mono samples. The parameter bytes is the length of the samples.
func appendHeader(h []byte, bytes int) []byte {
	h = append(h, "RIFF"...)
	h = binary.LittleEndian.AppendUint32(h, uint32(waveHeader-8+bytes))
	h = append(h, "WAVEfmt "...)
	h = binary.LittleEndian.AppendUint32(h, 16)
	h = binary.LittleEndian.AppendUint16(h, 1) // PCM
	h = binary.LittleEndian.AppendUint16(h, 1) // channel
	h = binary.LittleEndian.AppendUint32(h, sampleRate)
	h = binary.LittleEndian.AppendUint32(h, sampleRate*2)
	h = binary.LittleEndian.AppendUint16(h, 2)
	h = binary.LittleEndian.AppendUint16(h, 16)
	h = append(h, "data"...)
	return binary.LittleEndian.AppendUint32(h, uint32(bytes))
}

// Recording is the multipart body of an upload. It may be sent many times.
type Recording struct {
	body        []byte
	contentType string
}

// NewRecording returns the form for an upload of a tone of the given duration.
func NewRecording(length time.Duration) Recording { return RecordingOf("tone.wav", Tone(220, length)) }

// RecordingOf returns the form for an upload of a file.
func RecordingOf(name string, file []byte) Recording {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, _ := form.CreateFormFile("file", name) // writing to a buffer cannot fail
	_, _ = part.Write(file)
	_ = form.Close()
	return Recording{body.Bytes(), form.FormDataContentType()}
}

// Form returns a new reader of the form, for one upload.
func (r Recording) Form() client.Form {
	return client.Form{Body: bytes.NewReader(r.body), Length: int64(len(r.body)), ContentType: r.contentType}
}
