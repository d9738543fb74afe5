// Package cache stores results of analyses, and the jobs that share an analysis, in two NATS
// streams that all replicas of the dispatcher use.
package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Results stores each result as an entry of one or more messages. Each message has a chunk of the
// compressed result. The first chunk begins with the manifest and is stored last, so that an entry
// whose writer died has no manifest. A full stream discards old chunks. Therefore a reader checks
// that all chunks exist and match the digest in the manifest.
//
// Results is safe for concurrent use.
type Results struct {
	bus     *bus.Bus
	stream  *bus.Stream
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// maxDecoded is the memory limit for decoding a result, in bytes. Results are smaller, since
// MAX_WEBHOOK_BYTES limits the callbacks that contain them.
const maxDecoded = 1 << 30

// NewResults makes the Results on a bus.
func NewResults(b *bus.Bus) (*Results, error) {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, fmt.Errorf("make an encoder of results: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxDecoded))
	if err != nil {
		return nil, fmt.Errorf("make a decoder of results: %w", err)
	}
	return &Results{bus: b, stream: b.Stream(event.Results()), encoder: encoder, decoder: decoder}, nil
}

// manifest is the JSON object in the first line of an entry. The rest of the entry is the
// compressed result.
type manifest struct {
	Chunks   int      `json:"chunks"`
	SHA256   string   `json:"sha256"` // SHA-256 of the compressed result, in hexadecimal
	Warnings []string `json:"warnings,omitempty"`
}

// chunkSize is the largest size of a chunk, in bytes. Chunks are smaller if NATS limits messages to
// less than twice this size.
const chunkSize = 256 << 10

// chunks divides an entry.
func (r *Results) chunks(result analysis.CachedResult) ([][]byte, error) {
	compressed := r.encoder.EncodeAll(result.Result, nil)
	size := int(min(chunkSize, r.bus.MaxPayload()/2)) //nolint:mnd // half a message leaves room for the manifest
	parts := slices.Collect(slices.Chunk(compressed, size))
	sum := sha256.Sum256(compressed)
	head, err := json.Marshal(manifest{Chunks: len(parts), SHA256: hex.EncodeToString(sum[:]), Warnings: result.Warnings})
	if err != nil {
		return nil, fmt.Errorf("encode a cached result of job %s: %w", result.Job, err)
	}
	parts[0] = slices.Concat(head, []byte("\n"), parts[0])
	return parts, nil
}

// chunkWindow is the largest number of chunks that are published before the oldest is acknowledged.
const chunkWindow = 8

// Put implements analysis.Results.
func (r *Results) Put(ctx context.Context, key analysis.ResultKey, result analysis.CachedResult) (analysis.ResultEntry, error) {
	parts, err := r.chunks(result)
	if err != nil {
		return analysis.ResultEntry{}, err
	}
	w := writer{results: r, entry: analysis.ResultEntry{Key: key, Job: result.Job}}
	if len(parts) == 1 {
		if done, err := w.publishOnly(ctx, parts[0]); done || err != nil {
			return w.entry, err
		}
	}
	for n := len(parts) - 1; n > 0 && err == nil; n-- {
		err = w.publish(ctx, n, parts[n])
	}
	if err == nil {
		err = w.await(ctx, 0)
	}
	if err == nil {
		err = w.publish(ctx, 0, parts[0])
	}
	err = errors.Join(err, w.await(ctx, 0)) // wait, since a chunk could otherwise be stored after Undo
	if err != nil {
		return analysis.ResultEntry{}, errors.Join(err, r.Undo(context.WithoutCancel(ctx), w.entry))
	}
	return w.entry, nil
}

// writer stores the chunks of one entry.
type writer struct {
	results *Results
	entry   analysis.ResultEntry
	window  []*bus.PubAck // acknowledgements that have not been received yet
}

// publishOnly stores an entry of one chunk. It returns false if the cache has an entry with the
// same key already.
func (w *writer) publishOnly(ctx context.Context, chunk []byte) (bool, error) {
	e := &w.entry
	subject := event.ResultSubject(e.Key.Token, e.Key.Hash, e.Job, 0)
	seq, err := w.results.bus.PublishBytesExpecting(ctx, subject, chunk, event.ResultsOfKey(e.Key.Token, e.Key.Hash), 0)
	if errors.Is(err, event.ErrLogConflict) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	e.Seqs, e.Only = []uint64{seq}, true
	return true, nil
}

func (w *writer) publish(ctx context.Context, n int, chunk []byte) error {
	if err := w.await(ctx, chunkWindow-1); err != nil {
		return err
	}
	ack, err := w.results.bus.PublishBytes(event.ResultSubject(w.entry.Key.Token, w.entry.Key.Hash, w.entry.Job, n), chunk)
	if err == nil {
		w.window = append(w.window, ack)
	}
	return err
}

// await waits until at most n acknowledgements are missing.
func (w *writer) await(ctx context.Context, n int) (err error) {
	for len(w.window) > n {
		ack := w.window[0]
		w.window = w.window[1:] // an acknowledgement can be read only once
		if ackErr := ack.Wait(ctx); ackErr != nil {
			err = errors.Join(err, ackErr)
		} else {
			w.entry.Seqs = append(w.entry.Seqs, ack.Seq)
		}
	}
	return err
}

// Undo implements analysis.Results. It removes the messages of the entry by their sequences,
// because another writer's entry for the same job has the same subjects.
func (r *Results) Undo(ctx context.Context, e analysis.ResultEntry) error {
	var err error
	for _, seq := range slices.Backward(e.Seqs) {
		err = errors.Join(err, r.stream.Delete(ctx, seq))
	}
	return err
}

// Keep implements analysis.Results.
func (r *Results) Keep(ctx context.Context, e analysis.ResultEntry) error {
	return r.stream.Purge(ctx, event.ResultsOfKey(e.Key.Token, e.Key.Hash), slices.Min(e.Seqs))
}

// Remove implements analysis.Results. It purges only if there are messages to remove: in a cluster
// even a purge that removes nothing needs consensus.
func (r *Results) Remove(ctx context.Context, job string) error {
	filter := event.ResultsOfJob(job)
	m, err := r.stream.LastFromLeader(ctx, filter)
	if err != nil || m == nil {
		return err
	}
	return r.stream.Purge(ctx, filter, 0)
}

// Find implements analysis.Results. It reads the first chunk from the leader of the stream, because
// a follower may not have the newest entry yet.
func (r *Results) Find(ctx context.Context, key analysis.ResultKey) (*analysis.CachedResult, error) {
	last, err := r.stream.LastFromLeader(ctx, event.ResultsOfKey(key.Token, key.Hash))
	if err != nil || last == nil {
		return nil, err
	}
	job, ok := event.ParseResultSubject(last.Subject)
	if !ok || last.Subject != event.ResultSubject(key.Token, key.Hash, job, 0) {
		return nil, nil // the writer of the newest entry died, or is still writing chunks
	}
	head, body, _ := bytes.Cut(last.Data, []byte("\n"))
	var m manifest
	if err := json.Unmarshal(head, &m); err != nil {
		return nil, fmt.Errorf("read the cached result of job %s: %w", job, err)
	}
	for n := 1; n < m.Chunks; n++ {
		chunk, err := r.stream.Last(ctx, event.ResultSubject(key.Token, key.Hash, job, n))
		if err != nil || chunk == nil {
			return nil, err
		}
		body = append(body, chunk.Data...)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != m.SHA256 {
		return nil, nil
	}
	result, err := r.decoder.DecodeAll(body, nil)
	if err != nil {
		return nil, fmt.Errorf("decode the cached result of job %s: %w", job, err)
	}
	return &analysis.CachedResult{Job: job, Result: result, Warnings: m.Warnings}, nil
}
