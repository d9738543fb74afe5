package coordination_test

import (
	"sync"
	"testing"

	"sori.internal/shared/coordination"
	"sori.internal/shared/testkit"
)

func TestAFlagIsSetOnceForAllReplicasAndStaysSet(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	one, other := coordination.NewFlag(k.Bus("one"), "FLAGS", "a"), coordination.NewFlag(k.Bus("other"), "FLAGS", "a")
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
	if set, err := coordination.NewFlag(k.Bus("later"), "FLAGS", "a").IsSet(k.Context()); err != nil || !set {
		t.Errorf("%v %v", set, err)
	}
	if set, err := one.IsSet(k.Context()); err != nil || !set {
		t.Errorf("%v %v", set, err)
	}
	if set, err := coordination.NewFlag(k.Bus("later"), "FLAGS", "b").IsSet(k.Context()); err != nil || set {
		t.Errorf("another key: %v %v", set, err)
	}
}
