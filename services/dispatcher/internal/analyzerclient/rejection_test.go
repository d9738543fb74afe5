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
		err := (&Client{}).responseError(&http.Response{StatusCode: c.status}, []byte(c.body), nil)
		if rejected, ok := errors.AsType[*analysis.RejectedError](err); !ok || rejected.Conflict != c.conflict {
			t.Errorf("%d %s: %+v", c.status, c.body, err)
		}
	}
}
