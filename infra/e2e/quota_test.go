package e2e_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	gateway "sori.internal/services/gateway/app"
	"sori.internal/shared/testkit"
)

const quotaSecret = "a-secret-of-thirty-two-bytes-0123"

// credential returns a token of a user with roles.
func credential(t *testing.T, user string, roles ...string) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": user, "exp": time.Now().Add(time.Hour).Unix(), "roles": roles,
	}).SignedString([]byte(quotaSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// owners is Sori with two gateways, for users with a budget of stored bytes.
type owners struct {
	*harnesstest.Env
	t         *testing.T
	gateways  []string
	metrics   []string // URL of the metrics of each gateway
	recording []byte
}

// withBudget starts Sori. The budget has room for a number of the recordings.
func withBudget(t *testing.T, recordings int) owners {
	t.Helper()
	audio := loadgen.Tone(220, time.Second)
	settings := map[string]string{
		"AUTH_JWT_SECRET": quotaSecret, "MAX_UPLOADS_PER_PRINCIPAL": "0", "RATE_LIMIT_PER_PRINCIPAL": "0",
		"PRINCIPAL_STORED_BYTES": fmt.Sprint(recordings*len(audio) + 1000), // a request is a little larger than its recording
	}
	w := harnesstest.Start(t, harnesstest.Options{Settings: settings, Credential: credential(t, "root", "sori-admin")})
	second := w.Settings(settings)
	maps.Copy(second, map[string]string{"TRACKER_URL": w.Tracker, "DISPATCHER_URL": w.Dispatcher})
	other := w.Run(gateway.Run, second)
	return owners{
		Env: w, t: t, recording: audio,
		gateways: []string{w.Gateway, other.URL}, metrics: []string{w.Metrics, other.Admin(t)},
	}
}

// unknown returns how many uploads a gateway has admitted although it could not read the usage in time,
// as happens on a busy machine.
func (o owners) unknown(at int) int {
	o.t.Helper()
	_, text := harnesstest.Send(o.t, http.DefaultClient, http.MethodGet, o.metrics[at]+"/metrics")
	_, value, _ := strings.Cut(text, "\nsori_usage_unknown_total ")
	value, _, _ = strings.Cut(value, "\n")
	n, err := strconv.Atoi(value)
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

// refuses checks that a gateway refuses an upload of a user whose budget is full. If a gateway that could
// not read the usage in time accepts the upload, refuses erases the job and tries again.
func (o owners) refuses(user string, at int) {
	o.t.Helper()
	api := &client.Client{Base: o.Gateway, HTTP: o.Client, Credential: credential(o.t, user)}
	testkit.Eventually(o.t, func() error {
		before := o.unknown(at)
		job, code := o.upload(user, at)
		if code != "" {
			return nil
		}
		if o.unknown(at) == before {
			o.t.Errorf("gateway %d accepts an upload beyond the budget", at)
			return nil
		}
		return cmp.Or(api.Erase(o.Context(), job), errors.New("the usage was not read in time"))
	})
}

// upload uploads a recording as a user at one of the gateways. The code is that of a refusal. An upload that fails for
// another reason, as on a busy machine, is repeated.
func (o owners) upload(user string, at int) (job, code string) {
	o.t.Helper()
	api := &client.Client{Base: o.gateways[at], HTTP: http.DefaultClient, Credential: credential(o.t, user)}
	testkit.Eventually(o.t, func() (err error) {
		code = ""
		job, err = api.Upload(o.Context(), o.Token, loadgen.RecordingOf("a.wav", o.recording).Form())
		if p, ok := errors.AsType[*client.Problem](err); ok && p.Code == "quota-exceeded" {
			code = p.Code
			if p.Status != http.StatusTooManyRequests || p.RetryAfter != "" || !strings.Contains(string(p.Body), `"budget":"stored_bytes"`) {
				o.t.Errorf("%v", p)
			}
			return nil
		}
		return err
	})
	return job, code
}

// usage is the answer to GET /usage.
type usage struct {
	Jobs   int64
	Staged struct{ Used int64 }        `json:"staged_bytes"`
	Stored struct{ Used, Limit int64 } `json:"stored_bytes"`
	Log    struct{ Used int64 }        `json:"log_bytes"`
}

// awaitUsage waits until a user has the given number of jobs, all of them stored.
func (o owners) awaitUsage(user string, jobs int) {
	o.t.Helper()
	api := &client.Client{Base: o.Gateway, HTTP: o.Client, Credential: credential(o.t, user)}
	testkit.Eventually(o.t, func() error {
		var u usage
		if _, err := api.Do(o.Context(), client.Request{Path: "/usage", Into: &u}); err != nil {
			return err
		}
		if u.Jobs != int64(jobs) || u.Staged.Used != 0 || u.Stored.Used != int64(jobs*len(o.recording)) || (u.Log.Used == 0) != (jobs == 0) {
			text, _ := json.Marshal(u)
			return fmt.Errorf("%s uses %s", user, text)
		}
		return nil
	})
}

func TestAnOwnerWhoseBudgetIsFullDeletesAJobAndUploadsAgain(t *testing.T) {
	t.Parallel()
	o := withBudget(t, 3)
	var jobs []string
	for i := range 3 {
		job, code := o.upload("mina", 0)
		if code != "" {
			t.Fatalf("upload %d is refused", i)
		}
		jobs = append(jobs, job)
	}
	o.refuses("mina", 0)
	o.awaitUsage("mina", 3)
	for at := range o.gateways {
		o.refuses("mina", at)
		if _, code := o.upload("jun", at); code != "" {
			t.Errorf("gateway %d refuses another", at)
		}
	}
	mina := &client.Client{Base: o.Gateway, HTTP: o.Client, Credential: credential(t, "mina")}
	if err := mina.Erase(o.Context(), jobs[0]); err != nil {
		t.Fatal(err)
	}
	if _, code := o.upload("mina", 1); code != "" { // accepted at once, although this gateway has just read the usage
		t.Error("after the deletion the upload is refused")
	}
	o.refuses("mina", 1) // the deletion made room for one recording
}

// Gateways that have not read the usage since the uploads at the other one exceed the budget at most
// by what each of them admits on its own.
func TestUploadsAtTwoGatewaysAtOnceExceedTheBudgetByWhatOneAdmits(t *testing.T) {
	t.Parallel()
	const budget, atOnce = 5, 12
	o := withBudget(t, budget)
	accepted := make([]int, len(o.gateways))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for at := range o.gateways {
		for range atOnce {
			wg.Go(func() {
				if _, code := o.upload("mina", at); code == "" {
					mu.Lock()
					defer mu.Unlock()
					accepted[at]++
				}
			})
		}
	}
	wg.Wait()
	total := accepted[0] + accepted[1]
	if accepted[0] > budget+o.unknown(0) || accepted[1] > budget+o.unknown(1) || total < budget {
		t.Errorf("of %d uploads at each gateway, %v are accepted", atOnce, accepted)
	}
	o.awaitUsage("mina", total)
	for at := range o.gateways {
		o.refuses("mina", at)
	}
}
