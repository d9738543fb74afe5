package main

import (
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

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

// The last migration of the tracker is pending again, and takes longer than the time limit: another
// program has locked the migrations.
func TestAMigrationMayTakeLongerThanTheWait(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	db, err := sqlx.Open("postgres", k.Database())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	shows(t, k, []string{"provision"}, "migrated   the schemas of gateway and tracker")
	for _, statement := range []string{
		`DELETE FROM tracker.migrations WHERE version_id = (SELECT max(version_id) FROM tracker.migrations)`,
		`UPDATE tracker.migrations_lock SET locked = true, locked_by = 'another', lease_expires_at = now() + interval '8 seconds'`,
	} {
		if _, err := db.ExecContext(k.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	shows(t, k, []string{"provision", "-wait", "5s"}, "migrated   the schemas of gateway and tracker")
}
