package bus_test

import (
	"sync"
	"testing"

	"sori.internal/shared/testkit"
)

func TestAMarkIsSetOnceForAllReplicasAndStaysSet(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	one, other := k.Bus("one").Mark("MARKS", "a"), k.Bus("other").Mark("MARKS", "a")
	if set, err := other.IsSet(k.Context()); err != nil || set {
		t.Fatalf("%v %v", set, err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := one.Set(k.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := other.Set(k.Context()); err != nil {
		t.Error(err)
	}
	if set, err := k.Bus("later").Mark("MARKS", "a").IsSet(k.Context()); err != nil || !set {
		t.Errorf("%v %v", set, err)
	}
	if set, err := one.IsSet(k.Context()); err != nil || !set {
		t.Errorf("%v %v", set, err)
	}
	if set, err := k.Bus("later").Mark("MARKS", "b").IsSet(k.Context()); err != nil || set {
		t.Errorf("another key: %v %v", set, err)
	}
}
