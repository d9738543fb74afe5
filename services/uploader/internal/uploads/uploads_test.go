package uploads_test

import (
	"strconv"
	"testing"
	"time"

	"sori.internal/services/uploader/internal/direct"
	"sori.internal/services/uploader/internal/uploads"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// NATS returns the last messages of at most 1024 subjects in one response. If the store depended on
// that, two users with many forms would stop the forms of all users, and the removal of all uploads.
func TestAnyNumberOfUploadsIsRead(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	b := k.Bus("tester", event.Uploads())
	store := uploads.New(b)
	const count = 1100
	for n := range count {
		u := direct.Upload{JobID: k.NewJob(), Key: strconv.Itoa(n), Owner: strconv.Itoa(n % 3), Created: time.Now()}
		if err := store.Put(k.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	all, err := store.All(k.Context(), event.WayForm)
	if err != nil || len(all) != count {
		t.Fatalf("%d uploads, %v", len(all), err)
	}
	for n, u := range all {
		if u.Key != strconv.Itoa(n) {
			t.Fatalf("the upload %s is at place %d: the oldest must come first", u.Key, n)
		}
	}
	if others, err := store.All(k.Context(), event.WayMultipart); err != nil || len(others) != 0 {
		t.Errorf("of another way: %d, %v", len(others), err)
	}
}
