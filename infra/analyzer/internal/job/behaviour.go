package job

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Duration is a duration that is written as a text such as "1.5s" in JSON and in the environment. In JSON it may also be
// a number of seconds.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("parse duration: %w", err)
	}
	*d = Duration(v)
	return nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var seconds float64
	if json.Unmarshal(data, &seconds) == nil {
		*d = Duration(seconds * float64(time.Second))
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("parse duration: %w", err)
	}
	return d.UnmarshalText([]byte(text))
}

// Behaviour makes the server act like a faulty or slow analysis server, so that clients can be tested against it. The
// zero value is a correct server. A job keeps the behaviour that was current when it was accepted.
type Behaviour struct {
	// Delay is the minimum time from the acceptance to the outcome. During the delay the server reports progress, and the
	// job occupies no analysis slot.
	Delay Duration `json:"delay" env:"DELAY"`
	// AcceptDelay is how long the server waits before it handles a POST.
	AcceptDelay Duration `json:"accept_delay" env:"ACCEPT_DELAY"`
	// Instant makes every job succeed with a fixed minimal result, without an analysis.
	Instant bool `json:"instant" env:"INSTANT"`
	// Fail makes every job fail without an analysis.
	Fail bool `json:"fail" env:"FAIL"`
	// FailReason is the error text of jobs that fail because of Fail; if empty, a fixed sentence.
	FailReason string `json:"fail_reason,omitempty" env:"FAIL_REASON"`
	// RejectStatus is the HTTP status with which POSTs are rejected, for example 503 or 400; 0 rejects none.
	RejectStatus int `json:"reject_status" env:"REJECT_STATUS"`
	// RejectRetryAfter is the header Retry-After of a rejection, in whole seconds, rounded up; 0 leaves it out.
	RejectRetryAfter Duration `json:"reject_retry_after" env:"REJECT_RETRY_AFTER"`
	// RejectFirst is how many POSTs are rejected with RejectStatus after the behaviour was set; 0 sets no limit.
	RejectFirst int `json:"reject_first" env:"REJECT_FIRST"`
	// LoseCallbacks drops all callbacks. The status route still reports the outcome.
	LoseCallbacks bool `json:"lose_callbacks" env:"LOSE_CALLBACKS"`
	// RepeatCallbacks is how many extra times each callback is sent; 0 sends it once.
	RepeatCallbacks int `json:"repeat_callbacks" env:"REPEAT_CALLBACKS"`
	// ReorderCallbacks holds all callbacks of a job back until the outcome, and then sends them in a random order in which
	// the outcome is not the last (unless it is the only one).
	ReorderCallbacks bool `json:"reorder_callbacks" env:"REORDER_CALLBACKS"`
	// Seed determines the random order, together with the number of the job since the start of the server.
	Seed uint64 `json:"seed" env:"SEED"`
	// CallbackFirst delays the response to a POST until the callback of the outcome was delivered or its last attempt has
	// failed.
	CallbackFirst bool `json:"callback_first" env:"CALLBACK_FIRST"`
	// NoProgress sends no progress callbacks, only the outcome.
	NoProgress bool `json:"no_progress" env:"NO_PROGRESS"`
}

// Limits of the fields of a behaviour, so that a typing error does not make the server unusable.
const (
	maxBehaviourDelay = 24 * time.Hour
	maxRepeats        = 1000
)

// Check returns an error that wraps ErrBehaviour if a field is outside its limits.
func (b Behaviour) Check() error {
	for _, d := range []Duration{b.Delay, b.AcceptDelay, b.RejectRetryAfter} {
		if d < 0 || time.Duration(d) > maxBehaviourDelay {
			return fmt.Errorf("check behaviour: %w: duration %s", ErrBehaviour, time.Duration(d))
		}
	}
	if b.RejectStatus != 0 && (b.RejectStatus < 300 || b.RejectStatus > 599) {
		return fmt.Errorf("check behaviour: %w: reject_status %d", ErrBehaviour, b.RejectStatus)
	}
	if b.RepeatCallbacks < 0 || b.RepeatCallbacks > maxRepeats || b.RejectFirst < 0 {
		return fmt.Errorf("check behaviour: %w: counts", ErrBehaviour)
	}
	return nil
}

// shuffle puts the callbacks of a job, of which the last is the outcome, into a random order in which the outcome is
// not the last. number is the number of the job.
func (b Behaviour) shuffle(bodies [][]byte, number uint64) {
	if len(bodies) < 2 {
		return
	}
	last := &bodies[len(bodies)-1][0]            // the address of the body identifies the outcome
	rng := rand.New(rand.NewPCG(b.Seed, number)) // repeatable on purpose
	rng.Shuffle(len(bodies), func(i, j int) { bodies[i], bodies[j] = bodies[j], bodies[i] })
	if end := len(bodies) - 1; &bodies[end][0] == last {
		bodies[0], bodies[end] = bodies[end], bodies[0]
	}
}

// BehaviourState contains the current behaviour. It is safe for concurrent use.
type BehaviourState struct {
	mu       sync.Mutex
	current  Behaviour
	rejected int
}

// Set replaces the behaviour and resets the number of rejected POSTs. If the behaviour is not valid, Set returns the
// error of Behaviour.Check and changes nothing.
func (m *BehaviourState) Set(b Behaviour) error {
	if err := b.Check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current, m.rejected = b, 0
	return nil
}

// Get returns the current behaviour.
func (m *BehaviourState) Get() Behaviour {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

// Reject reports whether the next POST must be rejected, and with which status and Retry-After. Each rejection counts
// towards RejectFirst.
func (m *BehaviourState) Reject() (status int, retryAfter time.Duration, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.current
	if b.RejectStatus == 0 || (b.RejectFirst > 0 && m.rejected >= b.RejectFirst) {
		return http.StatusOK, 0, false
	}
	m.rejected++
	return b.RejectStatus, time.Duration(b.RejectRetryAfter), true
}
