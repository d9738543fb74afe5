package provision_test

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/natsauth"
	"sori.internal/infra/internal/provision"
	dispatcher "sori.internal/services/dispatcher/app"
	gateway "sori.internal/services/gateway/app"
	tracker "sori.internal/services/tracker/app"
	uploader "sori.internal/services/uploader/app"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// openAs opens the bus as one of the users in the namespace of a test.
func openAs(t *testing.T, k *testkit.Kit, name string, changes map[string]string) *bus.Bus {
	t.Helper()
	settings := harness.AsUser(k.Settings(changes), name)
	if name == natsauth.Operator {
		settings["NATS_PROVISION"] = "true"
	}
	var cfg bus.Config
	if err := config.Load(config.Map(settings), &cfg); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Open(cfg, name, k.Log())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func actions(changes []bus.Change) map[bus.Action]int {
	count := map[bus.Action]int{}
	for _, c := range changes {
		count[c.Action]++
	}
	return count
}

func TestProvisioningAgainChangesNothingAndOtherSettingsChangeTheStreams(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	b := openAs(t, k, natsauth.Operator, nil)
	all := len(provision.Resources().Streams) + len(provision.Resources().Consumers) + len(provision.Resources().Buckets)
	for _, want := range []bus.Action{bus.Created, bus.Unchanged} {
		changes, err := provision.NATS(k.Context(), b)
		if err != nil || actions(changes)[want] != all {
			t.Errorf("%s: %v, %v", want, changes, err)
		}
	}
	changes, err := provision.NATS(k.Context(), openAs(t, k, natsauth.Operator, map[string]string{"STAGING_MAX_BYTES": "100000000"}))
	if err != nil || actions(changes)[bus.Updated] != 1 {
		t.Errorf("another limit: %v, %v", changes, err)
	}
}

func TestAServiceWaitsForWhatIsNotProvisionedAndSaysWhatMakesIt(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	services := map[string]bus.Resources{
		natsauth.Gateway: gateway.Resources(), natsauth.Uploader: uploader.Resources(),
		natsauth.Dispatcher: dispatcher.Resources(), natsauth.Tracker: tracker.Resources(),
	}
	for name := range services {
		err := openAs(t, k, name, nil).Ensure(k.Context(), event.Jobs())
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "run `sorictl provision`") {
			t.Errorf("%s before: %v", name, err)
		}
	}
	if _, err := provision.NATS(k.Context(), openAs(t, k, natsauth.Operator, nil)); err != nil {
		t.Fatal(err)
	}
	for name, r := range services {
		b := openAs(t, k, name, nil)
		changes, err := b.Provision(k.Context(), r)
		if err != nil || actions(changes)[bus.Unchanged] != len(changes) {
			t.Errorf("%s after: %v, %v", name, changes, err)
		}
		if err := b.Ready(k.Context()); err != nil {
			t.Errorf("%s is not ready: %v", name, err)
		}
	}
	if strings.Contains(strings.ToLower(k.Logged()), "permissions violation") {
		t.Error("a service asked for what it may not do")
	}
}

func TestAStreamWithOtherLimitsIsUsedAsItIs(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	if _, err := provision.NATS(k.Context(), openAs(t, k, natsauth.Operator, nil)); err != nil {
		t.Fatal(err)
	}
	b := openAs(t, k, natsauth.Tracker, map[string]string{"JOBS_MAX_BYTES": "1000000"})
	if err := b.Ensure(k.Context(), event.Jobs()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(k.Logged(), "run sorictl provision") {
		t.Error("the difference is not logged")
	}
}

func TestAServiceMayNotCreateWhatItUses(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	settings := harness.AsUser(k.Settings(nil), natsauth.Gateway)
	settings["NATS_PROVISION"] = "true" // the setting alone gives the service no permission
	var cfg bus.Config
	if err := config.Load(config.Map(settings), &cfg); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Open(cfg, natsauth.Gateway, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if err := b.Ensure(k.Context(), event.Jobs()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the gateway created a stream: %v", err)
	}
	if _, err := k.JetStream().Stream(k.Context(), k.Namespace().Stream(event.Jobs().Name)); err == nil {
		t.Error("the stream exists")
	}
}
