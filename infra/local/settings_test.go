package main

import (
	"slices"
	"testing"

	"sori.internal/shared/bus"
	"sori.internal/shared/config"
)

// The services may not change streams: a setting that is missing here has no effect on them.
func TestTheRunnerProvisionsNATSWithEverySettingOfTheStreams(t *testing.T) {
	t.Parallel()
	all, err := config.Describe(new(bus.Config))
	if err != nil {
		t.Fatal(err)
	}
	connection, err := config.Describe(new(bus.Connection))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name != "NATS_PROVISION" && !slices.Contains(connection, s) && !slices.Contains(natsSettings(), s.Name) {
			t.Errorf("%s is not passed on", s.Name)
		}
	}
}
