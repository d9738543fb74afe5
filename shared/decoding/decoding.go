// Package decoding is the protocol between a program that needs the samples of a recording and the
// process that decodes it.
//
// The process reads requests from its standard input, one JSON object per line. It writes the
// response to each request to its standard output before it reads the next request. A response is a
// sequence of frames: at most one header, then samples, then one end. A frame is a byte for its
// type, four bytes for the length of its body (little-endian), and the body. The first frame that a
// process writes has the type TypeReady: the process can decode.
//
// Both sides treat what they read as hostile: a frame longer than MaxFrame is an error, and nothing
// is allocated for a length before it is checked.
package decoding

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// Limits of the protocol.
const (
	MaxFrame   = 64 << 10  // maximum number of bytes in the body of a frame
	MaxRequest = 16 << 10  // maximum number of bytes in a request
	MaxRate    = 768_000   // maximum samples per second of one channel
	MinRate    = 1_000     // minimum samples per second of one channel
	MaxChannel = 32        // maximum number of channels
	MaxFlow    = 1_536_000 // maximum samples per second of all channels together: 8 channels at 192 kHz, 2 at 768 kHz
	frameHead  = 1 + 4     // bytes before the body of a frame
	maxSeconds = 1_000_000 // maximum of Request.MaxSeconds
)

// The types of frames.
const (
	TypeReady   = 'R' // the body is empty; the process can decode
	TypeHeader  = 'H' // the body is a Header as JSON
	TypeSamples = 'S' // the body is interleaved samples: float32, little-endian
	TypeEnd     = 'E' // the body is an End as JSON
)

// The codes of a failed decode. A failed analysis has the same codes.
const (
	CodeUnsupportedAudio = "unsupported-audio"     // the file is not audio
	CodeUnsupportedCodec = "unsupported-codec"     // the codec cannot be decoded; End.Found is its name
	CodeNoAudio          = "no-audio"              // nothing in the file can be decoded
	CodeLimit            = "decode-limit-exceeded" // the decode exceeded its processor time, or Header.Check failed
	CodeCrashed          = "analysis-crashed"      // the decoder crashed, or needs more memory than it may use
)

// ErrProtocol means that the other side violated the protocol.
var ErrProtocol = errors.New("decoding protocol broken")

// Request asks for the samples of one file.
type Request struct {
	Path       string  `json:"path"`             // absolute path of the file
	Format     string  `json:"format,omitempty"` // the demuxer to use if the file does not identify its format
	MaxSeconds float64 `json:"max_seconds"`      // how much of the recording is decoded, in seconds; the rest is left out
	CPUSeconds float64 `json:"cpu_seconds"`      // limit of the processor time for this request, in seconds
}

// Header describes the samples that follow it.
type Header struct {
	Container  string `json:"container"`   // ffmpeg's name of the demuxer, for example "matroska,webm"
	Codec      string `json:"codec"`       // ffmpeg's name of the codec, for example "opus"
	SampleRate int    `json:"sample_rate"` // samples per second of one channel
	Channels   int    `json:"channels"`    // number of channels: the interleaved samples of one point in time
	Mask       uint32 `json:"mask"`        // positions of the channels, as in WAVEFORMATEXTENSIBLE; 0 if unknown
	// Seconds is the duration that the file declares, only for the display of progress; 0 if the
	// file declares none.
	Seconds float64 `json:"seconds,omitempty"`
}

// Check returns an error if the sample rate or the number of channels is outside the limits of the
// protocol.
func (h Header) Check() error {
	if h.Channels < 1 || h.Channels > MaxChannel || h.SampleRate < MinRate || h.SampleRate > MaxRate || h.Channels*h.SampleRate > MaxFlow {
		return fmt.Errorf("%d channels at %d Hz: %w", h.Channels, h.SampleRate, ErrProtocol)
	}
	return nil
}

// End describes how a decode ended.
type End struct {
	Code       string   `json:"code,omitempty"`       // code of the failure; empty after a success
	Found      string   `json:"found,omitempty"`      // name of the codec, if Code is CodeUnsupportedCodec
	Damaged    int      `json:"damaged,omitempty"`    // number of packets that could not be decoded
	Truncated  bool     `json:"truncated,omitempty"`  // the file ends too early
	Complaints []string `json:"complaints,omitempty"` // messages of the decoder, for the log
}

// Writer writes frames. It is not safe for concurrent use.
type Writer struct{ w io.Writer }

// NewWriter returns a writer of frames to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Frame writes one frame.
func (w *Writer) Frame(kind byte, body []byte) error {
	if len(body) > MaxFrame {
		return fmt.Errorf("write a frame of %d bytes: %w", len(body), ErrProtocol)
	}
	frame := make([]byte, frameHead, frameHead+len(body))
	frame[0] = kind
	binary.LittleEndian.PutUint32(frame[1:], uint32(len(body)))
	if _, err := w.w.Write(append(frame, body...)); err != nil {
		return fmt.Errorf("write a frame: %w", err)
	}
	return nil
}

// JSON writes one frame whose body is v as JSON.
func (w *Writer) JSON(kind byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write a frame: %w", err)
	}
	return w.Frame(kind, body)
}

// Reader reads frames. It is not safe for concurrent use.
type Reader struct {
	r    io.Reader
	body []byte
}

// NewReader returns a reader of frames from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Frame reads one frame. The body is valid until the next call. At the end of the stream the error
// wraps io.EOF; for a frame that is too long it wraps ErrProtocol.
func (r *Reader) Frame() (kind byte, body []byte, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("read a frame: %w", err)
	}
	size := binary.LittleEndian.Uint32(head[1:])
	if size > MaxFrame {
		return 0, nil, fmt.Errorf("read a frame of %d bytes: %w", size, ErrProtocol)
	}
	if cap(r.body) < int(size) {
		r.body = make([]byte, size)
	}
	body = r.body[:size]
	if _, err := io.ReadFull(r.r, body); err != nil {
		return 0, nil, fmt.Errorf("read a frame's body: %w", err)
	}
	return head[0], body, nil
}

// WriteRequest writes a request as a line of JSON.
func WriteRequest(w io.Writer, r Request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write a request: %w", err)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write a request: %w", err)
	}
	return nil
}

// ParseRequest parses the line of a request. Its error wraps ErrProtocol.
func ParseRequest(line []byte) (Request, error) {
	var r Request
	if len(line) > MaxRequest {
		return r, fmt.Errorf("request of %d bytes: %w", len(line), ErrProtocol)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("request: %w: %w", ErrProtocol, err)
	}
	if r.Path == "" || !(r.MaxSeconds > 0 && r.MaxSeconds <= maxSeconds) || !(r.CPUSeconds > 0) {
		return r, fmt.Errorf("request without a file or its limits: %w", ErrProtocol)
	}
	return r, nil
}

// Samples decodes the body of a frame of samples into p, and returns the number of samples, at most
// len(p). A p of MaxFrame/4 samples is long enough for every frame.
func Samples(p []float32, body []byte) int {
	n := min(len(body)/4, len(p))
	for i := range n {
		p[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
	}
	return n
}
