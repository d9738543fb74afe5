package staging_test

import (
	"context"
	"io"
	"os"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/staging"
)

// copyStaged shows the life of an entry: one service stages a body and names it in an event, another
// one copies the body and removes the entry.
func copyStaged(ctx context.Context, b *bus.Bus, job string, body io.Reader) error {
	store := staging.New(b)
	staged, err := store.Put(ctx, event.ResultEntry(job), body)
	if err != nil {
		return err // nothing is staged
	}
	r, err := store.Open(ctx, staged)
	if err != nil {
		return err
	}
	if _, err := io.Copy(os.Stdout, r); err != nil {
		return err // event.ErrStagingGone if the entry was removed meanwhile
	}
	return store.Delete(ctx, staged.Entry)
}

// An entry is stored, read and removed.
func Example() {
	var b *bus.Bus // from bus.Open
	_ = copyStaged(context.Background(), b, "0199a5f2-0000-7000-8000-000000000000", os.Stdin)
}
