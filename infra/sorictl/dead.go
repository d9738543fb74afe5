package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"sori.internal/infra/internal/connect"
	"sori.internal/infra/internal/tail"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
)

// stamp is how times are shown, in UTC as the API and most logs have them.
const stamp = "2006-01-02 15:04:05.000Z"

// withBus parses a command's flags and runs work on the bus with what is left of
// the arguments.
func (t terminal) withBus(ctx context.Context, settings func() (config.Lookup, error), work func(*bus.Bus) error) (err error) {
	lookup, err := settings()
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

func (t terminal) deadList(ctx context.Context, args []string) error {
	flags, settings := t.flags("dead list")
	consumer := flags.String("consumer", "", "the letters of this consumer alone")
	n := flags.Int("n", 50, "the newest n; 0 is all")
	asJSON := flags.Bool("json", false, "one JSON object a line")
	if rest, err := connect.Parse(flags, args); err != nil || len(rest) > 0 {
		return errors.Join(err, unexpected(rest))
	}
	return t.withBus(ctx, settings, func(b *bus.Bus) error {
		letters, err := deadletter.New(b).List(ctx, *consumer)
		if err != nil {
			return err
		}
		all := len(letters)
		if *n > 0 && all > *n {
			letters = letters[all-*n:]
		}
		if *asJSON {
			return t.lines(letters)
		}
		table := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "SEQ\tTIME\tCONSUMER\tJOB\tEVENT\tTRIES\tCODE\tREASON")
		for _, l := range letters {
			_, name, _ := event.ParseSubject(l.Subject) // an event that is none has no name
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.Seq, l.At.UTC().Format(stamp), l.Consumer, l.Job, name, l.Deliveries, tail.Clean(l.Code), tail.Clean(l.Reason))
		}
		fmt.Fprintf(table, "%d of %d dead letters\n", len(letters), all)
		return table.Flush()
	})
}

// lines writes one JSON object a line.
func (t terminal) lines(letters []deadletter.DeadLetter) error {
	encode := json.NewEncoder(t.out)
	for _, l := range letters {
		if err := encode.Encode(l); err != nil {
			return fmt.Errorf("write letter %d: %w", l.Seq, err)
		}
	}
	return nil
}

func unexpected(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q", args[0])
}

// sequences reads letters' numbers; none at all is an error.
func sequences(args []string) ([]uint64, error) {
	if len(args) == 0 {
		return nil, errors.New("which letter? `sorictl dead list` shows their numbers")
	}
	found := make([]uint64, len(args))
	for i, a := range args {
		n, err := strconv.ParseUint(a, 10, 64)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is no letter's number", a)
		}
		found[i] = n
	}
	return found, nil
}

func (t terminal) deadShow(ctx context.Context, args []string) error {
	flags, settings := t.flags("dead show")
	rest, err := connect.Parse(flags, args)
	if err != nil {
		return err
	}
	seqs, err := sequences(rest)
	if err != nil {
		return err
	}
	return t.withBus(ctx, settings, func(b *bus.Bus) error {
		for _, seq := range seqs {
			l, err := deadletter.New(b).Get(ctx, seq)
			if err != nil {
				return err
			}
			log, err := logOf(ctx, b, l.Job)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
			for _, row := range [][2]string{
				{"letter", strconv.FormatUint(l.Seq, 10)}, {"time", l.At.UTC().Format(stamp)}, {"consumer", l.Consumer},
				{"reason", tail.Clean(l.Code + ": " + l.Reason)}, {"deliveries", strconv.FormatUint(l.Deliveries, 10)},
				{"event", fmt.Sprintf("%s, sequence %d", tail.Clean(l.Subject), l.EventSeq)}, {"job", standing(l.Job, log)}, {"trace", l.Trace},
			} {
				fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
			}
			if err := table.Flush(); err != nil {
				return fmt.Errorf("write letter %d: %w", seq, err)
			}
			fmt.Fprintf(t.out, "%s\n\n", readable(l.Body))
		}
		return nil
	})
}

// logOf reads a job's log; that of no job is empty.
func logOf(ctx context.Context, b *bus.Bus, job string) (event.Log, error) {
	if job == "" {
		return nil, nil
	}
	return joblog.New(b).Read(ctx, job)
}

// standing says where a job is.
func standing(job string, log event.Log) string {
	switch end, ended := log.Terminal(); {
	case job == "":
		return "none that the subject names"
	case ended:
		return job + ", has ended: " + string(end.Name())
	case len(log) == 0:
		return job + ", no longer in the log"
	default:
		return job + ", under way since " + string(log[len(log)-1].Event.Name())
	}
}

// readable is a body for a screen: JSON indented, what is no text in hexadecimal.
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

func (t terminal) deadReplay(ctx context.Context, args []string) error {
	flags, settings := t.flags("dead replay")
	all := flags.Bool("all", false, "every letter, or every one of -consumer")
	consumer := flags.String("consumer", "", "with -all: the letters of this consumer alone")
	wait := flags.Duration("wait", 2*time.Minute, "how long one event may take")
	rest, err := connect.Parse(flags, args)
	if err != nil {
		return err
	}
	if *all && len(rest) > 0 || !*all && *consumer != "" {
		return errors.New("dead replay: either the letters' numbers, or -all with -consumer")
	}
	var seqs []uint64
	if !*all {
		if seqs, err = sequences(rest); err != nil {
			return err
		}
	}
	return t.withBus(ctx, settings, func(b *bus.Bus) error {
		letters, err := lettersOf(ctx, b, seqs, *consumer)
		if err != nil {
			return err
		}
		failed := 0
		for _, l := range letters {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := t.replay(ctx, b, l, *wait); err != nil {
				failed++
				fmt.Fprintf(t.out, "%d  %s  stays: %s\n", l.Seq, l.Consumer, said(err))
			}
		}
		fmt.Fprintf(t.out, "%d of %d letters replayed\n", len(letters)-failed, len(letters))
		if failed > 0 {
			return fmt.Errorf("%d letters stay", failed)
		}
		return nil
	})
}

// lettersOf reads the letters with the numbers, or all of a consumer where there
// are none.
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

// replay has the consumer that rejected an event handle its event again, and drops
// the letter once that is done. Where this process ends in between, the letter
// stays and may be replayed another time, which changes nothing.
func (t terminal) replay(ctx context.Context, b *bus.Bus, l deadletter.DeadLetter, wait time.Duration) error {
	if err := deadletter.New(b).Replay(ctx, l, wait); err != nil {
		return err
	}
	log, err := logOf(ctx, b, l.Job)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%d  %s  replayed; job %s\n", l.Seq, l.Consumer, standing(l.Job, log))
	return nil
}

func (t terminal) deadDrop(ctx context.Context, args []string) error {
	flags, settings := t.flags("dead drop")
	rest, err := connect.Parse(flags, args)
	if err != nil {
		return err
	}
	seqs, err := sequences(rest)
	if err != nil {
		return err
	}
	return t.withBus(ctx, settings, func(b *bus.Bus) error {
		for _, seq := range seqs {
			if err := deadletter.New(b).Delete(ctx, seq); err != nil {
				return err
			}
			fmt.Fprintf(t.out, "%d dropped\n", seq)
		}
		return nil
	})
}
