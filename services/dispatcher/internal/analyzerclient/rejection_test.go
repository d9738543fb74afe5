package analyzerclient

import (
	"errors"
	"net/http"
	"testing"

	"sori.internal/services/dispatcher/internal/analysis"
)

func TestAConflictIsMarkedUnlessTheServerStatesWhyOrWhetherARetryMaySucceed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status   int
		body     string
		conflict bool
	}{
		{http.StatusConflict, ``, true},
		{http.StatusConflict, `{"detail":"The job exists."}`, true},
		{http.StatusConflict, `{"detail":"The job exists.","retryable":false}`, true},
		{http.StatusConflict, `{"detail":"No model is loaded.","code":"no-model"}`, false},
		{http.StatusConflict, `{"detail":"No model is loaded.","retryable":true}`, false},
		{http.StatusUnprocessableEntity, `{"detail":"The job exists."}`, false},
		{http.StatusMovedPermanently, ``, false},
	} {
		err := (&Client{}).responseError(&http.Response{StatusCode: c.status}, []byte(c.body), nil, false)
		if rejected, ok := errors.AsType[*analysis.RejectedError](err); !ok || rejected.Conflict != c.conflict {
			t.Errorf("%d %s: %+v", c.status, c.body, err)
		}
	}
}

func TestTheReasonOfARejectionIsFoundInTheAnswersOfEveryFramework(t *testing.T) {
	t.Parallel()
	const plain = "The analysis server refused the request with status 400"
	for body, reason := range map[string]string{
		`{"detail":"no speech"}`: ": no speech",
		`{"statusCode":400,"message":["video_id must be a number"],"error":"Bad Request"}`:                             `: ["video_id must be a number"]`,
		`{"timestamp":"2026-01-31","status":400,"error":"Bad Request","message":"'job_id' is not present","path":"/"}`: ": 'job_id' is not present",
		`{"timestamp":"2026-01-31","status":400,"error":"Bad Request","path":"/"}`:                                     ".",
		`{"type":"about:blank","title":"Invalid","status":400,"errors":{"job_id":["is required"]},"traceId":"00"}`:     `: {"job_id":["is required"]}`,
		`{"type":"about:blank","title":"Not audio","status":400}`:                                                      ": Not audio",
		`{"video_id":["A valid integer is required."]}`:                                                                `: {"video_id":["A valid integer is required."]}`,
		`{"code":"no-model","retryable":true}`:                                                                         ".",
		`{}`:                                                                                                           ".",
		`["job_id is required"]`:                                                                                       `: ["job_id is required"]`,
		`no speech`:                                                                                                    ": no speech",
		`<html>400</html>`:                                                                                             ".",
		``:                                                                                                             ".",
	} {
		if got := rejectionReason(http.StatusBadRequest, []byte(body)); got != plain+reason {
			t.Errorf("%s: %s", body, got)
		}
	}
}
