// Package worker analyses recordings in separate processes, so that a recording that makes the analysis crash fails only
// its own job.
//
// A worker is the same program, executed again: its main calls RunChild first. A Measurer starts workers and sends them
// recordings. Requests and responses are lines of JSON on the standard input and output of the worker. The package
// guarantees:
//
//  1. The contents of recordings and references are parsed only in a worker, which has no secrets in its environment. (The
//     Measurer itself only checks whether a file is a plain WAV file.)
//  2. The processor time and the total time of an analysis are limited, and on Linux also the memory of the worker.
//  3. A worker that crashes, hangs or exceeds its limits is killed, together with its decoder, and only its recording
//     fails. That recording is not analysed again.
//  4. If the context of an analysis ends, its worker is killed.
package worker

import (
	"encoding/json"
	"math"
	"time"
)

// roleVariable is the environment variable that makes a process a worker.
const roleVariable = "SORI_ANALYZER_WORKER"

// Limits of the protocol.
const (
	maxRequest = 16 << 10 // largest size of a request, in bytes
	maxAnswer  = 64 << 20 // largest size of a line of an answer, in bytes: a result can have some megabytes
)

// request is the request to analyse one recording.
type request struct {
	Path           string   `json:"path"`      // path of the recording
	Size           int64    `json:"size"`      // size of the recording, in bytes
	Reference      string   `json:"reference"` // path of the pitch reference; empty if there is none
	Warnings       []string `json:"warnings"`  // warnings to add to the result
	Decoder        string   `json:"decoder"`   // path of the decoder program; empty if the recording does not need it
	DecoderCache   string   `json:"decoder_cache"`
	DecoderMemory  int64    `json:"decoder_memory"`
	MaxSeconds     float64  `json:"max_seconds"`
	MaxPitchPoints int      `json:"max_pitch_points"`
	Memory         int64    `json:"memory"`      // bytes that the worker may allocate; only the first request to a worker sets this limit
	CPUSeconds     float64  `json:"cpu_seconds"` // limit of the processor time of the worker itself; the decoder has a limit of its own
}

// answer is one line of the answer to a request. The first line has Begun, any number of lines have Progress, and the
// last line has a result or a failure.
type answer struct {
	Begun    bool            `json:"begun,omitempty"`
	Progress float64         `json:"progress,omitempty"` // fraction of the recording that was analysed
	Result   json.RawMessage `json:"result,omitempty"`
	Code     string          `json:"code,omitempty"` // code of a failure whose cause is the recording
	Detail   string          `json:"detail,omitempty"`
	Error    string          `json:"error,omitempty"` // cause of a failure, for the log
	Ended    bool            `json:"ended,omitempty"` // whether the worker can analyse another recording after this last line
}

// memory returns the number of bytes that a worker may allocate: a constant, and 32 KiB for each second of the longest
// recording. An analysis keeps about 10 KB for each second in slices. When append grows a slice, the old and the new
// array exist at the same time.
func memory(maxSeconds float64) int64 { return 256<<20 + int64(maxSeconds*(32<<10)) }

// allowance returns the processor time that a worker itself may use for a recording of at most the given number of
// samples: a constant, and for each sample five times the usual time to measure a sample.
func allowance(samples int64) time.Duration {
	const each = 300 * time.Nanosecond
	return 30*time.Second + time.Duration(min(samples, math.MaxInt64/int64(each)))*each
}
