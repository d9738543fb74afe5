package outage_test

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"testing"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/testkit"
)

// A NATS server that was killed forgets which messages were replaced by newer ones: if the newest message was removed, an
// older one is there again.
func TestARemovedUploadStaysRemovedIfNATSIsKilled(t *testing.T) {
	t.Parallel()
	c := found(t, nil, nil)
	api := &client.Client{Base: c.URL(harness.Gateway)}
	do := func(r client.Request, header map[string]string) (http.Header, error) {
		r.Header = map[string]string{"Tus-Resumable": "1.0.0"}
		for name, value := range header {
			r.Header[name] = value
		}
		if r.Body == nil {
			r.Body = http.NoBody
		}
		return api.Do(c.Ctx, r)
	}
	at := ""
	for range 2 { // the first upload stays: NATS would remove an empty file at once
		created, err := do(client.Request{Method: http.MethodPost, Path: "/uploads/", Want: http.StatusCreated},
			map[string]string{"Upload-Length": "5000", "Upload-Metadata": "token_id MQ=="})
		if err != nil {
			t.Fatal(err)
		}
		at = created.Get("Location")
	}
	for offset := range 3 {
		_, err := do(client.Request{Method: http.MethodPatch, Path: at, Body: bytes.NewReader(make([]byte, 1000)), Want: http.StatusNoContent},
			map[string]string{"Upload-Offset": strconv.Itoa(1000 * offset), "Content-Type": "application/offset+octet-stream"})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := do(client.Request{Method: http.MethodDelete, Path: at, Want: http.StatusNoContent}, nil); err != nil {
		t.Fatal(err)
	}
	killed(c, func() {}, []stack.Part{stack.NATS})
	testkit.Eventually(t, func() error {
		header, err := do(client.Request{Method: http.MethodHead, Path: at}, nil)
		if p, answered := errors.AsType[*client.Problem](err); answered && p.Retryable() {
			return err
		} else if !answered || p.Status != http.StatusNotFound {
			t.Errorf("the removed upload is answered with offset %q, %v", header.Get("Upload-Offset"), err)
		}
		return nil
	})
}
