package job

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Duration is a length of time that JSON and the environment write as "1.5s"; JSON also takes a number of seconds.
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

// Behaviour makes the server do what a bad or slow analysis server does, so that its clients can be tried against it. The zero value is a
// well-behaved server. A job keeps the behaviour that was in force when it was accepted.
type Behaviour struct {
	// Delay is the least time from acceptance to the outcome; progress is reported meanwhile. It holds no analysis slot.
	Delay Duration `json:"delay" env:"DELAY"`
	// AcceptDelay is how long a POST waits for its answer.
	AcceptDelay Duration `json:"accept_delay" env:"ACCEPT_DELAY"`
	// Instant answers with a made-up minimal result and looks at no audio.
	Instant bool `json:"instant" env:"INSTANT"`
	// Fail makes every analysis report failed, without looking at the audio.
	Fail bool `json:"fail" env:"FAIL"`
	// FailReason is the error that Fail reports; a fixed sentence when empty.
	FailReason string `json:"fail_reason,omitempty" env:"FAIL_REASON"`
	// RejectStatus, when not 0, is the status with which POSTs are refused, for example 503 or 400.
	RejectStatus int `json:"reject_status" env:"REJECT_STATUS"`
	// RejectRetryAfter, when above 0, is sent with a refusal as Retry-After, in whole seconds, rounded up.
	RejectRetryAfter Duration `json:"reject_retry_after" env:"REJECT_RETRY_AFTER"`
	// RejectFirst limits refusals to the first so many POSTs since the behaviour was set; 0 refuses all.
	RejectFirst int `json:"reject_first" env:"REJECT_FIRST"`
	// LoseCallbacks never calls back; the status route still tells the outcome.
	LoseCallbacks bool `json:"lose_callbacks" env:"LOSE_CALLBACKS"`
	// RepeatCallbacks is how many extra times each callback is sent; 0 sends it once.
	RepeatCallbacks int `json:"repeat_callbacks" env:"REPEAT_CALLBACKS"`
	// ReorderCallbacks holds all callbacks of a job back and sends them in a random order in which the outcome is not the last.
	ReorderCallbacks bool `json:"reorder_callbacks" env:"REORDER_CALLBACKS"`
	// Seed decides the random order, together with the number of the job since the start.
	Seed uint64 `json:"seed" env:"SEED"`
	// CallbackFirst answers a POST only after the outcome's callback was delivered or given up.
	CallbackFirst bool `json:"callback_first" env:"CALLBACK_FIRST"`
	// NoProgress sends no progress, the outcome alone.
	NoProgress bool `json:"no_progress" env:"NO_PROGRESS"`
}

// Limits of a behaviour, so that a typing error does not make the server unusable.
const (
	maxBehaviourDelay = 24 * time.Hour
	maxRepeats        = 1000
)

// Check returns what is wrong with a behaviour.
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

// shuffle orders the callbacks of the job with the given number.
func (b Behaviour) shuffle(bodies [][]byte, number uint64) {
	if len(bodies) < 2 {
		return
	}
	last := &bodies[len(bodies)-1][0]            // identity of the outcome
	rng := rand.New(rand.NewPCG(b.Seed, number)) // repeatable on purpose
	rng.Shuffle(len(bodies), func(i, j int) { bodies[i], bodies[j] = bodies[j], bodies[i] })
	if end := len(bodies) - 1; &bodies[end][0] == last {
		bodies[0], bodies[end] = bodies[end], bodies[0]
	}
}

// BehaviourState holds the behaviour in force. It is safe for concurrent use.
type BehaviourState struct {
	mu       sync.Mutex
	current  Behaviour
	rejected int
}

// Set replaces the behaviour and begins to count refusals anew.
func (m *BehaviourState) Set(b Behaviour) error {
	if err := b.Check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current, m.rejected = b, 0
	return nil
}

// Get returns the behaviour in force.
func (m *BehaviourState) Get() Behaviour {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

// Reject says whether the next POST is to be refused, with which status and Retry-After, and counts it.
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
