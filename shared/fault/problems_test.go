package fault_test

import (
	"errors"
	"testing"

	"sori.internal/shared/fault"
)

func TestFailuresThatSeveralReportHaveOneKindAndOneCodeAndKeepTheirCause(t *testing.T) {
	t.Parallel()
	cause := errors.New("EOF")
	for _, c := range []struct {
		err    error
		kind   fault.Kind
		code   string
		detail string
		causes bool
	}{
		{fault.ValidationFailed(), fault.Invalid, "validation-failed", "The request breaks one or more rules.", false},
		{fault.MalformedRequest("No form.", cause), fault.Malformed, "malformed-request", "No form.", true},
		{fault.MalformedJSON("No JSON.", cause), fault.Malformed, "malformed-json", "No JSON.", true},
		{fault.BodyTruncated(cause), fault.Malformed, "body-truncated", "The body could not be read to its end.", true},
		{fault.ExceedsLimit("file", 7, cause), fault.TooLarge, "too-large", "The file is larger than 7 bytes.", true},
		{fault.JobNotFound(), fault.NotFound, "job-not-found", "There is no such job.", false},
	} {
		if f := fault.As(c.err); f.Kind != c.kind || f.Code != c.code || f.Detail != c.detail || errors.Is(c.err, cause) != c.causes {
			t.Errorf("%s: %+v", c.code, f)
		}
	}
	if limit := fault.As(fault.ExceedsLimit("file", 7, nil)).Extra["max_bytes"]; limit != int64(7) {
		t.Errorf("the limit is %v", limit)
	}
}

func TestAKindThatDoesNotExistIsNamedInternal(t *testing.T) {
	t.Parallel()
	if name := fault.Kind(255).String(); name != "internal" {
		t.Error(name)
	}
}
