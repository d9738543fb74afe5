package main

import (
	"strings"
	"testing"

	"sori.internal/shared/testkit"
)

func TestProvisioningPrintsWhatItMakesAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	shows(t, k, []string{"provision"}, "created    stream AUDIO_JOBS", "created    consumer uploader-received", "created    bucket ANALYSIS_SLOTS")
	if again := shows(t, k, []string{"provision"}, "unchanged  stream AUDIO_JOBS"); strings.Contains(again, "created") {
		t.Errorf("again:\n%s", again)
	}
	shown, err := sorictl(t, k, map[string]string{"JOBS_MAX_AGE": "24h"}, "provision")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, shown, "updated    stream AUDIO_JOBS", "unchanged  consumer uploader-received")
}

func TestProvisioningNamesTheLimitOfNATSThatStreamsExceed(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	shown, err := sorictl(t, k, map[string]string{"STAGING_MAX_BYTES": "1000000000000000"}, "provision")
	if err == nil {
		t.Fatalf("it succeeded: %s", shown)
	}
	contains(t, said(err), "stream AUDIO_STAGING", "1000000000000000 bytes", "max_file_store")
}

func TestProvisioningWaitsForAServerThatIsAwayOnlyAsLongAsItIsTold(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	proxy := k.Proxy(k.Settings(nil)["NATS_URL"])
	proxy.Cut()
	shown, err := sorictl(t, k, map[string]string{"NATS_URL": proxy.URL}, "provision", "-wait", "100ms")
	if err == nil || !strings.Contains(shown, "waiting") {
		t.Errorf("%v: %s", err, shown)
	}
}
