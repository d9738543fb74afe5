package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sori.internal/infra/internal/tail"
	"sori.internal/shared/bus"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
)

// stamp is the format of times, which are in UTC as in the API and in most logs.
const stamp = "2006-01-02 15:04:05.000Z"

// withBus calls the function work with the bus of the installation that the operator has selected.
func (t terminal) withBus(ctx context.Context, work func(*bus.Bus) error) (err error) {
	lookup, err := t.settings()
	if err != nil {
		return err
	}
	b, err := t.openBus(ctx, lookup)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return work(b)
}

type deadList struct {
	Consumer string `help:"list only dead letters of this consumer"`
	N        int    `default:"50" help:"list only the newest dead letters, at most this number; 0 lists all"`
	JSON     bool   `name:"json" help:"print JSON, one object per line"`
}

// Run lists dead letters.
func (c *deadList) Run(ctx context.Context, t terminal) error {
	if c.N < 0 {
		return errors.New("dead list: -n must not be negative")
	}
	return t.withBus(ctx, func(b *bus.Bus) error {
		letters, err := deadletter.New(b).List(ctx, c.Consumer)
		if err != nil {
			return err
		}
		all := len(letters)
		if c.N > 0 && all > c.N {
			letters = letters[all-c.N:]
		}
		if c.JSON {
			return lines(t, letters)
		}
		table := t.table()
		fmt.Fprintln(table, "SEQ\tTIME\tCONSUMER\tJOB\tEVENT\tDELIVERIES\tCODE\tREASON")
		for _, l := range letters {
			_, name, _ := event.ParseSubject(l.Subject) // name stays empty if the subject belongs to no event
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.Seq, l.At.UTC().Format(stamp), l.Consumer, l.Job, name, l.Deliveries, tail.Clean(l.Code), tail.Clean(l.Reason))
		}
		fmt.Fprintf(table, "%d of %d dead letters\n", len(letters), all)
		return errors.Join(table.Flush(), t.others(ctx, b, c.Consumer, all))
	})
}

// others prints which consumers have dead letters, if the given consumer has none: its name may be misspelt.
func (t terminal) others(ctx context.Context, b *bus.Bus, consumer string, found int) error {
	if consumer == "" || found > 0 {
		return nil
	}
	letters, err := deadletter.New(b).List(ctx, "")
	if err != nil || len(letters) == 0 {
		return err
	}
	names := make(map[string]bool)
	for _, l := range letters {
		names[l.Consumer] = true
	}
	fmt.Fprintf(t.out, "%s has none; these consumers have dead letters: %s\n", consumer, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
	return nil
}

// sequences are the arguments of a command with the numbers of one or more dead letters.
type sequences struct {
	Seqs []uint64 `arg:"" name:"seq" help:"the numbers of dead letters, as in the column SEQ of dead list"`
}

// Validate implements kong.Validatable.
func (s *sequences) Validate() error {
	if slices.Contains(s.Seqs, 0) {
		return errors.New("0 is not the number of a dead letter")
	}
	return nil
}

type deadShow struct{ sequences }

// Run shows dead letters.
func (c *deadShow) Run(ctx context.Context, t terminal) error {
	return t.withBus(ctx, func(b *bus.Bus) error {
		for _, seq := range c.Seqs {
			l, err := deadletter.New(b).Get(ctx, seq)
			if err != nil {
				return err
			}
			log, err := logOf(ctx, b, l.Job)
			if err != nil {
				return err
			}
			table := t.table()
			for _, row := range [][2]string{
				{"letter", strconv.FormatUint(l.Seq, 10)}, {"time", l.At.UTC().Format(stamp)}, {"consumer", l.Consumer},
				{"reason", tail.Clean(l.Code + ": " + l.Reason)}, {"deliveries", strconv.FormatUint(l.Deliveries, 10)},
				{"event", fmt.Sprintf("%s, sequence %d", tail.Clean(l.Subject), l.EventSeq)}, {"job", describeJob(l.Job, log)}, {"trace", l.Trace},
			} {
				fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
			}
			if err := table.Flush(); err != nil {
				return fmt.Errorf("write dead letter %d: %w", seq, err)
			}
			fmt.Fprintf(t.out, "%s\n\n", readable(l.Body))
		}
		return nil
	})
}

// logOf returns a job's log, or an empty one if job is empty.
func logOf(ctx context.Context, b *bus.Bus, job string) (event.Log, error) {
	if job == "" {
		return nil, nil
	}
	return joblog.New(b).Read(ctx, job)
}

// describeJob describes the state of a job, by its log.
func describeJob(job string, log event.Log) string {
	switch end, ended := log.Terminal(); {
	case job == "":
		return "the subject names none"
	case ended:
		return job + ", has ended: " + string(end.Name())
	case len(log) == 0:
		return job + ", not in the log"
	default:
		return job + ", in progress, last event: " + string(log[len(log)-1].Event.Name())
	}
}

// readable returns a body for the terminal: indented if it is JSON, else as a quoted string with escapes.
func readable(body []byte) string {
	var indented bytes.Buffer
	if json.Indent(&indented, body, "", "  ") == nil && utf8.Valid(body) {
		lines := strings.Split(indented.String(), "\n")
		for i := range lines {
			lines[i] = tail.Clean(lines[i])
		}
		return strings.Join(lines, "\n")
	}
	return fmt.Sprintf("%q", body)
}

type deadReplay struct {
	Seqs     []uint64 `arg:"" optional:"" name:"seq" help:"the numbers of dead letters, as in the column SEQ of dead list"`
	All      bool     `help:"replay all dead letters, or all those of -consumer"`
	Consumer string   `help:"with -all: only dead letters of this consumer"`
	Wait     period   `default:"2m" help:"the time limit for the replay of each event"`
}

// Run makes consumers handle the events of dead letters again.
func (c *deadReplay) Run(ctx context.Context, t terminal) error {
	if c.All == (len(c.Seqs) > 0) || !c.All && c.Consumer != "" {
		return errors.New("dead replay: give either the numbers of dead letters, or -all; -consumer needs -all")
	}
	return t.withBus(ctx, func(b *bus.Bus) error {
		letters, err := lettersOf(ctx, b, c.Seqs, c.Consumer)
		if err != nil {
			return err
		}
		failed := 0
		for _, l := range letters {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := t.replay(ctx, b, l, c.Wait.duration()); err != nil {
				failed++
				fmt.Fprintf(t.out, "%d  %s  not replayed: %s\n", l.Seq, l.Consumer, said(err))
			}
		}
		fmt.Fprintf(t.out, "%d of %d dead letters replayed\n", len(letters)-failed, len(letters))
		if failed > 0 {
			return fmt.Errorf("%d dead letters were not replayed", failed)
		}
		return t.others(ctx, b, c.Consumer, len(letters))
	})
}

// lettersOf returns the dead letters with the given numbers. Without numbers it returns
// all dead letters of the consumer, or of every consumer if that is empty.
func lettersOf(ctx context.Context, b *bus.Bus, seqs []uint64, consumer string) ([]deadletter.DeadLetter, error) {
	if len(seqs) == 0 {
		return deadletter.New(b).List(ctx, consumer)
	}
	letters := make([]deadletter.DeadLetter, len(seqs))
	for i, seq := range seqs {
		l, err := deadletter.New(b).Get(ctx, seq)
		if err != nil {
			return nil, err
		}
		letters[i] = l
	}
	return letters, nil
}

// replay makes the consumer that dead-lettered an event handle it again, and deletes the
// dead letter when that has succeeded. If this process ends in between, the dead letter
// stays; replaying it again changes nothing.
func (t terminal) replay(ctx context.Context, b *bus.Bus, l deadletter.DeadLetter, wait time.Duration) error {
	if err := deadletter.New(b).Replay(ctx, l, wait); err != nil {
		return err
	}
	log, err := logOf(ctx, b, l.Job)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%d  %s  replayed; job %s\n", l.Seq, l.Consumer, describeJob(l.Job, log))
	return nil
}

type deadDrop struct{ sequences }

// Run deletes dead letters.
func (c *deadDrop) Run(ctx context.Context, t terminal) error {
	return t.withBus(ctx, func(b *bus.Bus) error {
		for _, seq := range c.Seqs {
			if err := deadletter.New(b).Delete(ctx, seq); err != nil {
				return err
			}
			fmt.Fprintf(t.out, "%d deleted\n", seq)
		}
		return nil
	})
}
