package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/natsauth"
	"sori.internal/shared/config"
	"sori.internal/shared/testkit"
)

// sorictl runs a command in the namespace of a test, with changed settings, and returns
// its output and its error.
func sorictl(t *testing.T, k *testkit.Kit, changes map[string]string, args ...string) (shown string, err error) {
	t.Helper()
	var out bytes.Buffer
	on := terminal{out: &out, errs: &out, environment: config.Map(harness.AsUser(k.Settings(changes), natsauth.Operator))}
	err = on.command(k.Context(), args)
	return out.String(), err
}

// shows runs a command, and checks that it succeeds and that its output contains all of the texts.
func shows(t *testing.T, k *testkit.Kit, args []string, texts ...string) string {
	t.Helper()
	shown, err := sorictl(t, k, nil, args...)
	if err != nil {
		t.Errorf("%s: %v", strings.Join(args, " "), err)
	}
	contains(t, shown, texts...)
	return shown
}

func contains(t *testing.T, shown string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			t.Errorf("%q is not in\n%s", text, shown)
		}
	}
}

// wave returns a recording of a tone of one second.
func wave() []byte { return loadgen.Tone(220, time.Second) }

// done uploads recordings and waits until their jobs are completed and recorded.
func done(t *testing.T, w *harnesstest.Env, n int) []string {
	t.Helper()
	jobs := make([]string, n)
	for i := range jobs {
		jobs[i] = w.Upload(t, "녹음 1.wav", wave())
		frames := w.Follow(w.Context(), t, jobs[i], "en")
		if end := frames[len(frames)-1]; end.Status != "completed" {
			t.Fatalf("job %s ended %+v", jobs[i], end)
		}
	}
	w.Settled(projection)
	return jobs
}

func TestMistakesAreToldAndNothingIsDone(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	job := k.NewJob()
	for _, args := range [][]string{
		{}, {"sing"}, {"dead"}, {"dead", "dig"}, {"dead", "list", "extra"}, {"dead", "show"}, {"dead", "show", "x"}, {"dead", "show", "0"},
		{"dead", "replay"}, {"dead", "replay", "1", "-all"}, {"dead", "replay", "1", "-consumer", "c"}, {"dead", "drop"}, {"dead", "drop", "-1"},
		{"job"}, {"job", "7"}, {"job", "a", "b"}, {"reconcile", "extra"}, {"tail", "a", "b"}, {"tail", "-job", "7"},
		{"retry"}, {"retry", "7"}, {"retry", job, "7"}, {"retry", job, "-failed"}, {"retry", job, "-code", "c"}, {"retry", job, "-since", "1h"},
		{"retry", "-failed", "-n", "0"}, {"retry", "-failed", "-n", "-1"}, {"retry", "-failed", "-since", "-1s"}, {"retry", "-failed"}, {"retry", job}, // the last two: no database, no tracker
		{"cancel"}, {"cancel", "7"}, {"cancel", job}, {"cancel", job, "-failed"},
		{"dead", "list", "-dir", "/nonexistent"},
		{"dead", "list"}, {"dead", "show", "1"}, {"dead", "drop", "1"}, // no service has created the streams yet
	} {
		if shown, err := sorictl(t, k, nil, args...); err == nil {
			t.Errorf("%v is taken: %s", args, shown)
		}
	}
}

// commands returns a call of every command that needs an installation.
func commands(job string) [][]string {
	return [][]string{
		{"dead", "list"}, {"job", job}, {"retry", job}, {"retry", "-failed"}, {"cancel", job}, {"reconcile"}, {"provision", "-wait", "1ms"}, {"tail"},
		{"keys", "list"}, {"keys", "create", "n", "-owner", "a", "-scopes", "admin"}, {"keys", "revoke", "ffffffffffffffff"}, {"audit"},
	}
}

func TestAFolderInWhichNothingRunsIsNamed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	for _, args := range commands("01890a5d-ac96-774b-bcce-b302099a8057") {
		on := terminal{out: io.Discard, errs: io.Discard, environment: config.Map(nil)}
		err := on.command(t.Context(), append(args, "-dir", dir))
		if err == nil || !strings.Contains(err.Error(), "nothing runs in "+dir) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestAMissingSettingIsNamed(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	for _, c := range []struct{ args, names string }{
		{"keys list", "DATABASE_URL"}, {"audit", "DATABASE_URL"}, {"retry -failed", "DATABASE_URL"}, {"reconcile", "DATABASE_URL"},
		{"cancel " + k.NewJob(), "TRACKER_URL"}, {"retry " + k.NewJob(), "TRACKER_URL"},
	} {
		if shown, err := sorictl(t, k, nil, strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: %v: %s", c.args, err, shown)
		}
	}
}

func TestADatabaseThatIsAwayIsToldWithItsCauseAndWithoutItsPassword(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	proxy := k.Proxy("postgres://operator:hunter2@127.0.0.1:9/sori?sslmode=disable")
	proxy.Cut()
	for _, args := range []string{"keys list", "keys create n -owner a -scopes admin", "audit", "retry -failed"} {
		shown, err := sorictl(t, k, map[string]string{"DATABASE_URL": proxy.URL}, strings.Fields(args)...)
		if err == nil || !strings.Contains(said(err), "The database cannot be reached right now.") {
			t.Errorf("%s: %v", args, err)
		}
		if strings.Contains(shown+said(err), "hunter2") {
			t.Errorf("%s shows the password", args)
		}
	}
}

func TestABusThatIsAwayIsToldAtOnce(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	proxy := k.Proxy(k.Settings(nil)["NATS_URL"])
	proxy.Cut()
	away := map[string]string{"NATS_URL": proxy.URL}
	for _, args := range [][]string{{"dead", "list"}, {"tail"}} {
		if _, err := sorictl(t, k, away, args...); err == nil {
			t.Errorf("%v succeeds", args)
		}
	}
}

func TestAUserThatNATSRefusesIsToldSo(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	_, err := sorictl(t, k, map[string]string{"NATS_USER": "nobody", "NATS_PASSWORD": "hunter2"}, "dead", "list")
	if text := said(err); !strings.Contains(text, "Authorization Violation") || strings.Contains(text, "hunter2") {
		t.Error(text)
	}
}

func TestATailOfASubjectThatTheUserMayNotReadEnds(t *testing.T) {
	t.Parallel()
	_, err := sorictl(t, testkit.New(t), nil, "tail", "limits.usage")
	if err == nil || !strings.Contains(err.Error(), "limits.usage") {
		t.Error(err)
	}
}

func TestFailuresEndWithCode1AndHideNoSecret(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	on := terminal{out: &out, errs: &out, environment: config.Map(map[string]string{"NATS_URL": "nats://u:hunter2@127.0.0.1:9"})}
	if code := on.exitCode(on.command(context.WithoutCancel(t.Context()), []string{"dead", "list"})); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("shown: %s", out.String())
	}
	if code := on.exitCode(on.command(t.Context(), []string{"dead", "list", "-h"})); code != 0 {
		t.Errorf("help: exit code %d", code)
	}
}

// NATS does not answer a request that the user may not send, so the request only times out.
func TestAMissingPermissionOnNATSIsShown(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	errs, err := os.Create(filepath.Join(t.TempDir(), "stderr")) // another goroutine writes to it too
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	on := terminal{out: io.Discard, errs: errs, environment: config.Map(harness.AsUser(k.Settings(nil), natsauth.Gateway))}
	if err := on.command(k.Context(), []string{"dead", "list"}); err == nil {
		t.Error("the gateway's user may list dead letters")
	}
	shown, err := os.ReadFile(errs.Name())
	if err != nil {
		t.Fatal(err)
	}
	contains(t, string(shown), "Permissions Violation", "AUDIO_DEAD")
}

func TestAFlagRefusesAValueThatWouldSelectMoreThanIntended(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, says string }{
		{"dead list -n -3", "-n must not be negative"},
		{"audit -n -1", "-n must be at least 1"},
		{"audit -since 0s", "--since: must be more than 0"},
		{"retry -failed -since 0s", "--since: must be more than 0"},
		{"retry -failed -since 2", "--since: time: missing unit"},
		{"keys create n -owner a -scopes admin -valid 0h", "--valid: must be more than 0"},
		{"keys create n -owner a -scopes admin -valid -1h", "--valid: must be more than 0"},
		{"dead replay -all -wait 0s", "--wait: must be more than 0"},
		{"reconcile -repair -wait -1s", "--wait: must be more than 0"},
		{"provision -wait 0", "--wait: must be more than 0"},
	} {
		on := terminal{out: io.Discard, errs: io.Discard, environment: config.Map(nil)}
		if err := on.command(t.Context(), strings.Fields(c.args)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
}
