package httpserver

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"sori.internal/shared/fault"
)

// The limits of bodies that are read into memory. Slow clients could otherwise fill it: a thousand
// of them with a megabyte each hold more than a gigabyte.
const (
	ownRoom    = 16 << 10 // bytes that every body may have
	sharedRoom = 64 << 20 // bytes of all bodies together, beyond ownRoom of each
	bodyPiece  = 32 << 10 // bytes that ReadBody reserves and reads at a time
)

// BodyMemory counts the bytes of the bodies that are in memory, without the first 16 KiB of each.
type BodyMemory struct{ used atomic.Int64 }

// ReadBody reads the body of a request into memory, which grows with the bytes that have arrived.
// It fails with fault.Exhausted if too many bodies are in memory.
func ReadBody(c *fiber.Ctx, limit int64, limits BodyLimits) ([]byte, error) {
	body := NewBody(c, limit, limits)
	var text bytes.Buffer
	if _, err := io.CopyN(&text, body, ownRoom); errors.Is(err, io.EOF) {
		return text.Bytes(), nil
	} else if err != nil {
		return nil, err
	}
	var taken int64
	defer func() { limits.Memory.used.Add(-taken) }()
	for {
		taken += bodyPiece
		if limits.Memory.used.Add(bodyPiece) > sharedRoom {
			return nil, &fault.Error{
				Kind: fault.Exhausted, Code: "busy", RetryAfter: time.Second,
				Detail: "Too many large bodies are arriving right now. Please try again.",
			}
		}
		if _, err := io.CopyN(&text, body, bodyPiece); errors.Is(err, io.EOF) {
			return text.Bytes(), nil
		} else if err != nil {
			return nil, err
		}
	}
}
