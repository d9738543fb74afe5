package job

import (
	"context"
	"encoding/json"
)

// outboxSize is larger than the number of callbacks of any job, so that put never waits for the receiver.
const outboxSize = 32

// outbox sends the callbacks of one job in order, concurrently with the analysis. One goroutine may call put and close,
// another one run. The field err may be read after run has returned.
type outbox struct {
	notifier *Notifier
	task     *task
	queue    chan callback
	deaf     bool // the receiver did not accept a progress callback: from then on only the outcome is sent
	held     [][]byte
	err      error // why the outcome was not delivered; nil if it was
}

func newOutbox(notifier *Notifier, t *task) *outbox {
	return &outbox{notifier: notifier, task: t, queue: make(chan callback, outboxSize)}
}

// put adds a callback to the queue. If the queue is full, put drops a progress callback, since a later one replaces it.
func (o *outbox) put(c callback) {
	if c.Status != StatusProcessing {
		o.queue <- c
		return
	}
	select {
	case o.queue <- c:
	default:
	}
}

func (o *outbox) close() { close(o.queue) }

// run sends callbacks until the queue is closed and empty.
func (o *outbox) run(ctx context.Context) {
	b := o.task.behaviour
	for c := range o.queue {
		if b.LoseCallbacks {
			continue
		}
		body, err := json.Marshal(c)
		if err != nil {
			o.err = err
			continue
		}
		if b.ReorderCallbacks {
			o.held = append(o.held, body)
			continue
		}
		o.send(ctx, body, c.Status == StatusProcessing)
	}
	b.shuffle(o.held, o.task.number)
	for _, body := range o.held {
		o.send(ctx, body, false)
	}
}

// send delivers one callback, as many times as RepeatCallbacks of the behaviour requires.
func (o *outbox) send(ctx context.Context, body []byte, progress bool) {
	if progress && o.deaf {
		return
	}
	for range 1 + o.task.behaviour.RepeatCallbacks {
		attempts := o.notifier.Attempts()
		if progress {
			attempts = 1 // a later progress callback replaces this one
		}
		if err := o.notifier.Send(ctx, o.task.req, body, attempts); err != nil {
			if progress {
				o.deaf = true
			} else {
				o.err = err
			}
			return
		}
	}
}
