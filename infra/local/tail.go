package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"sori.internal/shared/trace"
)

// runTail prints what passes on the bus until ctx ends, a line an event: when,
// which subject, which trace, and the body as it is.
func runTail(ctx context.Context, args []string) error {
	o, rest, err := parse("tail", args)
	if err != nil {
		return err
	}
	subject := "audio.>"
	if len(rest) > 0 {
		subject = rest[0]
	}
	url, err := busURL(o.dir)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(url, nats.Name("tail"))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", url, err)
	}
	defer nc.Close()
	messages := make(chan *nats.Msg, 1024)
	if _, err := nc.ChanSubscribe(subject, messages); err != nil {
		return fmt.Errorf("listen to %s: %w", subject, err)
	}
	fmt.Fprintf(os.Stderr, "listening to %s on %s\n", subject, url)
	for {
		select {
		case m := <-messages:
			id := trace.ID(trace.Continue(ctx, first(m.Header[trace.Header])))
			if m.Header[trace.Header] == nil {
				id = "-"
			}
			fmt.Printf("%s  %-70s  trace=%s  %s\n", time.Now().Format("15:04:05.000"), m.Subject, id, m.Data)
		case <-ctx.Done():
			return nil
		}
	}
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func busURL(dir string) (string, error) {
	body, err := os.ReadFile(filepath.Join(dir, endpointsFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("nothing runs in %s: start it with `go run ./infra/local`", dir)
	}
	if err != nil {
		return "", fmt.Errorf("find the bus: %w", err)
	}
	var e endpoints
	if err := json.Unmarshal(body, &e); err != nil {
		return "", fmt.Errorf("find the bus: %w", err)
	}
	return e.NATS, nil
}
