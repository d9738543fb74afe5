package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rs/zerolog"

	"sori.internal/shared/config"
	"sori.internal/shared/fault"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/logging"
)

func TestAFailingComponentStopsTheOthersAndIsReported(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	finished := false
	err := lifecycle.Run(t.Context(),
		func(context.Context) error { return broken },
		func(ctx context.Context) error { <-ctx.Done(); finished = true; return nil },
	)
	if !errors.Is(err, broken) || !finished {
		t.Fatalf("%v, finished %v", err, finished)
	}
}

func TestTheSecondComponentIsStoppedAfterTheFirst(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ask, answer := make(chan int), make(chan int)
	err := lifecycle.While(func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		ask <- 1
		if got := <-answer; got != 2 {
			t.Errorf("answered %d", got)
		}
		return nil
	}, func(ctx context.Context) error {
		answer <- <-ask + 1
		<-ctx.Done()
		return nil
	})(ctx)
	if err != nil {
		t.Fatal(err)
	}
}

func TestASecondComponentThatFailsStopsTheFirst(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	err := lifecycle.While(
		func(ctx context.Context) error { <-ctx.Done(); return nil },
		func(context.Context) error { return broken },
	)(t.Context())
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
}

func TestTheEndOfTheContextIsNoFailure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lifecycle.Run(ctx, func(ctx context.Context) error { return ctx.Err() }); err != nil {
		t.Fatal(err)
	}
}

func TestSetupWaitsForADependencyAndThenRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries, ran := 0, false
		component := lifecycle.AfterSetup(zerolog.Nop(), func(context.Context) error {
			if tries++; tries < 12 {
				return fault.Unreachable("database", errors.New("refused"))
			}
			return nil
		}, func(context.Context) error { ran = true; return nil })
		if err := component(t.Context()); err != nil || !ran || tries != 12 {
			t.Fatalf("%v, ran %v after %d tries", err, ran, tries)
		}
	})
}

func TestSetupThatCannotSucceedEnds(t *testing.T) {
	t.Parallel()
	old := errors.New("the server is too old")
	for _, setup := range []error{old, fault.Misconfigured("database", old)} {
		component := lifecycle.AfterSetup(zerolog.Nop(), func(context.Context) error { return setup })
		if err := component(t.Context()); !errors.Is(err, old) {
			t.Error(err)
		}
	}
}

func TestAStopDuringSetupIsNoFailure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	component := lifecycle.AfterSetup(zerolog.Nop(), func(context.Context) error {
		cancel()
		return fault.Unreachable("database", errors.New("refused"))
	})
	if err := component(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestConfigureReadsTheSettingsAndMakesTheLogger(t *testing.T) {
	t.Parallel()
	type settings struct {
		Limit   int `env:"LIMIT" envDefault:"3"`
		Logging logging.Config
	}
	var out strings.Builder
	p := lifecycle.Process{Lookup: config.Map(map[string]string{"LOG_FORMAT": "json", "LOG_LEVEL": "warn"}), Stderr: &out}
	var cfg settings
	log, err := p.Configure(&cfg, &cfg.Logging, "tester")
	if err != nil || cfg.Limit != 3 {
		t.Fatalf("%+v, %v", cfg, err)
	}
	log.Info().Msg("hidden")
	log.Warn().Msg("shown")
	if text := out.String(); strings.Contains(text, "hidden") || !strings.Contains(text, `"service":"tester"`) || !strings.Contains(text, "shown") {
		t.Errorf("logged %s", text)
	}
	p.Lookup = config.Map(map[string]string{"LIMIT": "many"})
	if _, err := p.Configure(&cfg, &cfg.Logging, "tester"); err == nil || !strings.Contains(err.Error(), "LIMIT: ") {
		t.Errorf("a limit that is no number: %v", err)
	}
}
