package staging_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T) (*testkit.Kit, *staging.Store) {
	t.Helper()
	k := testkit.New(t)
	return k, staging.New(k.Bus("tester", event.Staging()))
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestWhatIsStagedIsReadBackByteForByte(t *testing.T) {
	t.Parallel()
	k, entries := open(t)
	for _, size := range []int{1, 100_000, 256<<10 - 1, 256 << 10, 256<<10 + 1, 5<<20 + 17} {
		entry, body := k.NewJob(), random(size)
		staged, err := entries.Put(k.Context(), entry, iotest.HalfReader(bytes.NewReader(body)))
		must(t, err)
		if staged.Size != int64(size) || staged.Chunks != (size+256<<10-1)/(256<<10) {
			t.Errorf("%d bytes: %+v", size, staged)
		}
		r, err := entries.Open(k.Context(), staged)
		must(t, err)
		got, err := io.ReadAll(r)
		must(t, err)
		if sha256.Sum256(got) != sha256.Sum256(body) {
			t.Errorf("%d bytes come back different", size)
		}
		must(t, entries.Delete(k.Context(), entry))
		must(t, entries.Delete(k.Context(), entry))
		if _, err := entries.Open(k.Context(), staged); !errors.Is(err, event.ErrStagingGone) {
			t.Errorf("after removal: %v", err)
		}
	}
	nothingStaged(t, k, entries)
}

func nothingStaged(t *testing.T, k *testkit.Kit, entries *staging.Store) {
	t.Helper()
	found, err := entries.Entries(k.Context())
	must(t, err)
	if len(found) != 0 {
		t.Errorf("staging holds %v", found)
	}
}

func TestATruncatedBodyLeavesNothingStaged(t *testing.T) {
	t.Parallel()
	k, entries := open(t)
	for _, broken := range []error{io.ErrUnexpectedEOF, errors.New("reset by peer"), context.Canceled} {
		for _, size := range []int{0, 1000, 3 << 20} {
			body := io.MultiReader(bytes.NewReader(random(size)), iotest.ErrReader(broken))
			if _, err := entries.Put(k.Context(), k.NewJob(), body); !errors.Is(err, broken) {
				t.Errorf("%v after %d bytes: %v", broken, size, err)
			}
		}
	}
	nothingStaged(t, k, entries)
}

func TestACanceledUploadLeavesNothingStaged(t *testing.T) {
	t.Parallel()
	k, entries := open(t)
	ctx, cancel := context.WithCancel(k.Context())
	body := io.MultiReader(bytes.NewReader(random(6<<20)), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, ctx.Err()
	}))
	if _, err := entries.Put(ctx, k.NewJob(), body); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	nothingStaged(t, k, entries)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAFullStagingRejectsAnEntryAndKeepsNoneOfIt(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	var cfg bus.Config
	k.Load(&cfg)
	cfg.StagingMaxBytes = 4 << 20
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	must(t, b.Ensure(k.Context(), event.Staging()))
	entries := staging.New(b)
	if _, err := entries.Put(k.Context(), k.NewJob(), bytes.NewReader(random(8<<20))); !fault.Is(err, fault.Exhausted) {
		t.Errorf("%v", err)
	}
	nothingStaged(t, k, entries)
	_, err = entries.Put(k.Context(), k.NewJob(), bytes.NewReader(random(1<<20)))
	must(t, err)
}

func TestReadingFailsAtAMissingChunk(t *testing.T) {
	t.Parallel()
	k, entries := open(t)
	staged, err := entries.Put(k.Context(), k.NewJob(), bytes.NewReader(random(1<<20)))
	must(t, err)
	staged.Chunks++ // declares a further chunk, which is not stored
	r, err := entries.Open(k.Context(), staged)
	must(t, err)
	n, err := io.Copy(io.Discard, r)
	if n != 1<<20 || !errors.Is(err, event.ErrStagingGone) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestABodyFarLargerThanTheIngestQueuePasses(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	var cfg bus.Config
	k.Load(&cfg)
	cfg.StagingMaxBytes = 1 << 30
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	must(t, b.Ensure(k.Context(), event.Staging()))
	entries := staging.New(b)
	const size = 256 << 20
	staged, err := entries.Put(k.Context(), k.NewJob(), io.LimitReader(readerFunc(func(p []byte) (int, error) { return len(p), nil }), size))
	must(t, err)
	if staged.Size != size {
		t.Errorf("%+v", staged)
	}
	must(t, entries.Delete(k.Context(), staged.Entry))
}
