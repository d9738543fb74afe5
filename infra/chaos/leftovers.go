package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/invariants"
)

// leftovers contains the goroutines and open files of each process while there is no work.
type leftovers map[string]holding

type holding struct{ goroutines, files int }

// The bounds for the growth of a process's goroutines and open files from before the faults to the end. The number of
// connections in its pools varies, and each has two goroutines. A leak with every fault or job would exceed these bounds by
// far.
const (
	moreGoroutines = 40
	moreFiles      = 20
)

// leftovers reads the numbers from the metrics of every service.
func (o *experiment) leftovers(ctx context.Context) (leftovers, error) {
	all := leftovers{}
	for _, name := range harness.Services() {
		for _, p := range o.sori.Processes(name) {
			h, err := holdingOf(ctx, p.Admin())
			if err != nil {
				return nil, err
			}
			all[p.Name()] = h
		}
	}
	return all, nil
}

func holdingOf(ctx context.Context, url string) (h holding, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return h, fmt.Errorf("ask for metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return h, fmt.Errorf("ask for metrics: %w", err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return h, fmt.Errorf("read metrics: %w", err)
	}
	gauge := func(name string) int {
		metrics := families[name].GetMetric()
		if len(metrics) != 1 {
			err = errors.Join(err, fmt.Errorf("read metrics: %d of %s", len(metrics), name))
			return 0
		}
		return int(metrics[0].GetGauge().GetValue())
	}
	h = holding{goroutines: gauge("go_goroutines"), files: gauge("process_open_fds")}
	return h, err
}

// leftOver waits, at most for Options.Linger, until no service has more goroutines and files than before. It returns the
// services that still have more, and the number of database connections that are idle in a transaction.
func (o *experiment) leftOver(ctx context.Context) ([]string, error) {
	err := invariants.Await(ctx, o.opt.Linger, func() error {
		after, err := o.leftovers(ctx)
		if err != nil {
			return err
		}
		if more := after.more(o.before); len(more) > 0 {
			return errors.New(strings.Join(more, "; "))
		}
		return nil
	})
	wrong := texts(err)
	const query = `
		SELECT count(*)
		FROM pg_stat_activity
		WHERE state LIKE 'idle in transaction%'`
	var open int
	if err := o.checker.DB.GetContext(ctx, &open, query); err != nil {
		return wrong, fmt.Errorf("look at the database's connections: %w", err)
	}
	if open > 0 {
		wrong = append(wrong, fmt.Sprintf("%d connections to the database are in the middle of a transaction", open))
	}
	return wrong, nil
}

// more describes the services that have more goroutines or files than before, beyond the tolerance.
func (l leftovers) more(before leftovers) []string {
	var more []string
	for name, now := range l {
		was := before[name]
		if now.goroutines > was.goroutines+moreGoroutines || now.files > was.files+moreFiles {
			more = append(more, fmt.Sprintf("%s holds %d goroutines and %d files, before %d and %d",
				name, now.goroutines, now.files, was.goroutines, was.files))
		}
	}
	return more
}
