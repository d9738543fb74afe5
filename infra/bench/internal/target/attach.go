package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"sori.internal/infra/internal/command"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
)

// Found describes an installation that runs already. Everything except the gateway may be unknown.
type Found struct {
	Gateway   string `help:"the URL of the gateway of a running Sori, to measure it instead of starting one"`
	Endpoints string `help:"the endpoints.json of a running Sori, to measure it and to learn from NATS when its jobs end"`
	PIDs      string `name:"pids" help:"the processes of the running Sori whose memory and CPU time are measured, as name=pid,name=pid"`
}

// Attach connects to an installation that runs already. It reads the credentials for S3 from the environment variables that
// the services use.
func Attach(ctx context.Context, found Found) (w *Target, err error) {
	w = &Target{Gateway: strings.TrimSuffix(found.Gateway, "/"), Bucket: cmp.Or(os.Getenv("S3_BUCKET_NAME"), harness.Bucket)}
	if err := w.probeGiven(found.PIDs); err != nil {
		return nil, err
	}
	deps := stack.Endpoints{
		S3AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), S3SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		S3Region: cmp.Or(os.Getenv("AWS_REGION"), stack.Region),
	}
	if found.Endpoints != "" {
		e, err := command.ReadFile(found.Endpoints)
		if err != nil {
			return nil, err
		}
		deps.NATSURL, deps.S3Endpoint, deps.DatabaseURL = e.NATSAdmin, e.S3, e.Postgres
		w.Gateway = cmp.Or(w.Gateway, strings.TrimSuffix(e.Gateway, "/"))
	}
	if err := w.connect(ctx, deps); err != nil {
		return nil, errors.Join(err, w.Close(ctx))
	}
	return w, nil
}

func (w *Target) probeGiven(pids string) error {
	w.probes = append(w.probes, self())
	if pids == "" {
		return nil
	}
	for pair := range strings.SplitSeq(pids, ",") {
		name, text, _ := strings.Cut(pair, "=")
		pid, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("process %q: %w", pair, err)
		}
		w.probes = append(w.probes, probe{name: name, pid: func() int { return pid }})
	}
	return nil
}
