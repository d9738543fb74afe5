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
	// Delay is the minimum time from the acceptance to the outcome. Meanwhile progress is reported, and no analysis slot
	// is occupied.
	Delay Duration `json:"delay" env:"DELAY"`
	// AcceptDelay is how long the response to a POST is delayed.
	AcceptDelay Duration `json:"accept_delay" env:"ACCEPT_DELAY"`
	// Instant reports a fixed minimal result without an analysis.
	Instant bool `json:"instant" env:"INSTANT"`
	// Fail makes every job fail without an analysis.
	Fail bool `json:"fail" env:"FAIL"`
	// FailReason is the error that Fail reports; if empty, a fixed sentence.
	FailReason string `json:"fail_reason,omitempty" env:"FAIL_REASON"`
	// RejectStatus, unless it is 0, is the status with which POSTs are rejected, for example 503 or 400.
	RejectStatus int `json:"reject_status" env:"REJECT_STATUS"`
	// RejectRetryAfter, if it is positive, is the Retry-After of a rejection, in whole seconds, rounded up.
	RejectRetryAfter Duration `json:"reject_retry_after" env:"REJECT_RETRY_AFTER"`
	// RejectFirst is how many POSTs are rejected after the behaviour was set; 0 rejects all.
	RejectFirst int `json:"reject_first" env:"REJECT_FIRST"`
	// LoseCallbacks sends no callbacks. The status route still reports the outcome.
	LoseCallbacks bool `json:"lose_callbacks" env:"LOSE_CALLBACKS"`
	// RepeatCallbacks is how many extra times each callback is sent; 0 sends it once.
	RepeatCallbacks int `json:"repeat_callbacks" env:"REPEAT_CALLBACKS"`
	// ReorderCallbacks delays all callbacks of a job until the outcome, and sends them in a random order in which the
	// outcome is not the last.
	ReorderCallbacks bool `json:"reorder_callbacks" env:"REORDER_CALLBACKS"`
	// Seed and the number of the job since the start determine the random order.
	Seed uint64 `json:"seed" env:"SEED"`
	// CallbackFirst delays the response to a POST until the callback of the outcome was delivered or has failed.
	CallbackFirst bool `json:"callback_first" env:"CALLBACK_FIRST"`
	// NoProgress sends only the outcome, without progress.
	NoProgress bool `json:"no_progress" env:"NO_PROGRESS"`
}

// Limits of a behaviour, so that a typing error does not make the server unusable.
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

// shuffle reorders the callbacks of the job with the given number.
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

// Set replaces the behaviour and resets the number of rejected POSTs. It fails like Behaviour.Check.
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

// Reject reports whether the next POST must be rejected, and with which status and Retry-After. It counts the rejection.
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
