package objects_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"sori.internal/services/uploader/internal/objects"
	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
	"sori.internal/shared/testkit"
)

func newBucket(t *testing.T) (*testkit.Kit, *objects.Bucket) {
	t.Helper()
	k := testkit.New(t)
	client, name := k.Bucket()
	b := objects.New(client, client, name)
	if b.Name() != name {
		t.Errorf("the bucket is called %q", b.Name())
	}
	return k, b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnObjectExistsUntilItIsRemoved(t *testing.T) {
	t.Parallel()
	k, b := newBucket(t)
	for _, o := range []upload.Object{
		{Key: "audio/1_a.wav", MediaType: "audio/wav", Size: 5, SHA256: "abc"},
		{Key: "audio/2_소리_녹음.m4a", MediaType: "audio/mp4", Size: 9 << 20, SHA256: "def"},
	} {
		must(t, b.Put(k.Context(), o, io.LimitReader(endless{}, o.Size)))
		found, ok, err := b.Stat(k.Context(), o.Key)
		if err != nil || !ok || found != o {
			t.Errorf("found %+v %v %v, want %+v", found, ok, err, o)
		}
		must(t, b.Remove(k.Context(), o.Key))
		must(t, b.Remove(k.Context(), o.Key))
		if _, ok, err := b.Stat(k.Context(), o.Key); ok || err != nil {
			t.Errorf("after its removal: %v %v", ok, err)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 's'
	}
	return len(p), nil
}

func TestAPutWhoseBodyFailsChangesNothing(t *testing.T) {
	t.Parallel()
	k, b := newBucket(t)
	o := upload.Object{Key: "audio/1_a.wav", MediaType: "audio/wav", Size: 1 << 20, SHA256: "abc"}
	broken := errors.New("connection lost")
	half := func() io.Reader {
		return io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<19)), iotest.ErrReader(broken))
	}
	for _, body := range []io.Reader{half(), bytes.NewReader(make([]byte, 100))} { // a body that fails, and a body that is too short
		if err := b.Put(k.Context(), o, body); err == nil {
			t.Error("it was stored")
		}
		if _, ok, err := b.Stat(k.Context(), o.Key); ok || err != nil {
			t.Errorf("after a broken put: %v %v", ok, err)
		}
	}
	must(t, b.Put(k.Context(), o, io.LimitReader(endless{}, o.Size)))
	if err := b.Put(k.Context(), upload.Object{Key: o.Key, Size: o.Size, SHA256: "other"}, half()); err == nil {
		t.Error("it was stored")
	}
	if found, ok, err := b.Stat(k.Context(), o.Key); err != nil || !ok || found != o {
		t.Errorf("the object became %+v %v %v", found, ok, err)
	}
}

func TestABucketThatDoesNotExistIsUnavailable(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	client, name := k.Bucket()
	b := objects.New(client, client, name+"-gone")
	for what, err := range map[string]error{
		"put":    b.Put(k.Context(), upload.Object{Key: "audio/1", Size: 1}, strings.NewReader("x")),
		"remove": b.Remove(k.Context(), "audio/1"),
	} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// If reading an object breaks off, the error must have the kind unavailable, so that the event is
// redelivered or the request repeated. Any other error would count as a defect.
func TestAnObjectWhoseReadingBreaksIsUnavailable(t *testing.T) {
	t.Parallel()
	k, b := newBucket(t)
	o := upload.Object{Key: "audio/1_a.wav", MediaType: "audio/wav", Size: 32 << 20} // larger than all buffers on the way
	must(t, b.Put(k.Context(), o, io.LimitReader(endless{}, o.Size)))
	var cfg objectstore.Config
	k.Load(&cfg)
	proxy := k.Proxy(cfg.Endpoint)
	cfg.Endpoint = proxy.URL
	client, err := objectstore.Open(cfg)
	must(t, err)
	content, err := objects.New(client, client, cfg.Bucket).Open(k.Context(), o.Key)
	must(t, err)
	defer content.Close()
	proxy.Cut()
	if _, err := io.Copy(io.Discard, content); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}
