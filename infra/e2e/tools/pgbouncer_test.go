//go:build tools

package tools_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack/proc"
	gateway "sori.internal/services/gateway/app"
	tracker "sori.internal/services/tracker/app"
	"sori.internal/shared/lifecycle"
	"sori.internal/shared/testkit"
)

// pgbouncerConfig configures a pool of four connections for each database. The verbs are
// for the databases, the port, the folder and the user.
const pgbouncerConfig = `[databases]
%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s/users
admin_users = %s
pool_mode = transaction
default_pool_size = 4
max_client_conn = 1000
query_wait_timeout = 20
server_login_retry = 1
`

// pgbouncer starts PgBouncer for the server in the URL of a database, and returns the URL
// with which clients connect to that database through PgBouncer. The parameter databases
// is the section of that name in the configuration. In it SERVER is replaced by the
// address of the server, so `* = SERVER` offers all databases. The parameter settings
// overrides settings of the configuration.
func pgbouncer(t *testing.T, server, databases string, settings ...string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	ports, err := proc.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	dir, user := t.TempDir(), u.User.Username()
	password, _ := u.User.Password()
	databases = strings.ReplaceAll(databases, "SERVER", "host="+u.Hostname()+" port="+u.Port())
	file := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf(pgbouncerConfig, databases, ports[0], dir, user) + strings.Join(settings, "\n")
	write(t, file, []byte(text))
	write(t, filepath.Join(dir, "users"), fmt.Appendf(nil, "%q %q\n", user, password))
	args := []string{file}
	if os.Geteuid() == 0 {
		args = []string{"-u", "nobody", file} // PgBouncer refuses to run as root
	}
	runs(t, exec.Command("pgbouncer", args...))
	u.Host = proc.Address(ports[0])
	testkit.Eventually(t, func() error {
		c, err := net.Dial("tcp", u.Host)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	return u.String()
}

// runs runs a program until the test ends.
func runs(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the error is ignored: the test ends the program by a signal
		close(ended)
	}()
	t.Cleanup(func() {
		select {
		case <-ended:
			t.Errorf("%s ended by itself", cmd.Path)
		default:
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, said.String())
		}
	})
}

// shares returns how many clients PgBouncer has for a database, and how many server connections they share.
func shares(t *testing.T, pooled string) (clients, servers int) {
	t.Helper()
	u, err := url.Parse(pooled)
	if err != nil {
		t.Fatal(err)
	}
	database := strings.TrimPrefix(u.Path, "/")
	u.Path = "/pgbouncer"
	db, err := sqlx.Open("postgres", u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var pools []struct {
		Database string `db:"database"`
		Clients  int    `db:"cl_active"`
		Waiting  int    `db:"cl_waiting"`
		Busy     int    `db:"sv_active"`
		Idle     int    `db:"sv_idle"`
		Used     int    `db:"sv_used"`
	}
	if err := db.Unsafe().SelectContext(t.Context(), &pools, "SHOW POOLS"); err != nil {
		t.Fatal(err)
	}
	for _, p := range pools {
		if p.Database == database {
			clients += p.Clients + p.Waiting
			servers += p.Busy + p.Idle + p.Used
		}
	}
	return clients, servers
}

// mainTests returns the names of the tests of the package e2e that check Sori's main functions.
func mainTests() []string {
	return []string{
		"TestARecordingBecomesAResultThroughEveryStage",
		"TestWhatWasUploadedIsListedAndPlayed",
		"TestAFailedAnalysisIsAFailureToEverybody",
		"TestAFailedJobIsRetriedWithoutUploadingItAgain",
		"TestACanceledJobStaysCanceledWhateverComes",
		"TestADeletedTokenTakesItsJobsAndTheirAudioAlong",
		"TestACallbackThatComesAfterTheNextAttemptHasBegunChangesNothing",
		"TestAnEventThatWasGivenUpIsReplayedOnceItsCauseIsMended",
		"TestAJobWaitsForStorageUntilItsDeadlineAndThenFailsAndLeavesNothing",
		"TestOneEndingWinsWhereCompletionAndCancellationRace",
		"TestNoAcceptedJobIsLostOrDoneTwiceWhateverIsKilled",
		"TestARollingRestartBreaksNoStreamOfAJobThatEndsMeanwhile",
		"TestAKilledTrackerBreaksNoStream",
	}
}

func TestTheMainTestsPassBehindPgBouncer(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	pooled, err := url.Parse(pgbouncer(t, k.Database(), "* = SERVER"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-v", "-count=1", "-timeout=14m",
		"-run=^("+strings.Join(mainTests(), "|")+")$", "sori.internal/infra/e2e")
	cmd.Env = append(os.Environ(), testkit.EnvPooler+"="+pooled.Host)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range mainTests() {
		if !bytes.Contains(out, []byte("--- PASS: "+name+" ")) {
			t.Errorf("%s did not pass", name)
		}
	}
}

// startBehindPooler starts a Sori that connects to its database through PgBouncer, and returns the
// URL of the database through PgBouncer.
func startBehindPooler(t *testing.T) (w *harnesstest.Env, pooled string) {
	t.Helper()
	w = harnesstest.Start(t, harnesstest.Options{
		Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(100 * time.Millisecond)},
		Pooler:    func(server string) string { pooled = pgbouncer(t, server, "* = SERVER"); return pooled },
	})
	return w, pooled
}

// Each client uses the catalogue and uploads a recording, so that all queries of the
// gateway and the tracker run concurrently with others.
func TestMoreClientsThanServerConnectionsLoseNothing(t *testing.T) {
	t.Parallel()
	w, pooled := startBehindPooler(t)
	audio := loadgen.Tone(220, time.Second)
	var wg sync.WaitGroup
	jobs := make([]string, 24)
	for i := range jobs {
		wg.Go(func() {
			keepCatalogue(t, w, i)
			jobs[i] = w.Upload(t, "a.wav", audio)
			harnesstest.CheckFrames(t, w.Follow(w.Context(), t, jobs[i], "en"))
			var r struct {
				Status string
				Result *measured
			}
			if w.Result(t, jobs[i], &r); r.Status != "completed" || r.Result == nil {
				t.Errorf("job %d: %+v", i, r)
			}
		})
	}
	wg.Wait()
	if clients, servers := shares(t, pooled); clients <= servers || servers < 1 || servers > 4 {
		t.Errorf("%d clients share %d connections of the server", clients, servers)
	}
	if strings.Contains(w.Logged(), `"level":"error"`) {
		t.Error("something went wrong")
	}
}

// keepCatalogue creates, changes, lists and deletes entries.
func keepCatalogue(t *testing.T, w *harnesstest.Env, i int) {
	t.Helper()
	do := func(method, path, body string, want int) {
		req, err := http.NewRequestWithContext(w.Context(), method, w.Gateway+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := w.Client.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s %s: %s", method, path, resp.Status)
		}
	}
	token := w.NewToken(t)
	path := fmt.Sprintf("/tokens/%d", token)
	do("PUT", path, fmt.Sprintf(`{"token_name":"changed %d","actor_name":"sori","start_time":0,"end_time":9}`, i), 200)
	do("POST", "/scripts/", fmt.Sprintf(`{"token_id":%d,"start_time":0,"end_time":1,"script":"소리"}`, token), 201)
	do("POST", "/actors/", fmt.Sprintf(`{"name":"actor %d"}`, i), 201)
	do("GET", "/tokens/?limit=500", "", 200)
	do("GET", "/actors/search/actor", "", 200)
	do("GET", path, "", 200)
	do("DELETE", path, "", 200)
	do("GET", path, "", 404)
}

// ended runs a service until it ends by itself, and returns its error.
func ended(t *testing.T, k *testkit.Kit, run func(context.Context, lifecycle.Process) error, database string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), time.Minute)
	defer cancel()
	settings := k.Settings(map[string]string{
		"DATABASE_URL": database, "TRACKER_URL": "http://127.0.0.1:9", "DISPATCHER_URL": "http://127.0.0.1:9",
	})
	var log bytes.Buffer
	err := run(ctx, lifecycle.Process{
		Lookup: func(name string) (string, bool) { value, has := settings[name]; return value, has },
		Stderr: &log, Listening: func(net.Addr) {},
	})
	if ctx.Err() != nil {
		return errors.Join(errors.New("it went on"), err)
	}
	if strings.Contains(log.String(), "cannot be reached") {
		t.Errorf("it logged:\n%s", &log)
	}
	return err
}

func TestWhatPgBouncerRefusesForGoodStopsAServiceWithASentence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		databases, settings string
		change              func(*url.URL)
		says                string
	}{
		"a database that it does not offer": {"other = SERVER", "", nil, "check the names"},
		"a database that is not there":      {"* = SERVER dbname=no_such_database", "", nil, "check the names"},
		"a wrong password":                  {"* = SERVER", "", func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wrong") }, "PGPASSWORD"},
		"a start-up parameter":              {"* = SERVER", "", func(u *url.URL) { u.RawQuery += "&statement_timeout=5000" }, "ignore_startup_parameters"},
		"options":                           {"* = SERVER", "", func(u *url.URL) { u.RawQuery += "&options=-cgeqo%3Doff" }, "ignore_startup_parameters"},
		"transactions":                      {"* = SERVER", "pool_mode = statement", nil, "set its pool_mode to transaction or session"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := testkit.New(t)
			u, err := url.Parse(pgbouncer(t, k.Database(), c.databases, c.settings))
			if err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				c.change(u)
			}
			for service, run := range map[string]func(context.Context, lifecycle.Process) error{"gateway": gateway.Run, "tracker": tracker.Run} {
				if err := ended(t, k, run, u.String()); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s ended with: %v", service, err)
				}
			}
		})
	}
}

func TestAServerThatPgBouncerCannotReachIsWaitedFor(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	proxy := k.Proxy(k.Database())
	proxy.Cut()
	pooled := pgbouncer(t, proxy.URL, "* = SERVER", "query_wait_timeout = 1")
	service := k.Run(tracker.Run, map[string]string{"DATABASE_URL": pooled})
	testkit.Eventually(t, func() error {
		if !strings.Contains(k.Logged(), "query_wait_timeout") {
			return errors.New("PgBouncer has not answered yet")
		}
		return nil
	})
	proxy.Restore()
	testkit.Eventually(t, func() error {
		resp, err := http.Get(service.URL + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}
