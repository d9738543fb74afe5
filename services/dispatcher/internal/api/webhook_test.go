package api

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/shared/fault"
)

func TestRecordingIsRetriedWhileNATSIsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries, start := 0, time.Now()
		disposition, err := recordWithRetry(t.Context(), func(context.Context) (analysis.Disposition, error) {
			if tries++; time.Since(start) < 5*time.Second {
				return analysis.Recorded, fault.Unreachable("message bus", nil)
			}
			return analysis.AlreadyEnded, nil
		})
		if disposition != analysis.AlreadyEnded || err != nil || tries != 21 {
			t.Errorf("%v %v after %d tries", disposition, err, tries)
		}
	})
}

func TestRecordingThatTakesTooLongIsUnavailableWhateverItsContextInterrupted(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]func(context.Context) error{
		"no answer":         func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"always an error":   func(context.Context) error { return fault.Unreachable("message bus", nil) },
		"a full log":        func(context.Context) error { return fault.New(fault.Exhausted, "log-full", "The log is full.") },
		"an error, wrapped": func(ctx context.Context) error { <-ctx.Done(); return fault.Unreachable("message bus", ctx.Err()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := recordWithRetry(t.Context(), func(ctx context.Context) (analysis.Disposition, error) {
					return analysis.Recorded, failure(ctx)
				})
				if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Exhausted) {
					t.Errorf("%v", err)
				}
				if took := time.Since(start); took < retryFor-2*retryInterval || took > retryFor {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestAnErrorThatNoRetryCanFixIsReturnedAtOnce(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{
		"invalid": fault.MalformedJSON("The body is no JSON object.", nil), "internal": errors.New("a defect"),
	} {
		tries := 0
		_, err := recordWithRetry(t.Context(), func(context.Context) (analysis.Disposition, error) {
			tries++
			return analysis.Recorded, want
		})
		if !errors.Is(err, want) || tries != 1 {
			t.Errorf("%s: %v after %d tries", name, err, tries)
		}
	}
}
