package faults_test

import (
	"slices"
	"testing"

	"sori.internal/shared/fault"
	"sori.internal/shared/testkit/faults"
)

func TestEachOperationFailsAndWritesAlsoLoseTheirResponse(t *testing.T) {
	t.Parallel()
	var written []int
	var failed [][]string
	faults.Sweep(t, func(p *faults.Plan) {
		writes := 0
		_, first := faults.Read(p, "read", func() (int, error) { return 1, nil })
		second := faults.Run(p, "write", func() error { writes++; return nil })
		for _, err := range []error{first, second} {
			if err != nil && !fault.Is(err, fault.Unavailable) {
				t.Error(err)
			}
		}
		written, failed = append(written, writes), append(failed, p.Failed())
	})
	if !slices.Equal(written, []int{1, 1, 0, 1}) { // without a fault, read fails, write fails, its response is lost
		t.Errorf("%v were written", written)
	}
	if want := [][]string{nil, {"read"}, {"write"}, {"write"}}; !slices.EqualFunc(failed, want, slices.Equal) {
		t.Errorf("%v failed", failed)
	}
}
