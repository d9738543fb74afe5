package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"sori.internal/infra/analyzer/internal/analysis"
	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/shared/decoding"
	"sori.internal/shared/processlimit"
)

// RunChild runs a worker if this process was started as a worker. It then returns true, and the caller must exit with
// the code. In any other process it does nothing and returns false. The main function of a program must call RunChild
// first.
func RunChild() (ran bool, code int) {
	if os.Getenv(roleVariable) == "" {
		return false, 0
	}
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil { // the context of the whole process
		fmt.Fprintln(os.Stderr, "worker:", err)
		return true, 1
	}
	return true, 0
}

// server answers requests, one after the other.
type server struct {
	mu      sync.Mutex // excludes the analysis and the goroutine of watch from each other
	answers *json.Encoder
	limits  limits
	program string // path of the decoder program
	decoder *decode.Decoder
}

// serve answers the requests, one after the other. A separate goroutine reads the requests, and exits the process when
// they end, even during an analysis.
func serve(ctx context.Context, requests io.Reader, answers io.Writer) error {
	s := &server{answers: json.NewEncoder(answers)}
	lines := make(chan []byte)
	go func() {
		scanner := bufio.NewScanner(requests)
		scanner.Buffer(nil, maxRequest)
		for scanner.Scan() {
			lines <- append([]byte(nil), scanner.Bytes()...)
		}
		os.Exit(0) //nolint:revive // no client is left to answer, and an analysis cannot be interrupted
	}()
	for line := range lines {
		var req request
		if err := json.Unmarshal(line, &req); err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		if err := s.answer(ctx, req); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return nil
}

func (s *server) send(a answer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers.Encode(a)
}

// answer answers one request.
func (s *server) answer(ctx context.Context, req request) error {
	if err := s.send(answer{Begun: true}); err != nil {
		return err
	}
	if err := s.limits.set(req.Memory); err != nil {
		return err
	}
	stop := s.watch(ctx, time.Duration(req.CPUSeconds*float64(time.Second)))
	last := s.analyse(ctx, req)
	stop()
	last.Ended = true
	return s.send(last)
}

// analyse analyses a recording, and returns the last line of the answer.
func (s *server) analyse(ctx context.Context, req request) answer {
	options := analysis.Options{
		MaxSeconds: req.MaxSeconds, MaxPitchPoints: req.MaxPitchPoints,
		Progress: s.progress(),
	}
	warnings := req.Warnings
	if req.Reference != "" {
		var err error
		if options.Reference, err = readReference(req.Reference); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			warnings = append(warnings, "pitch reference not used: it has no pitch contour in a known form")
		}
	}
	result, err := analysis.Run(ctx, s.decoderFor(req), decode.Source{Path: req.Path, Size: req.Size}, options)
	if err != nil {
		return failed(err, req.MaxSeconds)
	}
	result.Warnings = append(result.Warnings, warnings...)
	text, err := json.Marshal(result)
	if err != nil {
		return answer{Error: "write the result: " + err.Error()}
	}
	return answer{Result: text}
}

// progress returns a function that sends the progress of a recording at each quarter.
func (s *server) progress() func(float64) {
	next := 0.25
	return func(fraction float64) {
		for ; next <= fraction && next < 1; next += 0.25 {
			_ = s.send(answer{Progress: next}) // an error is irrelevant: without a reader of answers the process is about to end
		}
	}
}

// failed returns the last line of the answer for a recording that could not be analysed.
func failed(err error, maxSeconds float64) answer {
	if errors.Is(err, analysis.ErrTooLong) {
		detail := fmt.Sprintf("The recording is longer than %.0f seconds, which is the limit here.", maxSeconds)
		return answer{Code: "audio-too-long", Detail: detail, Error: err.Error()}
	}
	if e, ok := errors.AsType[*decode.Error](err); ok {
		return answer{Code: e.Code, Detail: e.Detail, Error: err.Error()}
	}
	return answer{Error: err.Error()}
}

func readReference(path string) ([]float64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the reference: %w", err)
	}
	defer file.Close()
	return analysis.ParseReference(file)
}

// decoderFor returns the decoder for a request. It reuses the decoder of earlier requests unless the request needs
// another decoder program.
func (s *server) decoderFor(req request) *decode.Decoder {
	if s.decoder != nil && (s.program == req.Decoder || req.Decoder == "") {
		return s.decoder
	}
	if s.decoder != nil {
		s.decoder.Close()
	}
	s.program = req.Decoder
	s.decoder = decode.New(decode.Settings{
		Program: req.Decoder, Cache: req.DecoderCache, Processes: 1, Memory: req.DecoderMemory, MaxSeconds: req.MaxSeconds,
		Run: s.limits.run,
	})
	return s.decoder
}

// watch ends the process when the process has used more processor time than limit. The returned function ends the
// watch.
func (s *server) watch(ctx context.Context, limit time.Duration) (stop func()) {
	return processlimit.Watch(ctx, limit, func() {
		e := decode.Failure(decoding.CodeLimit, nil)
		_ = s.send(answer{Code: e.Code, Detail: e.Detail, Error: "processor time exceeded"}) // an error is irrelevant: the process ends now
		os.Exit(1)                                                                           //nolint:revive // an analysis cannot be interrupted
	})
}
