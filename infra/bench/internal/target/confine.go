package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"sori.internal/infra/internal/harness"
)

// Confine restarts the programs with settings like those of docker-compose.yml: the memory limits of the Go
// runtime, an analysis server that uses one processor, the limit of analyses that such a server needs, and
// authentication by API keys. The gateway trusts X-Forwarded-For, so that each client can have its own
// address. restore undoes these changes.
func (w *Target) Confine(ctx context.Context) (restore func() error, err error) {
	if w.system == nil {
		return nil, ErrNotOurs
	}
	if err := os.MkdirAll(w.analyzerFiles(), 0o700); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	further := map[string]map[string]string{
		// An empty value restores the service's default, since other scenarios have changed these settings.
		harness.Gateway: {
			"AUTH_API_KEYS": "true", "TRUSTED_PROXIES": "loopback", "MAX_UPLOAD_BYTES": "",
			"RATE_LIMIT_PER_PRINCIPAL": "", "MAX_UPLOADS_PER_PRINCIPAL": "", "MAX_STREAMS_PER_PRINCIPAL": "",
		},
		// One analysis runs while the next recording is fetched. Further jobs wait in the dispatcher, where owners take turns.
		harness.Dispatcher: {"ANALYSIS_MAX_RUNNING": "2"},
		harness.Analyzer: {
			"BEHAVIOUR_INSTANT": "false", "BEHAVIOUR_NO_PROGRESS": "false", "TMPDIR": w.analyzerFiles(),
			"CONCURRENCY": "1", "GOMAXPROCS": "1",
		},
	}
	usual := map[string]map[string]string{
		harness.Gateway:    {"AUTH_API_KEYS": "false", "TRUSTED_PROXIES": ""},
		harness.Dispatcher: {"ANALYSIS_MAX_RUNNING": ""},
		harness.Analyzer: {
			"BEHAVIOUR_INSTANT": "true", "BEHAVIOUR_NO_PROGRESS": "true", "TMPDIR": os.Getenv("TMPDIR"),
			"CONCURRENCY": "0", "GOMAXPROCS": os.Getenv("GOMAXPROCS"),
		},
	}
	restart := func(ctx context.Context, settings map[string]map[string]string, limited bool) error {
		for _, name := range harness.Names() {
			own := map[string]string{"GOMEMLIMIT": os.Getenv("GOMEMLIMIT")}
			if soft := w.Containers[name].SoftMemory; limited && soft > 0 {
				own["GOMEMLIMIT"] = strconv.FormatInt(soft, 10)
			}
			for setting, value := range settings[name] {
				own[setting] = value
			}
			if err := w.Restart(ctx, own, name); err != nil {
				return err
			}
		}
		return nil
	}
	restore = func() error { return restart(context.WithoutCancel(ctx), usual, false) }
	if err := restart(ctx, further, true); err != nil {
		return nil, errors.Join(err, restore())
	}
	return restore, nil
}
