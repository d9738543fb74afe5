package e2e_test

import (
	"context"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/loadgen"
)

// tryUpload sends a recording once. Any answer but 202 is an error.
func tryUpload(ctx context.Context, gateway string, audio []byte) (job string, err error) {
	c := &client.Client{Base: gateway}
	return c.Upload(ctx, 1, loadgen.RecordingOf("tone.wav", audio).Form())
}
