package analyzerclient

import (
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
		`{"status":"accepted"}`:                           "",
		`[1]`:                                             "",
		`OK`:                                              "",
	} {
		if id := parseServerID([]byte(answer)); id != want {
			t.Errorf("%.80s: %q", answer, id)
		}
	}
}
