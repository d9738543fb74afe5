package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
)

// Tests of many packages create and delete their streams at the same time.
func TestAStreamCanBeMadeWhileOthersAreRemoved(t *testing.T) {
	t.Parallel()
	server, err := stack.StartNATS(t.Context(), proc.Port{}, stack.NATSSettings{Dir: t.TempDir()}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.WithoutCancel(t.Context())) })
	release, err := keepStream(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	nc, err := nats.Connect(server.URL(), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for maker := range 2 {
		wg.Go(func() {
			for round := range 200 {
				name := fmt.Sprintf("S-%d-%d", maker, round)
				if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name}}); err != nil {
					t.Errorf("make %s: %v", name, err)
					return
				}
				if err := js.DeleteStream(t.Context(), name); err != nil {
					t.Errorf("remove %s: %v", name, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestTheFoldersOfKilledRunsAreRemoved(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	folder := func(name string, age time.Duration) string {
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(filepath.Join(dir, "files", "of", "a", "test"), 0o711); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	killed, young, other := folder(suitePattern+"1", time.Hour), folder(suitePattern+"2", 0), folder("another-3", time.Hour)
	const nobody = 65534
	wanted := map[string]bool{killed: false, young: true, other: true}
	if os.Getuid() == 0 { // only root can make a folder of another user
		foreign := folder(suitePattern+"5", time.Hour)
		if err := os.Chown(foreign, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		wanted[foreign] = true
	}
	used := filepath.Join(parent, suitePattern+"4")
	deps, err := stack.Start(t.Context(), stack.Options{Dir: used, Fast: true, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := deps.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chtimes(used, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	wanted[used] = true
	removeFormer(parent)
	for dir, want := range wanted {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", filepath.Base(dir), err)
		}
	}
}
