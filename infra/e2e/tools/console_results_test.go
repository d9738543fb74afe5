//go:build tools

package tools_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// reports returns an analysis server that reports the results, one for each request.
func reports(t *testing.T, results <-chan string) func(http.Handler) http.Handler {
	t.Helper()
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			hook := r.PostFormValue("webhook_url")
			if hook == "" { // a request that only tests the connection has no callback URL
				rw.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
			body := strings.NewReader(`{"status":"completed","analysis_results":` + <-results + `}`)
			rw.WriteHeader(http.StatusAccepted)
			resp, err := http.Post(hook, "application/json", body)
			if err != nil {
				t.Errorf("the callback: %v", err)
				return
			}
			_ = resp.Body.Close()
		})
	}
}

func TestAResultOfAnyFormIsShown(t *testing.T) {
	t.Parallel()
	long := strings.TrimSuffix(strings.Repeat("0,100.5,null,220,", 50_000), ",")
	results := make(chan string, 1)
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Front: reports(t, results)})
	v := arrive(t, w.Gateway)
	for name, r := range map[string]struct{ text, shows string }{
		"none":                      {`null`, "The analysis server said that it is done and sent no results."},
		"a number":                  {`0`, "sent no figures that can be drawn"},
		"a list":                    {`[1,"x",null]`, "sent no figures that can be drawn"},
		"fields of other forms":     {`{"duration":"2.5","sample_rate":{},"pitch":{},"segments":{"a":1},"waveform":{"max":[1]},"warnings":"it is loud","speech_rate":3.5}`, "3.5"},
		"lists of other values":     {`{"duration":2,"pitch":{"hop_seconds":0.5,"hz":["x",null,{},-1]},"segments":[null,1,{}],"waveform":{"min":[null],"max":["x"]},"warnings":[null,{"a":1},"it is loud"]}`, "it is loud"},
		"a curve of 200 000 values": {`{"duration":2000,"pitch":{"hop_seconds":0.01,"hz":[` + long + `]}}`, "Curves (CSV)"},
	} {
		results <- r.text
		v.open("/#/jobs/" + w.Upload(t, name+".wav", loadgen.Tone(220, time.Second)))
		v.reads("Analysis complete")
		v.reads(r.shows)
		v.reads("Raw JSON")
		v.sees(`document.querySelectorAll('.scores .score').length === 6`)
	}
}

func TestTheBeginningOfALargeResultIsShown(t *testing.T) {
	t.Parallel()
	results := make(chan string, 1)
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Front: reports(t, results)})
	v := arrive(t, w.Gateway)
	results <- `{"duration":1,"words":[` + strings.TrimSuffix(strings.Repeat(`{"word":"가나다"},`, 100_000), ",") + `]}`
	v.open("/#/jobs/" + w.Upload(t, "a.wav", loadgen.Tone(220, time.Second)))
	v.reads("Analysis complete")
	v.presses("Raw JSON")
	v.reads("This is the beginning of a large result.")
	v.sees(`document.querySelector('pre').textContent.startsWith('{') && document.querySelector('pre').textContent.length === 500_000`)
}

func TestAReportThatIsRefusedIsSaid(t *testing.T) {
	t.Parallel()
	hooks := make(chan string, 1)
	w := harnesstest.Start(t, harnesstest.Options{Settings: withConsole(t), Front: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if hook := r.PostFormValue("webhook_url"); hook != "" {
				hooks <- hook
			}
			rw.WriteHeader(http.StatusAccepted)
		})
	}})
	v := arrive(t, w.Gateway)
	v.open("/#/jobs/" + w.Upload(t, "a.wav", loadgen.Tone(220, time.Second)))
	hook := <-hooks
	report := func(body string, want int) {
		resp, err := http.Post(hook, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", body, resp.Status)
		}
	}
	report(`{"status":`, http.StatusBadRequest)
	v.reads("The analysis server's report could not be read")
	v.speaks("ko")
	v.reads("분석 서버의 보고를 읽을 수 없어 다음 보고를 기다리는 중입니다.")
	report(`{"status":"completed","analysis_results":{"duration":1}}`, http.StatusOK)
	v.reads("분석 완료")
}
