package upload_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"testing"

	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// corner is the core's surroundings, all of them real.
type corner struct {
	*testkit.Kit
	t      *testing.T
	bus    *bus.Bus
	bucket *objects.Bucket
}

func newCorner(t *testing.T) *corner {
	t.Helper()
	k := testkit.New(t)
	client, name := k.Bucket()
	return &corner{Kit: k, t: t, bus: k.Bus("uploader", event.Jobs(), event.Staging()), bucket: objects.New(client, name)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *corner) upload(size int) event.Received {
	c.t.Helper()
	return c.uploadTo("", c.NewJob(), size)
}

// uploadTo stages a job's bytes in an entry, the one of the job's name where it is empty.
func (c *corner) uploadTo(entry, job string, size int) event.Received {
	c.t.Helper()
	body := bytes.Repeat([]byte("sori"), size/4)
	sum := sha256.Sum256(body)
	e := event.Received{JobID: job, Entry: entry, FileName: "a.wav", MediaType: "audio/wav", SHA256: hex.EncodeToString(sum[:])}
	staged, err := c.bus.Stage(c.Context(), e.Staged().Entry, bytes.NewReader(body))
	must(c.t, err)
	e.Size, e.Chunks = staged.Size, staged.Chunks
	c.append(e)
	return e
}

func (c *corner) append(e event.Event) {
	c.t.Helper()
	_, err := c.bus.Decide(c.Context(), e.Job(), nil, func(event.Log) (event.Event, error) { return e, nil })
	must(c.t, err)
}

// ends checks how a job stands: its log, its object, and that staging is empty.
func (c *corner) ends(e event.Received, object bool, story ...event.Name) {
	c.t.Helper()
	if got := c.Story(c.bus, e.JobID); !slices.Equal(got, story) {
		c.t.Errorf("story %v, want %v", got, story)
	}
	_, found, err := c.bucket.Find(c.Context(), upload.Key(e.JobID, e.FileName))
	if err != nil || found != object {
		c.t.Errorf("object: %v %v, want %v", found, err, object)
	}
	entries, err := c.bus.StagedEntries(c.Context())
	if err != nil || len(entries) > 0 {
		c.t.Errorf("staged: %v %v", entries, err)
	}
}

// between is the bucket with something that happens right before or after an
// object is put.
type between struct {
	upload.Objects
	before, after func() error
}

func (b between) Put(ctx context.Context, o upload.Object, body io.Reader) error {
	if b.before != nil {
		if err := b.before(); err != nil {
			return err
		}
	}
	err := b.Objects.Put(ctx, o, body)
	if b.after != nil && err == nil {
		err = b.after()
	}
	return err
}

func TestAnEndingDuringTheCopyTakesTheObjectAway(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]func(between, func() error) between{
		"before the object": func(b between, f func() error) between { b.before = f; return b },
		"after the object":  func(b between, f func() error) between { b.after = f; return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCorner(t)
			e := c.upload(1 << 20)
			core := upload.New(c.bus, c.bus, place(between{Objects: c.bucket}, func() error {
				c.append(event.Canceled{JobID: e.JobID})
				return nil
			}))
			must(t, core.Store(c.Context(), e))
			c.ends(e, false, event.NameReceived, event.NameCanceled)
			must(t, core.Store(c.Context(), e))
			c.ends(e, false, event.NameReceived, event.NameCanceled)
		})
	}
}

func TestAnotherCopyThatFinishesFirstIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]func(between, func() error) between{
		"before the object": func(b between, f func() error) between { b.before = f; return b },
		"after the object":  func(b between, f func() error) between { b.after = f; return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCorner(t)
			e := c.upload(1 << 20)
			other := upload.New(c.bus, c.bus, c.bucket)
			core := upload.New(c.bus, c.bus, place(between{Objects: c.bucket}, func() error { return other.Store(c.Context(), e) }))
			must(t, core.Store(c.Context(), e))
			c.ends(e, true, event.NameReceived, event.NameStored)
		})
	}
}

func TestACrashAfterTheObjectIsFinishedByTheNextDelivery(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	e := c.upload(1 << 20)
	crash := errors.New("the process died")
	core := upload.New(c.bus, c.bus, between{Objects: c.bucket, after: func() error { return crash }})
	if err := core.Store(c.Context(), e); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	must(t, upload.New(c.bus, c.bus, c.bucket).Store(c.Context(), e))
	c.ends(e, true, event.NameReceived, event.NameStored)
}

// stuck is staging that cannot be cleaned once.
type stuck struct {
	upload.Staging
	err *error
}

func (s stuck) Unstage(ctx context.Context, entry string) error {
	if err := *s.err; err != nil {
		*s.err = nil
		return err
	}
	return s.Staging.Unstage(ctx, entry)
}

func TestACrashBeforeTheCleaningIsFinishedByTheNextDelivery(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	e := c.upload(1 << 20)
	crash := fault.Away("message bus", nil)
	var err error = crash
	core := upload.New(c.bus, stuck{c.bus, &err}, c.bucket)
	if err := core.Store(c.Context(), e); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	must(t, core.Store(c.Context(), e))
	c.ends(e, true, event.NameReceived, event.NameStored)
}

func TestGivingUpAStoredJobOrOneThatDoesNotExistChangesNothing(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	core := upload.New(c.bus, c.bus, c.bucket)
	e := c.upload(1000)
	must(t, core.Store(c.Context(), e))
	must(t, core.Fail(c.Context(), e.JobID, "unreadable-event", "no"))
	c.ends(e, true, event.NameReceived, event.NameStored)
	unknown := c.NewJob()
	must(t, core.Fail(c.Context(), unknown, "unreadable-event", "no"))
	if story := c.Story(c.bus, unknown); len(story) > 0 {
		t.Errorf("story %v", story)
	}
}

func TestARecordingIsCopiedFromTheEntryThatItsEventNames(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	job := c.NewJob()
	entry, err := event.UploadEntry(job)
	must(t, err)
	e := c.uploadTo(entry, job, 1<<20)
	for range 2 {
		must(t, upload.New(c.bus, c.bus, c.bucket).Store(c.Context(), e))
		c.ends(e, true, event.NameReceived, event.NameStored)
	}
}
