package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	gateway "sori.internal/services/gateway/app"
)

type auditCommand struct {
	Owner  string `help:"list only requests of this owner"`
	Object string `help:"list only requests whose path contains this text, such as the id of a job"`
	Since  period `help:"list only requests within this period before now, such as 24h"`
	N      int    `default:"100" help:"list only the newest entries, at most this number"`
	JSON   bool   `help:"print JSON, one entry per line"`
}

// Run lists entries of the audit log.
func (c *auditCommand) Run(ctx context.Context, t terminal) (err error) {
	if c.N < 1 {
		return errors.New("audit: -n must be at least 1")
	}
	cfg, err := t.database()
	if err != nil {
		return err
	}
	log, err := gateway.OpenAuditLog(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	f := gateway.AuditFilter{Owner: c.Owner, Object: c.Object}
	if c.Since > 0 {
		f.Since = time.Now().Add(-c.Since.duration())
	}
	entries, err := log.List(ctx, f, c.N)
	if err != nil {
		return err
	}
	if c.JSON {
		return lines(t, entries)
	}
	table := t.table()
	fmt.Fprintln(table, "TIME\tOWNER\tKEY\tSTATUS\tACTION\tOBJECT\tADDRESS\tREQUEST")
	for _, e := range entries {
		fmt.Fprintf(table, "%s\t%q\t%s\t%d\t%s\t%q\t%s\t%s\n",
			e.At.UTC().Format(time.RFC3339), e.Owner, e.KeyID, e.Status, e.Action, e.Object, e.Address, e.RequestID)
	}
	fmt.Fprintf(table, "%d entries\n", len(entries))
	return table.Flush()
}
