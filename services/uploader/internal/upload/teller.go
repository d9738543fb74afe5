package upload

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/shared/event"
)

// tellEvery is the shortest time between two reports of one upload.
const tellEvery = time.Second

// teller passes a body on and reports how far it is.
type teller struct {
	ctx     context.Context //nolint:containedctx // of one copy, which this reader does not outlive
	journal Journal
	job     string
	size    int64
	body    io.Reader

	done   int64
	told   time.Time
	failed atomic.Pointer[error] // what reading ended with, if not its end
}

// Read implements io.Reader.
func (t *teller) Read(p []byte) (int, error) {
	n, err := t.body.Read(p)
	t.done += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		t.failed.Store(&err)
	}
	if time.Since(t.told) >= tellEvery {
		t.tell()
	}
	return n, err
}

// failure is what reading ended with. A driver may still be reading when it has
// given up, so that this may be asked at the same time.
func (t *teller) failure() error {
	if err := t.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// tell reports the progress. A report that is lost harms nothing.
func (t *teller) tell() {
	t.told = time.Now()
	if err := t.journal.Hint(t.ctx, event.Uploading{JobID: t.job, Bytes: t.done, Size: t.size}); err != nil {
		zerolog.Ctx(t.ctx).Debug().Err(err).Msg("progress not told")
	}
}
