package loadgen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"mime/multipart"
	"time"

	"sori.internal/infra/internal/client"
)

// Tone makes a WAV file with a sine of the given frequency and length.
func Tone(hz float64, length time.Duration) []byte {
	samples := int(length.Seconds() * sampleRate)
	b := appendHeader(make([]byte, 0, waveHeader+2*samples), 2*samples)
	for i := range samples {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(8000*math.Sin(2*math.Pi*hz*float64(i)/sampleRate))))
	}
	return b
}

const sampleRate = 16000

// appendHeader begins a WAV file with so many bytes of 16 bit mono samples.
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

// Recording is the body of an upload that may be sent many times.
type Recording struct {
	body        []byte
	contentType string
}

// NewRecording makes a form with a tone of the given length.
func NewRecording(length time.Duration) Recording { return RecordingOf("tone.wav", Tone(220, length)) }

// RecordingOf makes a form with a file.
func RecordingOf(name string, file []byte) Recording {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, _ := form.CreateFormFile("file", name) // a buffer takes everything
	_, _ = part.Write(file)
	_ = form.Close()
	return Recording{body.Bytes(), form.FormDataContentType()}
}

// Form is the recording as one upload sends it.
func (r Recording) Form() client.Form {
	return client.Form{Body: bytes.NewReader(r.body), Length: int64(len(r.body)), ContentType: r.contentType}
}

// errCut ends an upload in the middle.
var errCut = errors.New("the client is gone")

// cut is the form of an upload whose connection breaks after half of the body.
func (r Recording) cut() client.Form {
	f := r.Form()
	f.Body = io.MultiReader(bytes.NewReader(r.body[:len(r.body)/2]), broken{})
	return f
}

// broken is a body whose connection breaks.
type broken struct{}

// Read implements io.Reader.
func (broken) Read([]byte) (int, error) { return 0, errCut }
