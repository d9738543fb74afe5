// Package tail prints the events that are published on NATS, one per line, with the time,
// the name, the job, the contents and the trace ID. It subscribes with core NATS, so it
// gets only events from now on, and needs no JetStream consumer.
package tail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

// Options select the events to print.
type Options struct {
	Subject string `arg:"" optional:"" help:"show only this subject"`
	Job     string `help:"show only events of this job"`
	Failed  bool   `help:"show only failures and dead letters"`
	Plain   bool   `name:"no-color" help:"show no colours; this is the default if the output is not a terminal or NO_COLOR is set"`
}

// Config names the NATS server, and the namespace whose events are shown.
type Config struct{ bus.Connection }

// Run prints events until ctx ends, or until the server denies the subscription to a subject. It calls
// tell with a message when the subscriptions are active, and when events may have been missed.
func Run(ctx context.Context, cfg Config, o Options, out io.Writer, tell func(text string)) error {
	if o.Job != "" {
		job, ok := event.ParseJobID(o.Job)
		if !ok {
			return fmt.Errorf("tail: %q is not a job id", o.Job)
		}
		o.Job = job
	}
	refused := make(chan error, 1)
	nc, err := cfg.Dial("tail", watch(tell, refused)...)
	if err != nil {
		return fmt.Errorf("tail: connect to the bus: %w", err)
	}
	defer nc.Close()
	messages := make(chan *nats.Msg, 1024)
	for _, subject := range o.subjects() {
		if _, err := nc.ChanSubscribe(cfg.Namespace.Subject(subject), messages); err != nil {
			return fmt.Errorf("tail: listen to %s: %w", subject, err)
		}
	}
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		return fmt.Errorf("tail: listen: %w", err)
	}
	tell("listening")
	show := painter{plain: o.Plain || !terminal(out)}
	for {
		select {
		case m := <-messages:
			if subject := cfg.Namespace.Strip(m.Subject); o.shows(subject, m.Header) {
				fmt.Fprintln(out, show.line(time.Now(), subject, m.Header, m.Data))
			}
		case err := <-refused:
			return fmt.Errorf("tail: listen: %w", err)
		case <-ctx.Done():
			return nil
		}
	}
}

// watch returns connection options. They call tell when the tail may have missed events. They send an
// error to refused when the server denies a subscription or, after a reconnect, the login.
func watch(tell func(text string), refused chan<- error) []nats.Option {
	refuse := func(err error) {
		select {
		case refused <- err:
		default: // the channel is full: the first error already ends the tail
		}
	}
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				refuse(err)
				return
			}
			tell("events may be missed: " + err.Error())
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				tell("connection lost: " + err.Error())
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { tell("listening again, without the events in between") }),
		nats.ClosedHandler(func(nc *nats.Conn) { refuse(cmp.Or(nc.LastError(), nats.ErrConnectionClosed)) }),
	}
}

// subjects returns the subjects to subscribe to. No event matches two of them.
func (o Options) subjects() []string {
	switch {
	case o.Subject != "":
		return []string{o.Subject}
	case o.Job != "" && o.Failed:
		return []string{event.SubjectOf(o.Job, event.NameFailed), event.AllDead}
	case o.Job != "":
		return []string{"audio.*." + o.Job + ".>", "audio.*." + o.Job, event.AllDead}
	case o.Failed:
		return []string{event.Filter(event.NameFailed), event.AllDead}
	default:
		return []string{"audio.>"}
	}
}

// shows reports whether the options select an event. The job of a dead letter is in a header.
func (o Options) shows(subject string, header nats.Header) bool {
	dead := event.ParseDeadSubject(subject) != ""
	if o.Failed && !dead && !strings.HasSuffix(subject, "."+string(event.NameFailed)) {
		return false
	}
	if o.Job == "" {
		return true
	}
	about := subject
	if dead {
		about = header.Get(bus.HeaderSubject)
	}
	return strings.Contains(about+".", "."+o.Job+".")
}

func terminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
