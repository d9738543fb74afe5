package httpserver

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"sori.internal/shared/fault"
)

// The limits of the memory for bodies. Without them, a thousand slow clients that each send a
// megabyte could make the gateway hold more than a gigabyte.
const (
	ownRoom    = 16 << 10       // bytes of each body that are not counted
	sharedRoom = 64 << 20       // bytes of all bodies together, beyond ownRoom of each
	clientRoom = sharedRoom / 4 // bytes of the bodies of one client, so that room is left for others
	bodyPiece  = 32 << 10       // bytes that ReadBody reserves and reads at a time
)

// BodyMemory counts the bytes of the bodies that are in memory, without the first 16 KiB of each. The
// zero value is ready for use.
type BodyMemory struct {
	mu      sync.Mutex
	used    int64
	clients map[string]int64 // the bytes of each client, by its owner or its address
}

// take reserves a piece for a client, and reports whether there is room. An empty client is not
// limited by itself.
func (m *BodyMemory) take(client string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used+bodyPiece > sharedRoom || client != "" && m.clients[client]+bodyPiece > clientRoom {
		return false
	}
	if m.clients == nil {
		m.clients = map[string]int64{}
	}
	m.used += bodyPiece
	m.clients[client] += bodyPiece
	return true
}

// release releases n bytes of a client.
func (m *BodyMemory) release(client string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= n
	if m.clients[client] -= n; m.clients[client] <= 0 {
		delete(m.clients, client)
	}
}

// ReadBody reads the body of a request into memory, which grows with the bytes that have arrived.
// It fails with fault.Exhausted if the memory of all bodies, or of the bodies of this client, is
// used up.
func ReadBody(c *fiber.Ctx, limit int64, limits BodyLimits) ([]byte, error) {
	body := NewBody(c, limit, limits)
	var text bytes.Buffer
	if _, err := io.CopyN(&text, body, ownRoom); errors.Is(err, io.EOF) {
		return text.Bytes(), nil
	} else if err != nil {
		return nil, err
	}
	client, taken := sender(c), int64(0)
	defer func() { limits.Memory.release(client, taken) }()
	for {
		if !limits.Memory.take(client) {
			return nil, &fault.Error{
				Kind: fault.Exhausted, Code: "busy", RetryAfter: time.Second,
				Detail: "Too many large bodies are arriving right now. Please try again.",
			}
		}
		taken += bodyPiece
		if _, err := io.CopyN(&text, body, bodyPiece); errors.Is(err, io.EOF) {
			return text.Bytes(), nil
		} else if err != nil {
			return nil, err
		}
	}
}
