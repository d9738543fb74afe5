package analyzerclient

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheServersIDIsFoundUnderEveryUsualName(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`{"job_id":"a-17","status":"accepted"}`:           "a-17",
		`{"job_id":17}`:                                   "17",
		`{"job_id":12345678901234567890}`:                 "12345678901234567890",
		`{"jobId":"a-17"}`:                                "a-17",
		`{"JobId":"a-17"}`:                                "a-17",
		`{"task_id":"a-17"}`:                              "a-17",
		`{"taskId":"a-17"}`:                               "a-17",
		`{"id":"a-17","status":"queued"}`:                 "a-17",
		`{"id":7,"job_id":"a-17"}`:                        "a-17",
		`{"job_id":null,"task_id":"","id":"a-17"}`:        "a-17",
		`{"id":"a-17","error":null}`:                      "a-17",
		`{"id":"request-1","error":"no GPU"}`:             "",
		`{"job_id":"a-17","error":"slow disk"}`:           "a-17",
		`{"job_id":{"id":1}}`:                             "",
		`{"job_id":"a\u0000"}`:                            "",
		`{"job_id":"` + strings.Repeat("x", 201) + `"}`:   "",
		`{"result":{"taskId":"a-17"},"success":true}`:     "a-17",
		`{"code":0,"data":{"id":17}}`:                     "17",
		`{"job_id":"a-17","data":{"id":17}}`:              "a-17",
		`{"error":"no GPU","data":{"id":17}}`:             "",
		`{"jsonrpc":"2.0","id":1,"result":{"job_id":17}}`: "17",
		`{"id":"request-1","data":{"taskId":"a-17"}}`:     "a-17",
		`{"id":"a-17","data":{"id":1}}`:                   "a-17",
		`{"id":"a-17","error":""}`:                        "a-17",
		`{"error":false,"data":{"id":17}}`:                "17",
		`{"error":{},"result":{"id":17}}`:                 "17",
		`{"data":[{"id":17}]}`:                            "",
		`{"name":"operations/a-17","done":false}`:         "a-17",
		`{"name":"projects/p/operations/17"}`:             "17",
		`{"id":1,"name":"operations/a-17"}`:               "1",
		`{"analysis_job_id":"a-17","job_id":"other"}`:     "a-17",
		`{"analysisId":17}`:                               "17",
		`{"job_id":"our-job","task_id":"a-17"}`:           "a-17",
		`{"job_id":"our-job","id":17}`:                    "our-job",
		`{"job_id":"our-job","data":{"taskId":"a-17"}}`:   "a-17",
		`{"job_id":"our-job","status":"accepted"}`:        "our-job",
		`{"job_id":"our-job","error":"slow disk"}`:        "our-job",
		`{"name":"speech-analyzer"}`:                      "",
		`{"name":"operations/"}`:                          "",
		`{"name":{"a":"operations/1"}}`:                   "",
		`{"status":"accepted"}`:                           "",
		`[1]`:                                             "",
		`OK`:                                              "",
	} {
		if id := parseServerID([]byte(answer), "our-job"); id != want {
			t.Errorf("%.80s: %q", answer, id)
		}
	}
}

func TestTheServersIDIsFoundInTheURLOfItsStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		template          StatusURL
		header, url, want string
	}{
		{"https://h/v1/jobs/{analysis_job_id}", "Location", "/v1/jobs/a-17", "a-17"},
		{"https://h/v1/jobs/{analysis_job_id}", "Location", "jobs/a-17", "a-17"},
		{"https://h/v1/jobs/{analysis_job_id}", "Location", "http://10.0.0.1:8000/v1/jobs/a%20%2317?x=1#y", "a #17"},
		{"https://h/v1/jobs/{analysis_job_id}/status?v=1", "Operation-Location", "https://h/v1/jobs/17/status?v=2", "17"},
		{"https://h/operations/{analysis_job_id}", "Azure-AsyncOperation", "https://h/operations/17", "17"},
		{"https://h/v1/jobs/{analysis_job_id}", "Location", "/v1/jobs/", ""},
		{"https://h/v1/jobs/{analysis_job_id}", "Location", "/v1/jobs/17/status", ""},
		{"https://h/v1/jobs/{analysis_job_id}", "Location", "/v1/jobs/17%2Fstatus", ""},
		{"https://h/v1/jobs/{analysis_job_id}", "Location", "/other/17", ""},
		{"https://h/v1/jobs/{analysis_job_id}", "Location", "/v1/jobs/%00", ""},
		{"https://h/v1/jobs/{analysis_job_id}", "Location", "://", ""},
		{"https://h/v1/jobs/{analysis_job_id}", "X-Location", "/v1/jobs/17", ""},
		{"https://h/v1/jobs?id={analysis_job_id}", "Location", "/v1/jobs?id=17", ""},
		{"https://h/v1/jobs/{job_id}/{analysis_job_id}", "Location", "/v1/jobs/5/17", ""},
		{"https://h/v1/jobs/{job_id}", "Location", "/v1/jobs/17", ""},
		{"", "Location", "/v1/jobs/17", ""},
	} {
		resp := &http.Response{Header: http.Header{}, Request: httptest.NewRequest(http.MethodPost, "http://10.0.0.1:8000/v1/analyze", nil)}
		resp.Header.Set(c.header, c.url)
		if id := (&Client{status: c.template}).serverIDIn(resp); id != c.want {
			t.Errorf("%s, %s: %s: %q", c.template, c.header, c.url, id)
		}
	}
}
